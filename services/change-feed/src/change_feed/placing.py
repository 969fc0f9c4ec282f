"""What a record becomes in the feed: pure functions from an event and a citizen to entries, and who sees them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID, uuid5

from change_feed.scopes import ALL, scopes_of
from cv_citizens.citizen import Citizen
from cv_contracts.event import Event
from cv_contracts.events.cv_registry import CVChanged

HANDED_OVER: Final = "dk.cvhub.change-feed.citizen-handed-over.v1"
SEEN_BY_ALL: Final = "handed-over"
"""`change` of a hand-over for scope ALL. One whose change is None goes only to the scopes that the citizen left."""
Handed = Literal["left", "came"]
Part = Literal["seen"] | Handed


@dataclass(frozen=True, slots=True)
class Gone:
    """A citizen whom the registry has erased."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A citizen as the feed last placed them: whose entries are seen by whom."""

    person_id: UUID
    cv_id: UUID
    cv_number: str | None
    citizen_version: int
    scopes: frozenset[str]
    next_day: date | None = None
    erased: bool = False
    last_number: str | None = None
    """The CV number, or where it was withdrawn the one before."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, before it has a position. `audience` says for each scope which part it sees."""

    event_id: UUID
    type: str
    change: str | None
    subject: UUID
    version: int
    time: datetime
    person_id: UUID | None
    cv_id: UUID | None
    cv_number: str | None
    audience: Mapping[str, Part]
    erased: bool = False
    """Whether it is told as the erasure is, for the citizen is erased: nothing may be kept of them."""
    late: bool = False
    """Whether it is a change of a CV of which a newer one arrived before it."""

    @property
    def is_erasure(self) -> bool:
        """Tell whether it is the erasure itself."""
        return self.change == "erased"

    @property
    def is_newest(self) -> bool:
        """Tell whether it says how the CV is now."""
        return self.type == CVChanged.TYPE and not self.late

    @property
    def is_change(self) -> bool:
        """Tell whether the change list counts it; an entry without a number cannot stand in it."""
        return self.is_newest and self.cv_number is not None


Found = Citizen | Gone | None
"""What is known of an event's citizen: None where the registry knows nobody."""


def place(
    event: Event,
    placed: Placed | None,
    found: Found,
    *,
    person_id: UUID | None,
    cv_id: UUID | None,
    day: date,
) -> tuple[list[Entry], Placed | None]:
    """Give the entries of an event, and the citizen as placed afterwards. A hand-over comes before what it came with."""
    change = getattr(event, "change", None)
    if change == "erased":
        after = None if placed is None else _erased(placed)
        return [_entry(event, after, None, person_id, cv_id, erased=True)], after
    if isinstance(found, Citizen) and not (placed is not None and placed.erased):
        entries, after = hand_over(placed, found, day, event.id, event.time)
        return [*entries, _entry(event, after, number_of(change, after), after.person_id, after.cv_id)], after
    if isinstance(found, Gone) or (placed is not None and placed.erased):
        return [_entry(event, placed, None, person_id, cv_id, erased=True)], placed
    number = None if placed is None else placed.cv_number
    return [_entry(event, placed, number, person_id, cv_id)], placed


def number_of(change: str | None, placed: Placed) -> str | None:
    """Give the number under which a change is told: a deletion also under one that was withdrawn, for readers know the CV by it."""
    return placed.last_number if change == "deleted" else placed.cv_number


def _erased(placed: Placed) -> Placed:
    return replace(placed, cv_number=None, last_number=None, erased=True, next_day=None)


def hand_over(
    placed: Placed | None, citizen: Citizen, day: date, cause: UUID, time: datetime
) -> tuple[list[Entry], Placed]:
    """Place a citizen as of a day; those who lose and those who get the citizen are told by an entry of its own.

    If the CV number changed too, the scopes that lose the citizen get an entry of their own, with the old number.
    """
    if placed is not None and placed.citizen_version > citizen.version:
        return [], placed
    after = Placed(
        citizen.person_id,
        citizen.cv_id,
        citizen.cv_number,
        citizen.version,
        scopes_of(citizen, day),
        citizen.next_change(day),
        last_number=citizen.cv_number or (placed.last_number if placed is not None else None),
    )
    if placed is None or placed.scopes == after.scopes:
        return [], after
    left: dict[str, Part] = dict.fromkeys(placed.scopes - after.scopes, "left")
    came: dict[str, Part] = dict.fromkeys(after.scopes - placed.scopes, "came")
    told = Entry(
        event_id=uuid5(cause, f"handed over {citizen.person_id}"),
        type=HANDED_OVER,
        change=SEEN_BY_ALL,
        subject=citizen.cv_id,
        version=citizen.version,
        time=time,
        person_id=citizen.person_id,
        cv_id=citizen.cv_id,
        cv_number=citizen.cv_number,
        audience={ALL: "seen", **left, **came},
    )
    if not left or placed.last_number == after.cv_number:
        return [told], after
    farewell = replace(
        told,
        event_id=uuid5(cause, f"left {citizen.person_id}"),
        change=None,
        cv_number=placed.last_number,
        audience=left,
    )
    return [farewell, replace(told, audience={ALL: "seen", **came})], after


def _entry(
    event: Event,
    placed: Placed | None,
    number: str | None,
    person_id: UUID | None,
    cv_id: UUID | None,
    *,
    erased: bool = False,
) -> Entry:
    scopes = frozenset[str]() if placed is None else placed.scopes
    return Entry(
        event_id=event.id,
        type=event.TYPE,
        change=getattr(event, "change", None),
        subject=event.subject,
        version=event.version,
        time=event.time,
        person_id=person_id if placed is None else placed.person_id,
        cv_id=cv_id if placed is None else placed.cv_id,
        cv_number=number,
        audience=dict.fromkeys([ALL, *sorted(scopes)], "seen"),
        erased=erased,
    )
