"""The load of a drill: CVs, statuses and contact data are written, citizens move, CVs are read, and every receipt is kept."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import uuid4

import httpx
from tests.drills.contacts import CONTACTS, CVS_AND_CONTACTS
from tests.e2e.caller import Caller, population
from tests.e2e.load import Load, load
from tests.e2e.movers import Movers, movers_at, moving
from tests.e2e.streams import STATUSES
from tests.e2e.system import System

from servicekit.testing import eventually
from servicekit.web.tls import trusting

WRITERS, SETTERS, SAVERS, MOVING, READERS = 6, 2, 1, 20, 2
PAUSE, PAUSE_OF_SAVERS, PAUSE_OF_MOVERS = 0.1, 0.3, 0.5
"""Seconds between two requests of the same caller: the drills are about faults, not about how much load is held."""
ATTEMPT_SECONDS = 15.0
PATIENCE = timedelta(seconds=150)


@dataclass
class Readers:
    """Callers who make each read as a user of its own, so that its access row can be told from the others."""

    caller: Caller
    answered: list[str] = field(default_factory=list)
    """The users whose reads were answered."""
    begun: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    async def read_until_ended(self, person_number: str) -> None:
        while not self.ending.is_set():
            await self._read(person_number)
            await asyncio.sleep(PAUSE)

    async def _read(self, person_number: str) -> None:
        self.begun += 1
        user = f"{self.caller.user}-{self.begun}"
        try:
            answer = await replace(self.caller, user=user).get_cv(person_number)
        except httpx.TransportError as error:
            self.failures[type(error).__name__] += 1
            return
        if answer.is_success:
            self.answered.append(user)
        else:
            self.failures[str(answer.status_code)] += 1

    async def rows(self) -> set[str]:
        """Give the users of whose reads there is an access row."""
        users = "select user_identifier from access_log where user_identifier like $1 and method = 'GetCV'"
        rows = await self.caller.system.rows(users, f"{self.caller.user}-%")
        return {row["user_identifier"] for row in rows}


@dataclass(frozen=True)
class Pressure:
    """All who press on the system at once."""

    writers: Load
    setters: Load
    savers: Load
    movers: Movers
    readers: Readers

    @property
    def successes(self) -> Mapping[str, int]:
        return {
            "CVs": len(self.writers.acknowledged),
            "statuses": len(self.setters.acknowledged),
            "contact data": len(self.savers.acknowledged),
            "moves": self.movers.rounds,
            "reads": len(self.readers.answered),
        }

    @property
    def acknowledged(self) -> int:
        """How many writes got a receipt."""
        moved = self.movers.rounds * len(self.movers.people)
        return sum(len(one.acknowledged) for one in (self.writers, self.setters, self.savers)) + moved

    @property
    def failed(self) -> Counter[str]:
        """Requests that failed, of all kinds: by status and code, or by the kind of the broken connection."""
        moves = Counter({"move": self.movers.failures}) if self.movers.failures else Counter()
        loads = (self.writers, self.setters, self.savers, self.readers)
        return sum((one.failures for one in loads), moves)

    async def have_all_grown(self, more: int) -> None:
        """Wait until every kind of them has had so many more successes."""
        wanted = {kind: count + more for kind, count in self.successes.items()}

        def grown() -> bool:
            return all(self.successes[kind] >= wanted[kind] for kind in wanted)

        await eventually(grown, PATIENCE)


@asynccontextmanager
async def pressing(system: System, gateway: str, registry: str) -> AsyncIterator[Pressure]:
    """Press on the system while the block runs; at its end every write that was begun has its receipt."""
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx.AsyncClient(
        timeout=ATTEMPT_SECONDS, trust_env=False, verify=trusting(), limits=limits
    ) as http:
        caller = Caller(system, http, user=f"reader-{uuid4().hex[:12]}", gateway=gateway)
        movers = await movers_at(system, http, MOVING, registry, PAUSE_OF_MOVERS)
        readers = Readers(caller)
        async with (
            load(caller, gateway, stream=CVS_AND_CONTACTS, writers=WRITERS, pause=PAUSE) as writers,
            load(caller, gateway, stream=STATUSES, writers=SETTERS, pause=PAUSE) as setters,
            load(caller, gateway, stream=CONTACTS, writers=SAVERS, pause=PAUSE_OF_SAVERS) as savers,
            moving(movers),
            asyncio.TaskGroup() as group,
        ):
            for one in population(120)[:READERS]:
                group.create_task(readers.read_until_ended(one.person_number))
            try:
                yield Pressure(writers, setters, savers, movers, readers)
            finally:
                readers.ending.set()
