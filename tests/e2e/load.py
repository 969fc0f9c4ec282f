"""Writers that never rest, what they were promised, and the history that came of it."""

import asyncio
import itertools
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
from aiokafka import ConsumerRecord
from tests.e2e.caller import Caller
from tests.e2e.history import Acknowledged, History, LogRecord, Revision
from tests.e2e.streams import CVS, Stream
from tests.e2e.system import System

from cv_contracts.envelope import Unreadable, read
from cv_contracts.event import Event
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.topics import topic_of
from servicekit.data.consistency import CONSISTENCY_HEADER, parse
from servicekit.kafka import consumer
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually

WRITERS = 16
KEY_BUSY = 4823
PATIENCE = timedelta(seconds=60)
"""How long a system may take to publish what was committed, once everything runs again."""
_MARKER = re.compile(r"mark-[0-9a-f]{32}")


@dataclass
class Load:
    """Writers of one stream. A write that got no receipt is sent again under its request id until it has one."""

    stream: Stream
    caller: Caller
    keys: dict[str, UUID]
    gateways: Sequence[str]
    acknowledged: list[Acknowledged] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    """Answers without a receipt, by status and fault code or by the kind of the broken connection."""
    pause: float = 0.0
    """Seconds that each writer rests after a write, and before it sends one again."""
    _ending: bool = False

    def end(self) -> None:
        self._ending = True

    @property
    def failures(self) -> Counter[str]:
        """Everything but success and the refusal of a concurrent replace, which the specification wants (4823)."""
        return Counter({what: n for what, n in self.answers.items() if what != f"409 {KEY_BUSY}"})

    async def write_until_ended(self, seed: int) -> None:
        choose = random.Random(seed)  # noqa: S311 - no secret
        gateways = itertools.cycle(self.gateways)
        persons = sorted(self.keys)
        while not self._ending:
            await self._write(choose.choice(persons), gateways)
            await asyncio.sleep(self.pause)

    async def _write(self, person: str, gateways: "itertools.cycle[str]") -> None:
        marker, begun = f"mark-{uuid4().hex}", time.monotonic()
        while not await self._attempt(person, marker, next(gateways), begun):  # noqa: ASYNC110 - a pause between attempts
            await asyncio.sleep(max(self.pause, 0.02))

    async def _attempt(self, person: str, marker: str, gateway: str, begun: float) -> bool:
        caller = self.caller.acting(self.caller.organisation, gateway=gateway)
        try:
            answer = await self.stream.send(caller, person, marker)
        except httpx.TransportError as error:
            self.answers[type(error).__name__] += 1
            return False
        assert answer.status_code in (200, 409) or answer.status_code >= 500, answer.text
        if answer.status_code != 200:
            self.answers[f"{answer.status_code} {answer.json().get('code')}"] += 1
            return False
        event_id = UUID(answer.json()["ServiceReceipt"]["MessageIdentifier"])
        key = self.keys[person]
        token, _, _ = answer.headers[CONSISTENCY_HEADER].partition(".")
        version = parse(token).entries[topic_of(self.stream.event).name, key]
        self.acknowledged.append(Acknowledged(event_id, key, version, marker, begun, time.monotonic()))
        return True

    async def has_grown(self, writes: int) -> None:
        """Wait for so many more receipts."""
        wanted = len(self.acknowledged) + writes
        await eventually(lambda: len(self.acknowledged) >= wanted, PATIENCE)


@asynccontextmanager
async def load(
    caller: Caller, *gateways: str, stream: Stream = CVS, writers: int = WRITERS, pause: float = 0.0
) -> AsyncIterator[Load]:
    """Write while the block runs; at its end every write that was begun has its receipt."""
    keys = await citizens_of(caller.system, stream)
    made = Load(stream, caller, keys, gateways or [caller.system.url("gateway")], pause=pause)
    async with asyncio.TaskGroup() as group:
        for seed in range(writers):
            group.create_task(made.write_until_ended(seed))
        try:
            yield made
        finally:
            made.end()


async def citizens_of(system: System, stream: Stream = CVS) -> dict[str, UUID]:
    """Give the key of the stream's events by person number of those who are written."""
    persons = [one.person_number for one in stream.persons()]
    rows = await system.rows(
        'select person_number, cv_id as "cv id", person_id as "person id" from citizens where person_number = any($1)',
        persons,
    )
    assert len(rows) == len(persons)
    return {row["person_number"]: row[topic_of(stream.event).key] for row in rows}


async def published(system: System, *services: str) -> None:
    """Wait until the outboxes of these services are empty; heartbeats are made all the time."""

    async def empty() -> bool:
        counted = "select count(*) = 0 from outbox where partition is null"
        return all([await system.value(counted, service=service) for service in services])

    await eventually(empty, PATIENCE, timedelta(milliseconds=200))


async def revisions(system: System, keys: Sequence[UUID], stream: Stream = CVS) -> list[Revision]:
    rows = await system.rows(stream.revisions, keys, service=stream.owner)
    return [Revision(row["cv_id"], row["version"], _marker(row["content"] or "")) for row in rows]


def _marker(content: str) -> str | None:
    found = _MARKER.search(content)
    return found[0] if found else None


async def log_records(system: System, event: type[Event] = CVChanged) -> list[LogRecord]:
    """Read all events of one kind, from the beginning to the present end; what cannot be read is none."""
    settings = KafkaSettings(bootstrap_servers=system.stack.bootstrap_servers)
    found: list[LogRecord] = []
    async with consumer(settings, topic_of(event).name, group_id=None) as log:
        await eventually(lambda: len(log.assignment()) > 0)
        ends = await log.end_offsets(log.assignment())
        for partition, end in ends.items():
            while await log.position(partition) < end:
                messages = (await log.getmany(partition, timeout_ms=1000)).get(partition, [])
                found += [one for message in messages if (one := _record(message, event)) is not None]
    return found


def _record(message: ConsumerRecord[bytes, bytes], kind: type[Event]) -> LogRecord | None:
    try:
        event = read(message.headers, message.value)
    except Unreadable:
        return None
    if not isinstance(event, kind):
        return None
    key = UUID(message.key.decode())
    trace = dict(message.headers).get("ce_traceparent", b"").decode().partition("-")[2].partition("-")[0]
    return LogRecord(message.partition, message.offset, event.id, key, event.version, trace or None)


async def history_of(
    system: System,
    acknowledged: Sequence[Acknowledged],
    forgotten: frozenset[tuple[UUID, int]] = frozenset(),
    stream: Stream = CVS,
) -> History:
    """Put together what became of the writers' citizens, once everything is published."""
    await published(system, stream.owner)
    keys = set((await citizens_of(system, stream)).values())
    told = [record for record in await log_records(system, stream.event) if record.key in keys]
    return History(acknowledged, await revisions(system, list(keys), stream), told, forgotten)
