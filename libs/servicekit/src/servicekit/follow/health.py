"""Does the follower get anywhere? Lag is measured with a client of its own, so that a stuck consumer cannot hide itself."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, TypeVar

import orjson
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from servicekit import kafka as clients
from servicekit.data.postgres import Database
from servicekit.follow.following import Following
from servicekit.follow.freshness import heartbeat_age_sql
from servicekit.observe import metrics
from servicekit.settings import KafkaSettings

__all__ = ["FollowHealth", "FollowerStuck", "Progress", "Standing"]

log = structlog.get_logger(__name__)
T = TypeVar("T")

LOOK_EVERY = 5.0
STOOD_STILL = 3 * LOOK_EVERY
"""Longer than two looks are ever apart: a process that was stopped meanwhile could get nowhere."""
STUCK_AFTER = timedelta(seconds=120)
OWNER_FAILED_WITHIN = 30.0
"""A follower with records in hand asks every few seconds: an older failure is no reason why it gets nowhere."""
WAITS_TOO_LONG = timedelta(minutes=5)
"""After it a pending subject is an alarm: the longest pause between two tries."""
ALARM_EVERY = 60.0

_STATE = """
select
    (select coalesce(jsonb_object_agg(partition::text, next_offset), '{{}}') from follow_positions
     where projection = $1 and topic = $2)::text as offsets,
    {heartbeat_age} as heartbeat_age,
    (select count(*) from pending_subjects where projection = $1) as pending,
    (select extract(epoch from now() - min(first_seen))::float8 from pending_subjects where projection = $1) as pending_age,
    (select count(*) from unreadable_records where projection = $1) as unreadable,
    (select count(*) from follow_positions where projection = $1 and gap_at is not null) as gaps,
    exists (select 1 from projection_generations where projection = $1 and status = 'building' and held) as held,
    exists (select 1 from projection_generations where projection = $1 and status = 'live') as live
