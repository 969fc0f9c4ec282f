"""For tests of followers: an owner in memory that can be away, slow or behind, a log to write to, and a table to follow into."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import orjson

from cv_contracts import envelope
from cv_contracts.event import Event
from cv_contracts.events.cv_registry import NO_SUBJECT, CitizenChanged, CitizenHeartbeat
from cv_contracts.topics import Topic, topic_of
from servicekit import kafka as clients
from servicekit.data.postgres import Database
from servicekit.follow.batch import apply_newer
from servicekit.follow.follower import Follower
from servicekit.follow.projection import Applicable, Connection, Projection, sorted_by_subject
from servicekit.follow.states import Erased, Known, SubjectState, Unknown
from servicekit.settings import KafkaSettings, PostgresSettings
from servicekit.testing import end

__all__ = [
    "CITIZENS",
    "Copies",
    "EventLog",
    "OwnedStates",
    "apply_states",
    "changed",
    "following",
    "heartbeat",
    "made_live",
    "make_live",
]

CITIZENS = topic_of(CitizenChanged)


def changed(subject: UUID, version: int) -> CitizenChanged:
    """Make an event of a topic that has heartbeats."""
    return CitizenChanged(
        id=uuid4(), subject=subject, version=version, time=datetime.now(UTC), change="changed"
    )


def heartbeat(made: datetime | None = None) -> CitizenHeartbeat:
    """Make a heartbeat, made now or at the given time."""
    time = made or datetime.now(UTC)
    return CitizenHeartbeat(id=uuid4(), subject=NO_SUBJECT, version=1, time=time)


class OwnedStates:
    """An owner in memory, as a projection's `fetch` sees it."""

    def __init__(self) -> None:
        self.states: dict[UUID, SubjectState] = {}
        self.asked: list[list[UUID]] = []
        self.trouble: Exception | None = None
        """Raised by each answer while set."""
        self.delay = timedelta(0)
        self.silent: set[UUID] = set()
        """Subjects left out of answers."""

    def put(self, subject: UUID, version: int, **state: Any) -> CitizenChanged:
        """Give the subject a state, and the event that tells of it."""
        self.states[subject] = Known(subject, version, state)
        return changed(subject, version)

    def erase(self, subject: UUID, version: int) -> CitizenChanged:
        self.states[subject] = Erased(subject, version)
        return changed(subject, version)

    async def fetch(self, subjects: Sequence[UUID]) -> list[SubjectState]:
        self.asked.append(list(subjects))
        if self.delay:
            await asyncio.sleep(self.delay.total_seconds())
        if self.trouble is not None:
            raise self.trouble
        return [self.states.get(s, Unknown(s)) for s in subjects if s not in self.silent]


class Copies:
    """A table to follow into. It notes each effect, so that one that happens twice is seen."""

    TABLES = """
    create table copies (generation integer, subject uuid, version bigint, state jsonb, primary key (generation, subject));
    create table effects (generation integer, subject uuid, version bigint)
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.poison: set[UUID] = set()
        """Subjects whose states cannot be applied."""

    async def create(self) -> Self:
        await self._database.execute(self.TABLES)
        return self

    async def apply(self, conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
        if any(state.subject in self.poison for state in states):
            raise ValueError("this state cannot be applied")
        known = [state for state in states if isinstance(state, Known)]
        erased = [state.subject for state in states if isinstance(state, Erased)]
        await conn.execute(
            "delete from copies where generation = $1 and subject = any($2)", generation, erased
        )
        await conn.execute(
            """insert into copies (generation, subject, version, state)
            select $1, s.subject, s.version, s.state from unnest($2::uuid[], $3::bigint[], $4::jsonb[]) as s(subject, version, state)
            on conflict (generation, subject) do update set version = excluded.version, state = excluded.state""",
            generation,
            [state.subject for state in known],
            [state.version for state in known],
            [orjson.dumps(state.state).decode() for state in known],
        )
        await conn.executemany(
            "insert into effects values ($1, $2, $3)", [(generation, s.subject, s.version) for s in states]
        )

    async def versions(self, generation: int = 1) -> dict[UUID, int]:
        rows = await self._database.fetch(
            "select subject, version from copies where generation = $1", generation
        )
        return {row["subject"]: row["version"] for row in rows}

    async def doubled(self) -> int:
        """Count the effects that happened more than once."""
        return int(
            await self._database.fetchval(
                "select count(*) from (select 1 from effects group by generation, subject, version having count(*) > 1) d"
            )
        )

    def projection(
        self, owner: OwnedStates, name: str = "copies", topic: Topic = CITIZENS, **options: Any
    ) -> Projection:
        return Projection(name=name, topic=topic, fetch=owner.fetch, apply=self.apply, **options)


class EventLog:
    """Writes records to a topic of the contracts: events, and whatever else may get there."""

    def __init__(self, kafka: KafkaSettings, topic: Topic = CITIZENS, source: str = "cv-registry") -> None:
        self._topic = topic
        self._name = kafka.topic_prefix + topic.name
        self._source = source
        self._producer = clients.producer(kafka, "follow-tests", linger_ms=2, max_request_size=4_000_000)

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.stop()

    async def send(self, *events: Event, partition: int | None = None) -> None:
        """Send events and wait until the broker has them."""
        await asyncio.gather(*[await self._send(event, partition) for event in events])

    async def beat(self, made: datetime | None = None) -> None:
        """Send a heartbeat to each partition."""
        beats = [await self._send(heartbeat(made), partition) for partition in range(self._topic.partitions)]
        await asyncio.gather(*beats)

    async def raw(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes | None]] = (),
        partition: int | None = None,
    ) -> None:
        """Send what no producer of ours would."""
        await self._producer.send_and_wait(
            self._name, value, key=key, headers=list(headers), partition=partition
        )

    async def _send(self, event: Event, partition: int | None) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = await self._producer.send(
            self._name,
            envelope.data_json(event),
            key=envelope.key(event),
            headers=envelope.headers(event, self._source),
            partition=partition,
        )
        return future


async def make_live(
    database: Database, projection: str = "copies", generation: int = 1, status: str = "live"
) -> None:
    """Begin a generation without building it."""
    await database.execute(
        "insert into projection_generations (projection, generation, status) values ($1, $2, $3)",
        projection,
        generation,
        status,
    )


async def made_live(settings: PostgresSettings, *projections: str) -> None:
    """Do the same before a service starts, which begins to build what it has not got."""
    database = await Database.connect(settings, "test")
    for projection in projections:
        await make_live(database, projection)
    await database.close()


async def apply_states(
    database: Database,
    projection: Projection,
    states: Iterable[Applicable],
    generations: Sequence[int] | None = None,
) -> frozenset[UUID]:
    """Apply states in one transaction, where they are newer, as a follower does; gives what was news."""
    in_order = sorted_by_subject({state.subject: state for state in states})
    async with database.pool.acquire() as conn, conn.transaction():
        return await apply_newer(conn, projection, in_order, generations)


@contextlib.asynccontextmanager
async def following(follower: Follower) -> AsyncIterator["asyncio.Task[None]"]:
    """Run a follower for the time of a block, and stop it as a service does."""
    task = asyncio.create_task(follower.run())
    try:
        yield task
    finally:
        await end(task)
