"""Synthetic citizens as the commands show and use them. None of them exists."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from cvhub.danish_time import DANISH
from cvhub.servers.process import CannotStart
from cvhub.synthetic import CASES, FUND, JOBCENTER, SyntheticCitizen, citizen_of_case, citizens

SEED = 1
STRANGER = "8:75100"
"""A jobcenter that the citizen of the walk has nothing to do with."""
_A_KASSE, _MUNICIPALITY, _JOBCENTER = 1, 7, 8


@dataclass(frozen=True)
class Person:
    """One citizen with a CV; jobcenter and a-kasse are written type:code."""

    person_number: str
    cv_number: str
    jobcenter: str
    a_kasse: str
    cv: Mapping[str, Any]


def person_of_the_walk() -> Person:
    """Give the plain member of the cast. The contact data belong to another service, so the CV comes without."""
    one = citizen_of_case(SEED, "plain")
    cv = {**(one.cv or {}), "ContactInformation": {}}
    return Person(one.person_number, one.cv_number, f"{_JOBCENTER}:{JOBCENTER}", f"{_A_KASSE}:{FUND}", cv)


def import_lines(count: int) -> Iterator[bytes]:
    return (orjson.dumps(one.import_line()) + b"\n" for one in citizens(SEED, count))


def listed(limit: int, case: str | None) -> list[dict[str, Any]]:
    """Give rows to print: the cast first, then the population; or the one citizen of a case."""
    if case is None:
        return [_row(one) for one in citizens(SEED, limit)]
    try:
        return [_row(citizen_of_case(SEED, case))]
    except KeyError:
        raise CannotStart(f"There is no case '{case}'; there are: {', '.join(CASES)}.") from None


def _row(one: SyntheticCitizen) -> dict[str, Any]:
    citizen = one.citizen
    return {
        "personNumber": one.person_number,
        "cvNumber": one.cv_number,
        "municipality": _code(one, _MUNICIPALITY),
        "jobcenter": _code(one, _JOBCENTER),
        "aKasse": _code(one, _A_KASSE),
        "contactGroup": citizen.get("contactGroup"),
        "state": "dead" if citizen.get("dead") else one.cv_state or "no CV",
        "case": one.case or None,
    }


def _code(one: SyntheticCitizen, kind: int) -> str | None:
    """Give the authority of this kind whose relation holds today, Danish date."""
    today = datetime.now(DANISH).date().isoformat()
    for relation in one.citizen.get("relations", []):
        if relation["organisationType"] == kind and relation["from"] <= today <= (
            relation.get("to") or today
        ):
            return str(relation["organisationCode"])
    return None
