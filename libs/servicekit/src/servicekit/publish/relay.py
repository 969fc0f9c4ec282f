"""Sends the outbox to Kafka: in order per key, at least once, and nothing else than what was committed.

Order per key holds without trusting a clock: rows of one key become visible in the order of `seq` (the writer's key
lock), a row is deleted only once Kafka has it, and every round sends what is visible in the order of `seq`. So whoever
sends a row has sent, or has seen deleted, all earlier ones of its key. The lease (an advisory lock of the connection
that reads and deletes) keeps a second relay from doing the same work. When that connection is gone, what is not yet
sent is dropped at once; two relays in the moment of a takeover can only repeat records, under the same event id.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import structlog

from servicekit import kafka
from servicekit.data.postgres import Database, passing_trouble
from servicekit.data.sessions import lease_connection
from servicekit.observe import metrics
from servicekit.pace import set_within
from servicekit.publish.outbox import Outbox
from servicekit.publish.sending import Prepared, Refusal, Round, Row, Sender
from servicekit.settings import KafkaSettings

if TYPE_CHECKING:
    OwnConnection = asyncpg.Connection[asyncpg.Record]

log = structlog.get_logger(__name__)

BATCH = 500
LINGER = timedelta(milliseconds=20)
"""So long acknowledged rows stay for the next ones, where nothing waits: one statement deletes the ones and reads the others."""
SHORTEST_POLL = timedelta(milliseconds=10)
LONGEST_POLL = timedelta(milliseconds=200)
SHORTEST_BACKOFF = timedelta(milliseconds=100)
LONGEST_BACKOFF = timedelta(seconds=5)
LEASE_POLL = timedelta(milliseconds=250)
"""A lease is asked for again and again, not waited for: a waiting statement would hold back the vacuum of the outbox."""
MEASURE_EVERY = timedelta(seconds=5)
PROOF = timedelta(seconds=1)
"""How long a relay sends without having heard from the connection that holds its lease."""
PATIENCE = timedelta(seconds=30)
"""How long a round may take before the connections to Kafka are made anew."""

_LEASE = "select pg_try_advisory_lock(hashtext('servicekit.relay'), hashtext($1))"
_EXCHANGE = """
with gone as (delete from outbox where seq = any($1::bigint[]))
select seq, id, aggregatetype, aggregateid, type, payload, time, tracingspancontext, partition
from outbox o
where seq <> all($1::bigint[] || $2::bigint[]) and aggregatetype <> all($3::text[])
and not exists (
    select from outbox_refused r
    where r.aggregatetype = o.aggregatetype and r.aggregateid = o.aggregateid
    and r.partition is not distinct from o.partition and r.seq < o.seq
)
order by seq limit $4"""
_MOVE_ASIDE = """
with refused as (delete from outbox where seq = $1 returning *)
insert into outbox_refused (
    seq, id, aggregatetype, aggregateid, type, payload, version, time, tracingspancontext, partition, reason
)
select seq, id, aggregatetype, aggregateid, type, payload, version, time, tracingspancontext, partition, $2
from refused"""
_BACKLOG = """
select (select count(*) from (select from outbox limit 100000) few) as rows,
(select extract(epoch from now() - time)::float8 from outbox order by seq limit 1) as age,
(select count(*) from outbox_refused) as refused"""

_SESSION = {
    # A delete that is lost with the server only means that its record is sent again, under the same event id.
    "synchronous_commit": "off",
    # The outbox is mostly empty, so its statistics are always wrong; the rows are wanted in the order of the key.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


class LeaseLost(ConnectionError):  # noqa: N818 - the name says what happened
    """The connection that held the lease is gone; another relay may be at work already."""


@dataclass(slots=True)
class Progress:
    """What this relay does, as it knows without asking the database. Only one relay of a service is active."""

    active: bool = False
    sent: int = 0
    refused: int = 0
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in the outbox, whoever sends it; `rows` counts up to 100,000, `refused` waits for an operator."""

    rows: int
    oldest: timedelta
    refused: int


