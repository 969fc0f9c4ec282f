"""The one process that writes the feed: it holds the lease, reads the log from the feed's own positions, and waits when it must."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

import asyncpg
import structlog

from change_feed.citizens import RegistryAway, SubjectUnknown
from change_feed.log import Log, Start, begin, begin_new
from change_feed.rereading import handed_over
from change_feed.retention import drop_oldest
from change_feed.settings import Settings
from change_feed.taking import Taking
from change_feed.writing import MILLISECOND, Changes, Writer, now_position
from servicekit import kafka
from servicekit.data.postgres import Database, lock_number, passing_trouble
from servicekit.data.sessions import lease_connection
from servicekit.follow.records import Record

if TYPE_CHECKING:
    OwnConnection = asyncpg.Connection[asyncpg.Record]

__all__ = ["Leader", "Moved", "Pace", "Progress"]

log = structlog.get_logger(__name__)

LEASE: Final = lock_number("change-feed writer")
LEASE_POLL: Final = 0.5
SHORTEST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 5.0
COMMIT_EVERY: Final = 1.0
SLOW_COMMIT_REST: Final = 30.0
"""Seconds. The feed waits for a commit that is too slow to the end of its time, and needs none to go on."""
CALENDAR_EVERY: Final = 5.0
REREADS_EVERY: Final = 2.0
RETENTION_EVERY: Final = 600.0
SLOW_DROP_REST: Final = 86_400.0
"""Seconds. The feed and its readers wait for a drop that is too slow to the end of its time, so not again and again."""
EDGE_EVERY: Final = 1.0
SILENCE: Final = 60_000_000
"""Microseconds. A feed whose edge stood still for so long may be a back-up, also where Kafka was lost with it and cannot tell."""
SEED_REST: Final = 1.0
GATHER: Final = 0.25
"""Seconds between two batches where one follows the other: a record costs almost what a hundred do, and each batch wakes all who
follow the feed. The first one after a pause is not waited with."""
WORTH_A_BATCH: Final = 200
"""After so many at once there are more, and they are not waited for."""

STATEMENT_WITHIN: Final = 30.0
"""Seconds, after the server's own limit. A connection that nobody answers any more is noticed by this alone."""

_FEED: Final = "select epoch, seeded, seed_after from feed"
_POSITIONS: Final = "select topic, partition, next_offset from log_positions"
_NEW_EPOCH: Final = "insert into feed (epoch, edge, floor) values ($1, $2, 0)"
# No database that is whole has given out positions between its edge and the moment at which a writer begins; nor does this one.
_FORGOTTEN: Final = """
with forgotten as (
    insert into restores (after_position, before_position)
    select edge, greatest($1, edge) from feed where $2 or $1 - edge > $3 returning before_position
)
update feed set edge = before_position from forgotten
"""

_SESSION: Final = {
    "statement_timeout": "25000",
    # Rows are found by their keys, however many: planning anew for each number of them would cost more than that.
    "plan_cache_mode": "force_generic_plan",
}

Moved = Callable[[Collection[UUID]], None]
"""Hears after each write of the subjects of its entries, CVs by their own ids."""


@dataclass(slots=True)
class Progress:
    """What this process does for the feed, as it knows without asking anybody."""

    leading: bool = False
    taken: int = 0
    last: float = 0.0
    trouble: str | None = None
    behind: dict[tuple[str, int], int] = field(default_factory=dict)


