"""Citizens who move between two towns all the time, as their source tells the registry."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import httpx
from tests.e2e.caller import Json
from tests.e2e.system import REGISTRY, System

from cvhub.people import SEED
from cvhub.synthetic import SyntheticCitizen, citizens
from servicekit.testing import eventually

OURS = 5_000
"""Index of the first citizen who moves; nobody else's test is about them."""
PATIENCE = timedelta(seconds=90)
LOOK = timedelta(milliseconds=200)


@dataclass
class Movers:
    """Citizens who move between two towns all the time, as their source tells the registry."""

    system: System
    http: httpx.AsyncClient
    people: Sequence[SyntheticCitizen]
    version: int
    registry: str = ""
    pause: float = 0.0
    failures: int = 0
    rounds: int = 0
    applied: int = 0
    """The newest version that the registry took."""
    changes: Counter[UUID] = field(default_factory=Counter)
    """How often the registry said that it had changed a citizen, by person id."""
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def town(self) -> str:
        return ("751", "101")[self.version % 2]

    async def move(self) -> bool:
        """Let all of them move once; False if the registry could not be told."""
        self.version += 1
        moved = [
            {**one.citizen, "sourceVersion": self.version, "relations": _at(self.town)} for one in self.people
        ]
        token = self.system.signer("citizen-intake").token(REGISTRY, None)
        try:
            answer = await self.http.post(
                f"{self.registry or self.system.url(REGISTRY)}/internal/citizens",
                json={"citizens": moved},
                headers={"authorization": f"Bearer {token}"},
            )
        except httpx.TransportError:
            self.failures += 1
            return False
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 200:
            results = answer.json()["results"]
            assert {result["outcome"] for result in results} <= {"applied", "unchanged"}
            self.changes.update(UUID(one["personId"]) for one in results if one["outcome"] == "applied")
            self.rounds += 1
            self.applied = self.version
        else:
            self.failures += 1
        return answer.status_code == 200

    async def go_on(self) -> None:
        while not self.ending.is_set():
            await self.move()
            await asyncio.sleep(self.pause)

    async def have_moved(self, times: int) -> None:
        wanted = self.rounds + times
        await eventually(lambda: self.rounds >= wanted, PATIENCE, LOOK)


def _at(town: str) -> list[Json]:
    return [
        {"organisationType": 7, "organisationCode": town, "from": "2026-01-01"},
        {"organisationType": 8, "organisationCode": f"{town}00", "from": "2026-01-01"},
    ]


async def movers_at(
    system: System, http: httpx.AsyncClient, count: int, registry: str = "", pause: float = 0.0
) -> Movers:
    """Give so many of them, as they stand at the registry now."""
    people = [one for one in citizens(SEED, count, start=OURS) if not one.citizen.get("dead")]
    known = await system.rows(
        "select max(source_version) as newest from citizens where person_number = any($1)",
        [one.person_number for one in people],
    )
    movers = Movers(system, http, people, known[0]["newest"] or 1, registry, pause)
    assert await movers.move()
    return movers


@asynccontextmanager
async def moving(movers: Movers) -> AsyncIterator[None]:
    """Let them move for the time of a block."""
    task = asyncio.create_task(movers.go_on())
    try:
        yield
    finally:
        movers.ending.set()
        await task
