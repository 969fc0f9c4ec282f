"""Whose citizen an event is about: asked of the feed's own replica, and of the registry where the replica cannot tell."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from change_feed.placing import Found, Gone
from cv_citizens.citizen import Citizen
from cv_citizens.danish_time import Clock, utc_now
from cv_citizens.replica import NAME, TOPIC
from cv_citizens.replica_source import Registry
from cv_contracts.event import Event
from cv_contracts.events.cv_registry import CitizenChanged
from cv_contracts.topics import topic_of
from servicekit.data.postgres import Database
from servicekit.follow.freshness import fresh_sql
from servicekit.follow.state_client import HttpStates
from servicekit.follow.states import Erased, Known, SubjectState

__all__ = ["REPLICA", "Citizens", "Owner", "RegistryAway", "SubjectUnknown", "in_turns", "is_about_person"]

ASK_AT_MOST: Final = 500
UNKNOWN_AT_MOST: Final = 100_000
"""So many who are unknown are remembered; of more the first are waited for again."""

_FRESH: Final = fresh_sql(NAME, TOPIC, subject="c.person_id", partition="c.partition")
REPLICA: Final = f"""
select c.person_id, c.cv_id, c.version, c.state, {_FRESH} as fresh
from citizens c
join projection_generations g on g.projection = '{NAME}' and g.generation = c.generation and g.status = 'live'
where c.person_id = any($1::uuid[]) or c.cv_id = any($2::uuid[])
"""
"""Citizens by person id or CV id, and whether they are fresh."""


class RegistryAway(Exception):  # noqa: N818 - what is the matter
    """The registry gave no answer that can be used: the feed waits, nothing is skipped."""


class SubjectUnknown(Exception):  # noqa: N818 - what is the matter
    """The registry answers that it knows nobody of that id; it may be behind, so the feed waits a while."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The registry's states as the feed asks for them."""

    citizens: Registry
    cvs: HttpStates


def is_about_person(event: Event) -> bool:
    """Tell whether the subject is a person id; else it is a CV id."""
    return topic_of(type(event)).key == "person id"


class Citizens:
    """Finds the citizens of events, by person id or CV id."""

    def __init__(
        self,
        database: Database,
        owner: Owner,
        patience: timedelta,
        clock: Clock = utc_now,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._owner = owner
        self._patience = patience.total_seconds()
        self._clock = clock
        self._seconds = seconds
        self._unknown: dict[UUID, float] = {}
        """Whom the registry did not know when asked last, and since when it could."""

    async def of(self, events: Sequence[Event]) -> dict[UUID, Found]:
        """Give whom each subject belongs to; raises RegistryAway, and SubjectUnknown within the time of patience."""
        wanted: dict[UUID, int] = {}
        for event in events:
            least = event.version if isinstance(event, CitizenChanged) else 0
            wanted[event.subject] = max(least, wanted.get(event.subject, 0))
        persons = {event.subject for event in events if is_about_person(event)}
        found = await self._in_replica(wanted, persons)
        missing = [subject for subject in wanted if subject not in found]
        if missing:
            found |= await self._asked(missing, persons)
        self._wait_for(events, found)
        return found

    async def of_persons(self, least: Mapping[UUID, int]) -> dict[UUID, Found]:
        """Give citizens by person id, in the version named or a newer one if the registry has it; raises RegistryAway."""
        found = await self._in_replica(least, set(least))
        missing = [person for person in least if person not in found]
        return found | (await self.at_registry(missing) if missing else {})

    async def at_registry(self, persons: Sequence[UUID]) -> dict[UUID, Found]:
        """Give citizens by person id as the registry has them now, whatever the replica says; raises RegistryAway."""
        return await self._asked(persons, set(persons))

    async def _in_replica(self, wanted: Mapping[UUID, int], persons: set[UUID]) -> dict[UUID, Found]:
        others = [subject for subject in wanted if subject not in persons]
        found: dict[UUID, Found] = {}
        for row in await self._database.fetch(REPLICA, list(persons), others):
            for subject in (row["person_id"], row["cv_id"]):
                if subject in wanted and row["fresh"] and row["version"] >= wanted[subject]:
                    found[subject] = _citizen(row)
        return found

    async def _asked(self, subjects: Sequence[UUID], persons: set[UUID]) -> dict[UUID, Found]:
        try:
            return await self._ask(subjects, persons)
        except Exception as error:
            raise RegistryAway from error

    async def _ask(self, subjects: Sequence[UUID], persons: set[UUID]) -> dict[UUID, Found]:
        person_of = {subject: subject for subject in subjects if subject in persons}
        found: dict[UUID, Found] = dict.fromkeys(subjects)
        cv_ids = [subject for subject in subjects if subject not in persons]
        for state in await in_turns(self._owner.cvs.states, cv_ids):
            if isinstance(state, Known):
                person_of[state.subject] = UUID(state.state["personId"])
            elif isinstance(state, Erased):
                found[state.subject] = Gone()
        missing = [cv_id for cv_id in cv_ids if cv_id not in person_of and found[cv_id] is None]
        if missing:
            # A citizen whose CV was never made is known by the replica only; not fresh, it still says who it is.
            for row in await self._database.fetch(REPLICA, [], missing):
                person_of[row["cv_id"]] = row["person_id"]
        states = await in_turns(self._owner.citizens.states, sorted(set(person_of.values())))
        by_person = {state.subject: _found(state) for state in states}
        return found | {subject: by_person.get(person) for subject, person in person_of.items()}

    def _wait_for(self, events: Sequence[Event], found: Mapping[UUID, Found]) -> None:
        """Raise SubjectUnknown while the registry has not had its time, which began when the event was made."""
        now, moment = self._seconds(), self._clock()
        for event in events:
            if found[event.subject] is None:
                age = max(0.0, (moment - event.time).total_seconds())
                self._unknown.setdefault(event.subject, now - age)
            else:
                self._unknown.pop(event.subject, None)
        since = [self._unknown[subject] for subject, one in found.items() if one is None]
        while len(self._unknown) > UNKNOWN_AT_MOST:
            del self._unknown[next(iter(self._unknown))]
        if any(now - begun < self._patience for begun in since):
            raise SubjectUnknown


async def in_turns(
    ask: Callable[[Sequence[UUID]], Awaitable[Sequence[SubjectState]]], subjects: Sequence[UUID]
) -> list[SubjectState]:
    """Ask for states by id, no more at once than an owner answers."""
    states: list[SubjectState] = []
    for begin in range(0, len(subjects), ASK_AT_MOST):
        states += await ask(subjects[begin : begin + ASK_AT_MOST])
    return states


def _found(state: SubjectState) -> Found:
    match state:
        case Known():
            return Citizen.from_state(state.subject, state.version, state.state)
        case Erased():
            return Gone()
    return None


def _citizen(row: asyncpg.Record) -> Citizen:
    return Citizen.from_state(row["person_id"], row["version"], orjson.loads(row["state"]))