class Leader:
    """Writes the feed while it holds the lease; another process then takes over within seconds of its end."""

    def __init__(self, database: Database, settings: Settings, taking: Taking, moved: Moved) -> None:
        self._database = database
        self._settings = settings
        self._taking = taking
        self._moved = moved
        self.progress = Progress()

    async def run(self) -> None:
        """Lead whenever nobody else does, until cancelled. Broker, database and registry may be away for any time."""
        wait = SHORTEST_WAIT
        while True:
            try:
                with kafka.no_stray_cancellation():
                    async with self._lease() as conn:
                        if conn is not None:
                            wait = SHORTEST_WAIT
                            await self._lead(conn)
            except Exception as error:  # noqa: BLE001 - nothing is committed that was not written; it begins anew from there
                self.progress.trouble = type(error).__name__
                level = log.warning if _passes(error) else log.error
                level("feed_waits", error_type=type(error).__name__, exc_info=not _passes(error))
                wait = min(wait * 2, LONGEST_WAIT)
            self.progress.leading = False
            await asyncio.sleep(max(wait, LEASE_POLL))

    async def _lead(self, conn: "OwnConnection") -> None:
        source = Log(self._settings.kafka, self._settings.batch_records)
        try:
            await source.start()
            reading = _Reading(conn, source, self._taking, self._settings, self._moved)
            await reading.begin()
            self.progress.leading, self.progress.trouble = True, None
            while True:
                self.progress.taken += await self._patiently(reading)
                self.progress.last = time.monotonic()
        finally:
            await source.stop()

    async def _patiently(self, reading: "_Reading") -> int:
        """Repeat a step while the registry is away or knows less than the log: nothing is skipped."""
        wait = SHORTEST_WAIT
        while True:
            try:
                taken = await reading.step()
            except (RegistryAway, SubjectUnknown) as error:
                if self.progress.trouble is None:
                    log.warning("feed_waits", error_type=type(error).__name__, reason=_cause_of(error))
                self.progress.trouble = type(error).__name__
                await asyncio.sleep(wait)
                await reading.hold()
                wait = min(wait * 2, LONGEST_WAIT)
            else:
                self.progress.trouble = None
                return taken

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator["OwnConnection | None"]:
        conn = await lease_connection(
            self._database.settings, "change-feed writer", _SESSION, command_timeout=STATEMENT_WITHIN
        )
        try:
            held = await conn.fetchval("select pg_try_advisory_lock($1)", LEASE)
            yield conn if held else None
        finally:
            conn.terminate()


class Pace:
    """Lets rounds begin at least so many seconds apart: those who come in between are in the next one together."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until the next round may begin; not at all when the last one was longer ago."""
        now = asyncio.get_running_loop().time()
        begin = max(now, self._next)
        self._next = begin + self._seconds
        if begin > now:
            await asyncio.sleep(begin - now)


