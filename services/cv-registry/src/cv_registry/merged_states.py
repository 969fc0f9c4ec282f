"""States of citizens that the registry changes by itself: a merged person is closed, relations move to another municipality. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

from cv_citizens.citizen import JOBCENTER, MUNICIPALITY

State = Mapping[str, Any]

_LOCAL: Final = (MUNICIPALITY, JOBCENTER)
_MUNICIPALITY_DIGITS: Final = 3


@dataclass(frozen=True, slots=True)
class MunicipalityMerger:
    """All that belongs to one municipality and its jobcenter belongs to another from a Danish day on."""

    former: str
    into: str
    day: date


def is_code(municipality: str) -> bool:
    """Tell whether this is written like a municipality's code; one that is no more is in no list."""
    return len(municipality) == _MUNICIPALITY_DIGITS and municipality.isdecimal()


def closed(state: State, survivor: UUID, today: date) -> dict[str, Any]:
    """Give the state of a person who is merged into another: nobody's from today on, without CV number and account."""
    relations = [one for relation in state["relations"] if (one := _until(relation, today))]
    return {
        **state,
        "cvNumber": None,
        "relations": relations,
        "enrolled": False,
        "jobnetAccount": False,
        "mergedInto": str(survivor),
    }


def moved(state: State, merger: MunicipalityMerger) -> dict[str, Any]:
    """Give the state in which relations, and referrals by the authorities, end with the day before and go on with the new ones."""
    return {**state, "relations": [part for one in state["relations"] for part in _parts(one, merger)]}


def _parts(relation: State, merger: MunicipalityMerger) -> Iterator[State]:
    after = _renamed(relation, merger)
    if after == relation or not _reaches(relation, merger.day):
        yield relation
        return
    if before := _until(relation, merger.day):
        yield before
    yield {**after, "from": max(relation["from"], merger.day.isoformat())}


def _renamed(relation: State, merger: MunicipalityMerger) -> State:
    renamed = dict(relation)
    for kind, code in (("organisationType", "organisationCode"), ("referredByType", "referredByCode")):
        if relation.get(kind) in _LOCAL and relation[code][:_MUNICIPALITY_DIGITS] == merger.former:
            renamed[code] = merger.into + relation[code][_MUNICIPALITY_DIGITS:]
    return renamed


def _until(relation: State, day: date) -> State | None:
    """Give what lies before the day."""
    if relation["from"] >= day.isoformat():
        return None
    return {**relation, "to": (day - timedelta(days=1)).isoformat()} if _reaches(relation, day) else relation


def _reaches(relation: State, day: date) -> bool:
    return relation.get("to") is None or bool(relation["to"] >= day.isoformat())


def moved_all(states: Sequence[State], merger: MunicipalityMerger) -> list[dict[str, Any] | None]:
    """Give for each state the one after the merger, or None where it stays as it is."""
    return [None if (after := moved(state, merger)) == state else after for state in states]
