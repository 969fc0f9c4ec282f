"""From records of the log, days of the calendar and the owners' snapshot to what the writer writes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

import asyncpg

from change_feed.citizens import Citizens, RegistryAway, is_about_person
from change_feed.placing import Entry, Found, Gone, Placed, hand_over, number_of, place
from change_feed.scopes import ALL
from change_feed.store import NO_ID
from change_feed.writing import Changes
from cv_citizens.citizen import Citizen
from cv_citizens.danish_time import Clock, danish_date
from cv_contracts.event import Event
from cv_contracts.events.cv_registry import CitizenChanged, CVChanged
from cv_contracts.topics import is_public
from servicekit.data.postgres import Database
from servicekit.follow.records import Record
from servicekit.follow.state_client import Page, StateOwner
from servicekit.follow.states import Erased, Known

__all__ = ["Taking"]

SEED_PAGE: Final = 500
DAYS_AT_ONCE: Final = 500

_SEEN: Final = "select event_id from seen_events where event_id = any($1::uuid[])"
_PLACED_COLUMNS: Final = "person_id, cv_id, cv_number, citizen_version, scopes, next_day, erased, last_number"
_PLACED: Final = (
    f"select {_PLACED_COLUMNS} from cvs where person_id = any($1::uuid[]) or cv_id = any($1::uuid[])"
)
_DUE: Final = f"select {_PLACED_COLUMNS} from cvs where next_day <= $1 order by next_day limit {DAYS_AT_ONCE}"
_VERSIONS: Final = (
    "select cv_id, newest_version from cvs where cv_id = any($1::uuid[]) and newest_version is not null"
)
# Who sees a CV since no later than its newest change has seen that.
_NEWEST: Final = """
select c.cv_id, c.newest_version, array(
    select s.name from members m join scopes s on s.id = m.scope
    where m.cv_id = c.cv_id and m.until is null and m.since <= c.newest_position
) as seen_by
from cvs c where c.cv_id = any($1::uuid[]) and c.newest_version is not null
"""
_WITHOUT_CV: Final = f"""
select {_PLACED_COLUMNS} from cvs
where not erased and cv_id > $1 and ($2::uuid is null or cv_id <= $2) and cv_id <> all($3::uuid[])
order by cv_id limit $4
"""
"""Citizens whose CV a page of the registry's does not have: they never had one, or it was lost."""

_CHANGE_OF_STATE: Final = {
    "ACTIVE": "replaced",
    "ARCHIVED": "archived",
    "DISABLED": "disabled",
    "LOCKED": "locked",
    "DELETED": "deleted",
}