class _Reading:
    """One time of leading: from the positions in the database onwards. A step that failed is done again as a whole."""

    def __init__(
        self,
        conn: "OwnConnection",
        source: Log,
        taking: Taking,
        settings: Settings,
        moved: Moved,
    ) -> None:
        self._conn = conn
        self._source = source
        self._writer = Writer(conn, settings.partition_width)
        self._taking = taking
        self._settings = settings
        self._moved = moved
        self._records: list[Record] = []
        self._offsets: dict[tuple[str, int], int] = {}
        self._target: dict[tuple[str, int], int] = {}
        self._seed: UUID | None = None
        self._seeded = True
        self._pace = Pace(GATHER)
        self._gathers = False
        self._leftovers = False
        self._due = dict.fromkeys(("commit", "calendar", "edge", "seed", "rereads"), 0.0)
        # Not at once: if a drop is what ends the time of leading, there is still time for everything else.
        self._due["retention"] = time.monotonic() + RETENTION_EVERY

    async def begin(self) -> None:
        bounds = await self._source.bounds()
        self._target = bounds.next
        feed = await self._conn.fetchrow(_FEED)
        if feed is None:
            start = begin_new(bounds)
            await self._new_epoch(start)
        else:
            rows = await self._conn.fetch(_POSITIONS)
            stored = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
            start = begin(bounds, stored)
            self._seed, self._seeded = feed["seed_after"], feed["seeded"]
            if start.restored:
                log.error("feed_restored")
            await self._conn.execute(_FORGOTTEN, _next_edge(), start.restored, SILENCE)
            if start.gap:
                log.error("feed_has_gap")
                # Written down at once: while nobody reads, the log may grow past the old positions.
                begun = {key: at for key, at in start.offsets.items() if stored.get(key, at) != at}
                await self._writer.write(Changes(begun=begun, seed=(None, False)))
                self._seed, self._seeded = None, False
        self._offsets = start.offsets
        self._source.seek(start.offsets)
        # Before anything is read: a topic that was read and of which Kafka has no place is then one that was made anew.
        await self._commit()

    async def _new_epoch(self, start: Start) -> None:
        log.warning("feed_epoch_begun", lost=start.restored)
        async with self._conn.transaction():
            await self._conn.execute(_NEW_EPOCH, uuid4(), _next_edge())
            await self._writer.write(Changes(begun=start.offsets))
        self._seeded = False

    async def hold(self) -> None:
        """Say something on the lease's connection: one that is silent for long is taken for lost."""
        await self._conn.execute("select")

    async def step(self) -> int:
        """Take in what there is to take in; gives the number of new entries."""
        if not self._records:
            if self._gathers:
                await self._pace.turn()
            self._records = await self._source.read()
            self._gathers = 0 < len(self._records) < WORTH_A_BATCH
        taken = 0
        if self._records:
            changes = await self._taking.records(self._records)
            taken = await self._write(changes)
            self._offsets |= changes.offsets
            self._records = []
        elif self._is_due("edge", EDGE_EVERY):
            await self._write(Changes())
        if not self._seeded and self._has_caught_up() and self._is_due("seed", 0):
            taken += await self._take_snapshot()
        if self._is_due("rereads", REREADS_EVERY):
            taken += await self._take_rereads()
        if self._is_due("calendar", CALENDAR_EVERY):
            taken += await self._follow_calendar()
        if self._is_due("retention", RETENTION_EVERY):
            await self._drop_oldest()
        if self._is_due("commit", COMMIT_EVERY):
            await self._commit()
        return taken

    def _has_caught_up(self) -> bool:
        """Tell whether all is read that the log had at the beginning: only then is it known which CVs it does not tell of."""
        return all(self._offsets[key] >= end for key, end in self._target.items())

    async def _write(self, changes: Changes) -> int:
        await self._writer.write(changes)
        self._moved({entry.cv_id or entry.subject for entry in changes.entries})
        return len(changes.entries)

    async def _commit(self) -> None:
        if not await self._source.commit(self._offsets):
            self._due["commit"] = time.monotonic() + SLOW_COMMIT_REST

    async def _take_snapshot(self) -> int:
        try:
            changes = await self._taking.snapshot(self._seed)
        except RegistryAway as away:
            log.warning("feed_snapshot_waits", reason=_cause_of(away))
            self._due["seed"] = time.monotonic() + SEED_REST
            return 0
        taken = await self._write(changes)
        if changes.seed is not None:
            self._seed, self._seeded = changes.seed
        return taken

    async def _take_rereads(self) -> int:
        records = await handed_over(self._conn)
        return await self._write(await self._taking.reread(records)) if records else 0

    async def _follow_calendar(self) -> int:
        try:
            changes = await self._taking.day()
        except RegistryAway as away:
            log.warning("feed_calendar_waits", reason=_cause_of(away))
            return 0
        if changes.placed:
            self._due["calendar"] = 0.0
            return await self._write(changes)
        return 0

    async def _drop_oldest(self) -> None:
        outcome = await drop_oldest(
            self._conn, self._settings.retention, self._settings.extract_life, leftovers=self._leftovers
        )
        self._leftovers = outcome != "done"
        rest = {"more": 0.0, "too slow": SLOW_DROP_REST}.get(outcome, RETENTION_EVERY)
        self._due["retention"] = time.monotonic() + rest

    def _is_due(self, name: str, every: float) -> bool:
        now = time.monotonic()
        if now < self._due[name]:
            return False
        self._due[name] = now + every
        return True


def _next_edge() -> int:
    """Give the next whole millisecond, as all edges are."""
    return -(-now_position() // MILLISECOND) * MILLISECOND


def _cause_of(error: Exception) -> str | None:
    return None if error.__cause__ is None else type(error.__cause__).__name__


def _passes(error: BaseException) -> bool:
    return passing_trouble(error) is not None or kafka.passing(error)