class Lease:
    """The connection that holds the advisory lock. All reads and deletes of the outbox run on it."""

    def __init__(self, conn: "OwnConnection") -> None:
        self.conn = conn
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        conn.add_termination_listener(self._terminated)

    def _terminated(self, _: object) -> None:
        self.lost.set_result(None)

    async def while_held(self, awaited: "asyncio.Future[Any]") -> None:
        """Wait for it to be done, as long as the lease is held; raises LeaseLost at once when it is not."""
        deadline = asyncio.get_running_loop().time() + PATIENCE.total_seconds()
        while not awaited.done():
            await asyncio.wait(
                {awaited, self.lost}, timeout=PROOF.total_seconds(), return_when=asyncio.FIRST_COMPLETED
            )
            if self.lost.done():
                raise LeaseLost
            if not awaited.done():
                await self.conn.execute("select 1", timeout=2)
                if asyncio.get_running_loop().time() > deadline:
                    raise TimeoutError("Kafka did not answer")


class Relay:
    """Sends one service's outbox. Run one per process: the lease lets one of them work, the others stand by."""

    def __init__(
        self, database: Database, kafka_settings: KafkaSettings, source: str, outbox: Outbox
    ) -> None:
        self._database = database
        self._kafka_settings = kafka_settings
        self._source = source
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self.progress = Progress()
        self._measured: Backlog | None = None
        outbox.on_commit(self._wake.set)
        metrics.observe("outbox.backlog.rows", lambda: self._told(lambda one: one.rows))
        metrics.observe("outbox.backlog.age", lambda: self._told(lambda one: one.oldest.total_seconds()))
        metrics.observe("outbox.refused.rows", lambda: self._told(lambda one: one.refused))

    async def run(self) -> None:
        """Relay until `stop` or cancelled; trouble with Kafka or the database is waited out, anything else is raised."""
        backoff = SHORTEST_BACKOFF
        while not self._stopping.is_set():
            sent = self.progress.sent
            try:
                with kafka.no_stray_cancellation():
                    await self._hold_and_follow()
            except Exception as error:
                if passing_trouble(error) is None and not kafka.passing(error):
                    raise
                self.progress.trouble = type(error).__name__
                log.warning("relay_interrupted", error_type=self.progress.trouble)
            backoff = SHORTEST_BACKOFF if self.progress.sent > sent else min(backoff * 2, LONGEST_BACKOFF)
            await set_within(self._stopping, backoff.total_seconds())

    def stop(self) -> None:
        """Let `run` end once what is under way is acknowledged and deleted."""
        self._stopping.set()
        self._wake.set()

    async def backlog(self) -> Backlog:
        """Look at what waits in the outbox, from the service's pool."""
        row = await self._database.fetchrow(_BACKLOG)
        if row is None:
            raise LookupError("a query without a table gave no row")
        return Backlog(row["rows"], timedelta(seconds=max(row["age"] or 0.0, 0.0)), row["refused"])

    async def watch_forever(self) -> None:
        """Measure what waits, for the metrics, until cancelled."""
        while True:
            try:
                self._measured = await self.backlog()
            except Exception as error:
                self._measured = None
                if passing_trouble(error) is None:
                    raise
                log.warning("backlog_not_measured", error_type=type(error).__name__)
            await asyncio.sleep(MEASURE_EVERY.total_seconds())

    def _told(self, of: Callable[[Backlog], float]) -> float | None:
        return None if self._measured is None else of(self._measured)

    async def _hold_and_follow(self) -> None:
        async with self._lease() as lease:
            if lease is None:
                return
            sender = Sender(self._kafka_settings, self._source)
            try:
                await self._follow(lease, sender)
            finally:
                self.progress.active = False
                await sender.abort()

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[Lease | None]:
        conn = await lease_connection(self._database.settings, f"{self._source}-relay", _SESSION)
        try:
            held = False
            while not (held or self._stopping.is_set()):
                held = await conn.fetchval(_LEASE, self._source)
                if not held:
                    self.progress.trouble = None
                    await asyncio.sleep(LEASE_POLL.total_seconds())
            yield Lease(conn) if held else None
        finally:
            await _hang_up(conn)

    async def _follow(self, lease: Lease, sender: Sender) -> None:
        prepared: Prepared | None = None
        gone: list[int] = []
        await sender.start()
        self.progress.active = True
        while not self._stopping.is_set() or gone:
            if prepared is None or self._stopping.is_set():
                rows = await self._next(lease, sender, gone)
                gone, prepared = [], await sender.prepare(rows)
            begun = time.perf_counter()
            answers = await sender.send(prepared.batches)
            ahead = None
            try:
                if gone or len(prepared.seqs) == BATCH:
                    rows = await self._exchange(lease, sender, gone, prepared.seqs)
                    ahead = await sender.prepare(rows) if rows else None
                await lease.while_held(answers)
            finally:
                # Whoever waits for a producer that was aborted waits for ever.
                answers.cancel()
            metrics.record("outbox.send.duration", time.perf_counter() - begun)
            round_ = await self._finish(lease, sender, prepared, answers.result())
            gone = round_.acknowledged
            prepared = ahead if await self._settle(lease, round_) else None

    async def _next(self, lease: Lease, sender: Sender, gone: Sequence[int]) -> Sequence[Row]:
        pause = SHORTEST_POLL
        if gone:
            await set_within(self._wake, LINGER.total_seconds())
        while True:
            self._wake.clear()
            rows = await self._exchange(lease, sender, gone, ())
            if rows or self._stopping.is_set():
                return [] if self._stopping.is_set() else rows
            gone, self.progress.trouble = (), None
            woken = await set_within(self._wake, pause.total_seconds())
            pause = SHORTEST_POLL if woken else min(pause * 2, LONGEST_POLL)

    async def _exchange(
        self, lease: Lease, sender: Sender, gone: Sequence[int], under_way: Sequence[int]
    ) -> Sequence[Row]:
        """Delete what is acknowledged and read the oldest rows that are not under way, in one statement.

        Everything visible is looked at every time: a row may become visible after ones with a higher `seq`.
        """
        return await lease.conn.fetch(_EXCHANGE, gone, under_way, sender.paused(), BATCH)

    async def _finish(
        self, lease: Lease, sender: Sender, prepared: Prepared, answers: Sequence[Any]
    ) -> Round:
        finishing = asyncio.ensure_future(sender.finish(prepared, answers))
        try:
            await lease.while_held(finishing)
        finally:
            finishing.cancel()
        return finishing.result()

    async def _settle(self, lease: Lease, round_: Round) -> bool:
        """Write down the round's outcome; False if what was read ahead must be read again."""
        if round_.acknowledged:
            self.progress.sent += len(round_.acknowledged)
            metrics.count("outbox.sent", len(round_.acknowledged))
            self.progress.trouble = None
        for refusal in round_.refused:
            await self._move_aside(lease, refusal)
        if round_.trouble is not None:
            await lease.conn.execute("delete from outbox where seq = any($1::bigint[])", round_.acknowledged)
            raise round_.trouble
        return not (round_.refused or round_.renew)

    async def _move_aside(self, lease: Lease, refusal: Refusal) -> None:
        await lease.conn.execute(_MOVE_ASIDE, refusal.seq, refusal.reason)
        self.progress.refused += 1
        metrics.count("outbox.refused")
        log.error(
            "outbox_record_refused",
            event_id=str(refusal.event_id),
            topic=refusal.topic,
            reason=refusal.reason,
        )


async def _hang_up(conn: "OwnConnection") -> None:
    # It drops what it cannot close, and what it says of that must not take the place of a cancellation.
    with suppress(
        OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresError
    ):
        await conn.close(timeout=1)