class Taking:
    """Makes the changes of a batch. It reads only; raises RegistryAway and SubjectUnknown when it must wait."""

    def __init__(self, database: Database, citizens: Citizens, cvs: StateOwner, clock: Clock) -> None:
        self._database = database
        self._citizens = citizens
        self._cvs = cvs
        self._clock = clock

    async def records(self, records: Sequence[Record]) -> Changes:
        """Take in records of the log: each public event once, what cannot be read as a row."""
        changes = Changes(
            unreadable=[record for record in records if record.event is None],
            offsets={(record.topic.name, record.partition): record.offset + 1 for record in records},
        )
        await self._add(changes, await self._new(record.event for record in records))
        return changes

    async def reread(self, records: Mapping[int, Record]) -> Changes:
        """Take in records that could not be read when they came; what is newer has its place in the feed already."""
        changes = Changes(reread=list(records))
        await self._add(changes, await self._new(record.event for record in records.values()))
        rows = await self._database.fetch(_NEWEST, [entry.subject for entry in changes.entries])
        newest = {row["cv_id"]: row for row in rows}
        changes.entries = [_beside(newest.get(entry.subject), entry) for entry in changes.entries]
        return changes

    async def day(self) -> Changes:
        """Tell of hand-overs that the calendar alone makes: relations that begin, and those that have ended."""
        today, changes = danish_date(self._clock()), Changes()
        due = [_placed(row) for row in await self._database.fetch(_DUE, today)]
        least = {placed.person_id: placed.citizen_version for placed in due}
        found = await self._citizens.of_persons(least) if least else {}
        for placed in due:
            entries, after = self._placed_on(today, placed, found[placed.person_id])
            changes.entries += entries
            changes.placed[after.person_id] = after
        await self._tell_apart(changes)
        return changes

    def _placed_on(self, today: date, placed: Placed, found: Found) -> tuple[list[Entry], Placed]:
        """Place a citizen as of today; one of whom nothing newer is known is looked at again tomorrow."""
        entries, after = list[Entry](), placed
        if isinstance(found, Citizen):
            cause = uuid5(placed.person_id, f"{today} {found.version}")
            entries, after = hand_over(placed, found, today, cause, self._clock())
        if after.next_day is not None and after.next_day <= today:
            after = replace(after, next_day=today + timedelta(days=1))
        return entries, after

    async def snapshot(self, after: UUID | None) -> Changes:
        """Take in what nobody heard of from a page of the registry's CVs: newer ones, numbers, hand-overs, erasures.

        Citizens whose CV the registry does not have are taken in with the page in which it would be. One whom it does not know at
        all stays as placed: it may be behind.
        """
        page = await self._page(after)
        subjects = [one.subject for one in page.states]
        rows = await self._database.fetch(_WITHOUT_CV, after or NO_ID, page.following, subjects, SEED_PAGE)
        without = [_placed(row) for row in rows]
        end = without[-1].cv_id if len(without) == SEED_PAGE else page.following
        changes = Changes(seed=(end, end is None))
        cvs = [one for one in page.states if end is None or one.subject <= end]
        states = {UUID(one.state["personId"]): one for one in cvs if isinstance(one, Known)}
        rows = await self._database.fetch(_VERSIONS, [state.subject for state in states.values()])
        known = {row["cv_id"]: row["newest_version"] for row in rows}
        persons = list(dict.fromkeys([*states, *(one.person_id for one in without)]))
        found = await self._citizens.at_registry(persons)
        placed = await self._placed(persons)
        for person in persons:
            citizen, before, state = found[person], placed.get(person), states.get(person)
            if isinstance(citizen, Citizen) and not (before is not None and before.erased):
                self._move(changes, citizen, before)
                if state is not None and known.get(state.subject, -1) < state.version:
                    self._seed(changes, state, changes.placed[person])
        erased = {one.subject: one.version for one in cvs if isinstance(one, Erased)}
        gone = {
            one.cv_id: one.citizen_version + 1 for one in without if isinstance(found[one.person_id], Gone)
        }
        await self._erase(changes, gone | erased)
        await self._tell_apart(changes)
        return changes

    async def _tell_apart(self, changes: Changes) -> None:
        """Give other ids to entries whose ids the feed has: by a clock that was set back the same day comes twice."""
        seen = await self._seen([entry.event_id for entry in changes.entries])
        changes.entries = [
            replace(entry, event_id=uuid5(entry.event_id, str(self._clock())))
            if entry.event_id in seen
            else entry
            for entry in changes.entries
        ]

    def _move(self, changes: Changes, citizen: Citizen, before: Placed | None) -> None:
        """Place a citizen as the registry has them now, also where it was restored and has lost what the feed was told."""
        if before is not None:
            before = replace(before, citizen_version=min(before.citizen_version, citizen.version))
        now = self._clock()
        today = danish_date(now)
        cause = uuid5(citizen.person_id, f"present on {today} at {citizen.version}")
        entries, after = hand_over(before, citizen, today, cause, now)
        changes.placed[citizen.person_id] = after
        changes.entries += entries
        if before is not None and before.cv_number != after.cv_number:
            # A hand-over tells those who get the citizen and those who see all, and not those who keep them.
            told = CitizenChanged(
                id=uuid5(cause, "another number"),
                subject=citizen.person_id,
                version=citizen.version,
                time=now,
                change="changed",
            )
            changes.entries += place(told, after, citizen, person_id=None, cv_id=None, day=today)[0]

    async def _erase(self, changes: Changes, erased: Mapping[UUID, int]) -> None:
        for placed in (await self._placed(list(erased))).values():
            if not placed.erased:
                version = erased[placed.cv_id]
                event = CVChanged(
                    id=uuid5(placed.cv_id, f"erased at {version}"),
                    subject=placed.cv_id,
                    version=version,
                    time=self._clock(),
                    change="erased",
                )
                entries, after = place(
                    event, placed, None, person_id=None, cv_id=None, day=danish_date(self._clock())
                )
                changes.entries += entries
                if after is not None:
                    changes.placed[after.person_id] = after

    async def _page(self, after: UUID | None) -> Page:
        try:
            return await self._cvs.page(after, SEED_PAGE)
        except Exception as error:
            raise RegistryAway from error

    def _seed(self, changes: Changes, state: Known, placed: Placed) -> None:
        change = _CHANGE_OF_STATE[state.state["state"]]
        changes.entries.append(
            Entry(
                event_id=uuid5(state.subject, f"present at {state.version}"),
                type=CVChanged.TYPE,
                change=change,
                subject=state.subject,
                version=state.version,
                time=datetime.fromisoformat(state.state["revisionDate"]),
                person_id=placed.person_id,
                cv_id=placed.cv_id,
                cv_number=number_of(change, placed),
                audience=dict.fromkeys([ALL, *sorted(placed.scopes)], "seen"),
            )
        )

    async def _new(self, events: Iterable[Event | None]) -> list[Event]:
        by_id: dict[UUID, Event] = {}
        for event in events:
            if event is not None and is_public(type(event)):
                by_id.setdefault(event.id, event)
        seen = await self._seen(list(by_id))
        return [event for event in by_id.values() if event.id not in seen]

    async def _seen(self, ids: Sequence[UUID]) -> set[UUID]:
        return {row["event_id"] for row in await self._database.fetch(_SEEN, ids)} if ids else set()

    async def _add(self, changes: Changes, events: Sequence[Event]) -> None:
        if not events:
            return
        found = await self._citizens.of(_living(events))
        placed = await self._placed([event.subject for event in events], found.values())
        by_cv = {one.cv_id: one for one in placed.values()}
        today = danish_date(self._clock())
        for event in events:
            one = found.get(event.subject)
            person_id, cv_id = _ids(event, one)
            before = placed.get(person_id) if person_id is not None else None
            before = before or (by_cv.get(cv_id) if cv_id is not None else None)
            entries, after = place(event, before, one, person_id=person_id, cv_id=cv_id, day=today)
            changes.entries += entries
            if after is not None:
                placed[after.person_id] = by_cv[after.cv_id] = after
                changes.placed[after.person_id] = after

    async def _placed(self, subjects: Sequence[UUID], found: Iterable[Found] = ()) -> dict[UUID, Placed]:
        persons = [one.person_id for one in found if isinstance(one, Citizen)]
        rows = await self._database.fetch(_PLACED, [*subjects, *persons])
        return {row["person_id"]: _placed(row) for row in rows}


def _beside(newest: Any, entry: Entry) -> Entry:
    """Mark a change of a CV that is older than its newest; who got the citizen after that one would take it for how the CV is."""
    if newest is None or entry.type != CVChanged.TYPE or entry.version >= newest["newest_version"]:
        return entry
    audience = {name: part for name, part in entry.audience.items() if name in newest["seen_by"]}
    return replace(entry, late=True, audience=audience)


def _living(events: Sequence[Event]) -> list[Event]:
    """Leave out whom the registry has erased and says so: of them nothing is left to be asked for."""
    return [event for event in events if getattr(event, "change", None) != "erased"]


def _ids(event: Event, found: Found) -> tuple[UUID | None, UUID | None]:
    if isinstance(found, Citizen):
        return found.person_id, found.cv_id
    return (event.subject, None) if is_about_person(event) else (None, event.subject)


def _placed(row: asyncpg.Record | Any) -> Placed:
    return Placed(
        row["person_id"],
        row["cv_id"],
        row["cv_number"],
        row["citizen_version"],
        frozenset(row["scopes"]),
        row["next_day"],
        row["erased"],
        row["last_number"],
    )
