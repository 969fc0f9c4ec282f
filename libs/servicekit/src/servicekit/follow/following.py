"""One projection at work: batches of records, retries of what had to wait, and patience with a database that is away."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import asyncpg
import structlog

from servicekit.data.consistency import Applied
from servicekit.data.postgres import Database, passing_trouble
from servicekit.follow.asking import Asking
from servicekit.follow.batch import HAD, Rewound, Settled, Work, settle
from servicekit.follow.committing import Committer
from servicekit.follow.pending import CLAIM_LIMIT, Waiting, claim_due
from servicekit.follow.positions import Consumer, Positions
from servicekit.follow.projection import Announced, Batch, Projection, read_batch
from servicekit.follow.records import Records
from servicekit.observe import metrics
from servicekit.observe.attributes import Attributes
from servicekit.pace import set_within

__all__ = ["Following", "NotSettled"]

T = TypeVar("T")
log = structlog.get_logger(__name__)

PATIENCE = timedelta(seconds=60)
"""How long one batch is tried before Kafka is asked for it again; below the time after which a group throws a member out."""
WHOLE_TRIES = 3
ACQUIRE_WITHIN = 5.0
RETRY_EVERY = 0.5

YOUNG = timedelta(seconds=10)
BUSY_FOR = 0.25
"""Seconds after a batch in which another one is likely."""


class NotSettled(Exception):  # noqa: N818 - what happened to the batch
    """A batch could not be written for a minute. Its records are read again; nothing was committed."""


class Following:
    """The runtime of one projection in this process."""

    def __init__(self, database: Database, projection: Projection, topic: str, applied: Applied) -> None:
        self.projection = projection
        self.topic = topic
        self.positions = Positions(database, projection, topic)
        self.owner = Asking(projection)
        self.commits = Committer()
        self.assigned = asyncio.Event()
        self.last_batch = time.monotonic()
        self._database = database
        self._applied = applied
        self._due = asyncio.Event()

    @property
    def is_busy(self) -> bool:
        """Whether batches come one after the other."""
        return time.monotonic() - self.last_batch < BUSY_FOR

    def reassigned(self) -> None:
        """Take note of a new assignment, or of a database that is another than it was."""
        self.positions.forget()
        self.assigned.set()

    def heed(self, known: Mapping[int, int], stored: Mapping[int, int]) -> None:
        """Compare the positions read from the database with those this process knew before the query.

        A lower one means the database was restored from a back-up.
        """
        if any(stored.get(partition, 0) < offset for partition, offset in known.items()):
            self._rewound()

    async def handle(self, records: Records, consumer: Consumer) -> None:
        """Deal with a batch: everything in it is applied or a row when this returns, and NotSettled means nothing is."""
        begun = time.monotonic()

        async def step(one_by_one: bool) -> tuple[Batch, Settled]:
            # What was left once is read again from elsewhere, and must not come back with the next try.
            nonlocal records
            records = await self.positions.only_next(consumer, records)
            return await self._once(records, consumer, one_by_one)

        try:
            batch, settled = await self._patiently(step)
        except NotSettled:
            self.positions.forget()
            raise
        self.last_batch = time.monotonic()
        self._tell(batch, settled, self.last_batch - begun)
        if self.projection.pause:
            await self._applied.unhurried(self.projection.topic.name, self.projection.pause)

    async def retry_due(self) -> int:
        """Try the pending rows whose time has come; gives how many there were."""
        claimed = await claim_due(self._database, self.projection.name)
        if not claimed:
            return 0
        announced = {c.announced.subject: c.announced for c in claimed}
        states, reasons = await self.owner.ask(announced, patiently=True)
        work = Work(
            states, announced, attempts={c.announced.subject: c.attempts for c in claimed}, retried=True
        )
        work.waiting = {subject: work.wait(subject, reason) for subject, reason in reasons.items()}
        settled = await self._patiently(lambda one_by_one: self._settle(work, one_by_one))
        self._notify(settled)
        metrics.count("events.applied", len(settled.newly))
        return len(claimed)

    async def retry_forever(self) -> None:
        """Retry pending rows until cancelled."""
        while True:
            try:
                tried = await self.retry_due()
            except Exception as error:  # noqa: BLE001 - rows stay due; whatever was wrong, the next round tries again
                log.warning("retry_failed", stream=self.projection.name, error_type=type(error).__name__)
                tried = 0
            if tried < CLAIM_LIMIT:
                await self._wait_for_due()

    async def seek_forever(self, consumer: Callable[[], Consumer | None]) -> None:
        """After each assignment, and when the database was restored, go to its positions, until cancelled."""
        while True:
            await self.assigned.wait()
            self.assigned.clear()
            try:
                if (present := consumer()) is not None:
                    await self.positions.seek(present)
            except Exception as error:  # noqa: BLE001 - until the database answers, batches compare for themselves
                log.warning(
                    "positions_not_read", stream=self.projection.name, error_type=type(error).__name__
                )
                await asyncio.sleep(1)
                self.assigned.set()

    def _rewound(self) -> None:
        log.error("positions_rewound", stream=self.projection.name)
        # Partitions in which nothing comes lost as much, so all are sought as after an assignment.
        self.reassigned()

    async def _wait_for_due(self) -> None:
        await set_within(self._due, RETRY_EVERY)
        self._due.clear()

    async def _once(self, records: Records, consumer: Consumer, one_by_one: bool) -> tuple[Batch, Settled]:
        batch = read_batch(records)
        # Whoever finds out meanwhile that the database was restored forgets what was known when these were the next ones.
        known = self.positions.known_of(batch.positions)
        await self.positions.mark_gaps(consumer, batch)
        behind = await self._behind(batch.announced)
        states, reasons = await self.owner.ask(behind)
        work = Work(
            states,
            behind,
            unreadable=batch.unreadable,
            positions=batch.positions,
            known_offsets=known,
        )
        work.waiting = {s: Waiting(suspect, "unreadable") for s, suspect in batch.suspects.items()}
        work.waiting |= {subject: work.wait(subject, reason) for subject, reason in reasons.items()}
        settled = await self._settle(work, one_by_one)
        self.positions.committed(batch)
        return batch, settled

    async def _behind(self, announced: Mapping[UUID, Announced]) -> Mapping[UUID, Announced]:
        """When old records are read (again), leave out what every generation has already; new ones are worth no query."""
        young = datetime.now(UTC) - YOUNG
        old = [a for a in announced.values() if a.time is not None and a.time < young]
        if not old:
            return announced
        subjects, versions = [a.subject for a in old], [a.version for a in old]
        rows = await self._database.fetch(HAD, self.projection.name, subjects, versions)
        had = {row["subject"] for row in rows}
        return {subject: a for subject, a in announced.items() if subject not in had}

    async def _settle(self, work: Work, one_by_one: bool) -> Settled:
        async with self._database.pool.acquire(timeout=ACQUIRE_WITHIN) as conn:
            return await settle(conn, self.projection, work, one_by_one=one_by_one)

    async def _patiently(self, step: Callable[[bool], Awaitable[T]]) -> T:
        """Repeat a step while the database is away; find out the state that is to blame when it is not."""
        begun, one_by_one, attempt = time.monotonic(), False, 0
        while True:
            attempt += 1
            try:
                return await step(one_by_one)
            except Rewound:
                self._rewound()
            except Exception as error:  # noqa: BLE001 - what kind it is decides, and none of them may end the loop
                blame = not _passes(error) or attempt >= WHOLE_TRIES
                log.warning(
                    "batch_not_written",
                    stream=self.projection.name,
                    attempt=attempt,
                    error_type=type(error).__name__,
                )
                if one_by_one or not blame:
                    await self._pause(begun, attempt)
                one_by_one = one_by_one or blame

    async def _pause(self, begun: float, attempt: int) -> None:
        if time.monotonic() - begun > PATIENCE.total_seconds():
            raise NotSettled
        await asyncio.sleep(min(2.0, 0.02 * 2 ** min(attempt, 10)) * random.uniform(0.5, 1.5))  # noqa: S311

    def _notify(self, settled: Settled) -> None:
        self._applied.notify(self.projection.topic.name, *settled.reached)
        if settled.newly and self.projection.applied is not None:
            self.projection.applied()

    def _tell(self, batch: Batch, settled: Settled, seconds: float) -> None:
        self._notify(settled)
        if batch.suspects:
            self._due.set()
        attributes: Attributes = {"messaging.destination.name": self.projection.topic.name}
        metrics.record("events.apply.duration", seconds, attributes)
        metrics.count("events.applied", len(settled.newly), attributes)
        metrics.count("events.batches", 1, attributes)
        metrics.count("events.pending", len(settled.waiting), attributes)
        metrics.count("events.unreadable", len(batch.unreadable), attributes)
        metrics.count("events.repeated", len(batch.announced.keys() - settled.newly), attributes)
        now = datetime.now(UTC)
        for subject in settled.newly:
            if (time_made := batch.announced[subject].time) is not None:
                metrics.record(
                    "events.commit_to_applied.duration", (now - time_made).total_seconds(), attributes
                )


def _passes(error: Exception) -> bool:
    """Tell trouble that passes from a statement that will fail again; one that takes too long is of the second kind."""
    return passing_trouble(error) is not None and not isinstance(error, asyncpg.QueryCanceledError)