"""

# Also those of who follows without a projection, as the feed's writer does.
_UNREADABLE = "select count(*) from unreadable_records"
_ALL_LIVE = (
    "select count(*) from projection_generations where projection = any($1::text[]) and status = 'live'"
)


class FollowerStuck(Exception):  # noqa: N818 - what is the matter with it
    """Records wait and none was dealt with, although broker, database and owner answer: this process must be replaced."""


class NotLive(Exception):  # noqa: N818 - an answer about readiness
    """A projection was never built: readers would find nothing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one projection is by its own database. Ages are in seconds; the heartbeat's is that of `heartbeat_age_sql`."""

    heartbeat_age: float | None
    pending: int
    pending_age: float | None
    unreadable: int
    gaps: int
    held: bool
    """A new build of it waits for an operator to say yes: it has far fewer subjects."""
    live: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one projection is, by what the broker has.

    `positions` are those of this process's partitions: what another instance does is no progress of this one.
    """

    lag: int
    positions: dict[int, int]
    lag_of_mine: int


class FollowHealth:
    """Measures every 5 s how far each projection is, for readiness, liveness and metrics."""

    def __init__(
        self,
        database: Database,
        kafka: KafkaSettings,
        followings: Sequence[Following],
        assigned_to: Callable[[Following], set[int]],
    ) -> None:
        self._database = database
        self._kafka = kafka
        self._followings = followings
        self._assigned_to = assigned_to
        self._stuck_after = STUCK_AFTER.total_seconds()
        self._consumer: AIOKafkaConsumer | None = None
        self._measuring = asyncio.Lock()
        self._standings: dict[str, Standing] = {}
        self._unreadable = 0
        self._measured: dict[str, Progress] = {}
        self._progress_at: dict[str, float] = {}
        self._looked_at = float("inf")
        self._alarm_at: dict[str, float] = {}
        metrics.observe("builds.held", lambda: _total(self._standings, lambda one: one.held))
        metrics.observe("events.lag", lambda: _total(self._measured, lambda one: one.lag))
        metrics.observe("events.gaps", lambda: _total(self._standings, lambda one: one.gaps))
        metrics.observe("pending.rows", lambda: _total(self._standings, lambda one: one.pending))
        metrics.observe("pending.age", lambda: _most(self._standings, lambda one: one.pending_age or 0.0))
        metrics.observe("unreadable.rows", lambda: self._unreadable if self._standings else None)
        metrics.observe("heartbeat.age", lambda: _most(self._standings, lambda one: one.heartbeat_age))

    async def ready(self) -> dict[str, Any]:
        """Give each projection's standing, as last measured; raise NotLive while one was never built.

        A broker that is away hides the lag (None), and sends nobody away: what is live can be read.
        """
        names = [following.projection.name for following in self._followings]
        if await self._database.fetchval(_ALL_LIVE, names) < len(names):
            raise NotLive
        return self._details()

    async def standing(self) -> dict[str, Any]:
        """Give the same, without judging: for a service that does most of its work without what it follows."""
        return self._details()

    def _details(self) -> dict[str, Any]:
        now = time.monotonic()
        return {
            name: {
                "lag": self.lag_of(name),
                **asdict(standing),
                "since_progress": round(now - self._progress_at[name], 1),
            }
            for name, standing in self._standings.items()
        }

    def standing_of(self, projection: str) -> Standing | None:
        """Give how a projection was when the database was last asked; None if it did not answer."""
        return self._standings.get(projection)

    def lag_of(self, projection: str) -> int | None:
        """Give how many records a projection lacked when the broker was last asked; None if it did not answer."""
        progress = self._measured.get(projection)
        return None if progress is None else progress.lag

    async def watch_forever(self) -> None:
        """Measure until cancelled; raise FollowerStuck when this process gets nowhere and nobody else is to blame."""
        try:
            while True:
                await self._look()
                clients.heed_cancellation()
                await asyncio.sleep(LOOK_EVERY)
        finally:
            await self._drop_consumer()

    async def measure(self) -> None:
        """Measure all projections now: what the database says first, for it is true also while the broker does not answer.

        Of whoever does not answer nothing is known then, not what it said before.
        """
        async with self._measuring:
            with _forgotten_on_trouble(self._measured):
                with _forgotten_on_trouble(self._standings):
                    self._unreadable = await self._database.fetchval(_UNREADABLE)
                    positions = {following: await self._stand(following) for following in self._followings}
                for following, at in positions.items():
                    self._note(following, await self._progress(following, at))

    async def _stand(self, following: Following) -> dict[int, int]:
        """Note how a projection is by its own database, and give its positions. Those that it has lost are read again."""
        known = dict(following.positions.known)
        name, topic = following.projection.name, following.projection.topic
        state = _STATE.format(heartbeat_age=heartbeat_age_sql(name, topic))
        row = await self._database.fetchrow(state, name, topic.name)
        if row is None:
            raise LookupError
        offsets, *standing = row
        self._standings[name] = Standing(*standing)
        self._progress_at.setdefault(name, time.monotonic())
        self._alarm(name, self._standings[name])
        positions = {int(p): int(offset) for p, offset in orjson.loads(offsets).items()}
        following.heed(known, positions)
        return positions

    def _note(self, following: Following, progress: Progress) -> None:
        name = following.projection.name
        before = self._measured.get(name)
        moved = before is None or before.positions != progress.positions
        if moved or progress.lag_of_mine == 0 or following.owner.fails(OWNER_FAILED_WITHIN):
            self._progress_at[name] = time.monotonic()
        self._measured[name] = progress

    def _alarm(self, name: str, standing: Standing) -> None:
        age, now = standing.pending_age or 0.0, time.monotonic()
        if age > WAITS_TOO_LONG.total_seconds() and now >= self._alarm_at.get(name, now):
            self._alarm_at[name] = now + ALARM_EVERY
            log.error("pending_too_long", stream=name, count=standing.pending, seconds=round(age))

    async def _look(self) -> None:
        try:
            with clients.no_stray_cancellation():
                async with asyncio.timeout(LOOK_EVERY * 2):
                    await self.measure()
        except Exception as error:  # noqa: BLE001 - broker or database are away: no progress is nobody's fault here
            log.warning("progress_not_measured", error_type=type(error).__name__)
            await self._drop_consumer()
            self._forgive()
        last, self._looked_at = self._looked_at, time.monotonic()
        if self._looked_at - last > STOOD_STILL:
            self._forgive()
        stuck = [n for n, at in self._progress_at.items() if self._looked_at - at > self._stuck_after]
        if stuck:
            log.critical("follower_stuck", stream=stuck[0], seconds=self._stuck_after)
            raise FollowerStuck

    def _forgive(self) -> None:
        """Count the time without progress from now on: nobody here is to blame for what has gone by."""
        self._progress_at = dict.fromkeys(self._progress_at, time.monotonic())

    async def _progress(self, following: Following, positions: dict[int, int]) -> Progress:
        lags = await self._lags(following, positions)
        mine = self._assigned_to(following) or set(lags)
        return Progress(
            lag=sum(lags.values()),
            positions={p: offset for p, offset in positions.items() if p in mine},
            lag_of_mine=sum(lag for p, lag in lags.items() if p in mine),
        )

    async def _lags(self, following: Following, positions: dict[int, int]) -> dict[int, int]:
        consumer = await self._present_consumer()
        partitions = [
            TopicPartition(following.topic, p) for p in range(following.projection.topic.partitions)
        ]
        ends = await consumer.end_offsets(partitions)
        unread = [tp for tp in partitions if tp.partition not in positions]
        begins = await consumer.beginning_offsets(unread) if unread else {}
        return {
            tp.partition: max(0, end - positions.get(tp.partition, begins.get(tp, 0)))
            for tp, end in ends.items()
        }

    async def _present_consumer(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = clients.consumer(self._kafka, group_id=None)
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            self._consumer = consumer
        return self._consumer

    async def _drop_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()


@contextmanager
def _forgotten_on_trouble(known: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        known.clear()
        raise


# Whoever exports metrics asks from a thread of its own, while others may be measured: hence the copies.
def _total(known: Mapping[str, T], of: Callable[[T], int]) -> float | None:
    values = [of(one) for one in list(known.values())]
    return sum(values) if values else None


def _most(known: Mapping[str, T], of: Callable[[T], float | None]) -> float | None:
    return max((age for age in map(of, list(known.values())) if age is not None), default=None)
