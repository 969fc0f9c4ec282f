"""Followers of the feed that check for themselves that nothing is missed and nothing comes twice."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import httpx
from tests.e2e.caller import Caller

from cvhub_feedclient import Event, Follower, Overtaken, Place, Present, Reader, Waiting
from servicekit.testing import eventually
from servicekit.web.tls import trusting

FEED = "change-feed"
PATIENT = Waiting(timedelta(milliseconds=50), timedelta(seconds=1))
SNAPSHOT_WITHIN = timedelta(seconds=90)


@dataclass
class MemoryCopy:
    """A copy in memory: what there was, what has happened since, and the place, changed together."""

    kept: Place = field(default_factory=Place)
    versions: dict[UUID, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    async def place(self) -> Place:
        return self.kept

    async def begin(self, former: Place, place: Place) -> None:
        self._go_on(former, place)
        self.versions.clear()

    async def present(self, items: Sequence[Present], former: Place, place: Place) -> None:
        self._go_on(former, place)
        self.versions |= {UUID(item.subject): item.version for item in items}

    async def happened(self, events: Sequence[Event], former: Place, place: Place) -> None:
        self._go_on(former, place)
        known = {event.event_id for event in self.events} if place.repeats else set()
        self.events += [event for event in events if event.event_id not in known]
        for event in events:
            if event.kind == "cv-changed" and event.version is not None:
                subject = UUID(event.subject)
                self.versions[subject] = max(event.version, self.versions.get(subject, 0))

    def _go_on(self, former: Place, place: Place) -> None:
        if former != self.kept:
            raise Overtaken
        self.kept = place

    @property
    def changes(self) -> list[UUID]:
        return [UUID(event.event_id) for event in self.events if event.kind == "cv-changed"]


@asynccontextmanager
async def following(callers: Sequence[Caller]) -> AsyncIterator[list[MemoryCopy]]:
    """Follow as each of these callers for the time of a block. A follower that ends by itself fails the block."""
    copies = [MemoryCopy() for _ in callers]
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(_follow(caller, copy)) for caller, copy in zip(callers, copies, strict=True)
        ]
        yield copies
        for task in running:
            task.cancel()


async def _follow(caller: Caller, copy: MemoryCopy) -> None:
    async def sign(request: httpx.Request) -> None:
        # The token is fetched by a blocking call the first time; it lives long enough for any drill.
        request.headers.update({k: v for k, v in caller._headers().items() if v is not None})

    base = caller.gateway or caller.system.url("gateway")
    async with httpx.AsyncClient(
        base_url=base, trust_env=False, verify=trusting(), event_hooks={"request": [sign]}
    ) as client:
        await Follower(Reader(client), copy, poll=timedelta(seconds=5), waiting=PATIENT).run()


async def position(caller: Caller) -> str:
    """Give the position of the feed's end, by way of a snapshot."""
    answer = await eventually(lambda: _snapshot(caller), SNAPSHOT_WITHIN)
    return str(answer["position"])


async def _snapshot(caller: Caller) -> dict[str, object]:
    answer = await caller.call("GET", "/v1/feed/cv/snapshot?limit=1")
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found
