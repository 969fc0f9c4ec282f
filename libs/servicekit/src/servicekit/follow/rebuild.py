"""Building a projection anew beside the live one: the owner's states page by page, while each batch goes to both.

Nothing is missed: a page is read after the build was begun, so what batches applied before that is in the page, and
what they apply later they apply to the build as well; the newer version wins either way.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from servicekit.data.postgres import Database, lock_number, passing_trouble
from servicekit.data.sessions import lease_connection
from servicekit.follow.batch import apply_newer, apply_what_can_be, applying
from servicekit.follow.generations import Generation, Generations, NotBuilding
from servicekit.follow.pending import back_off
from servicekit.follow.projection import Applicable, Connection, Projection
from servicekit.follow.state_client import Page, StateOwner
from servicekit.follow.states import BadState, Erased, Known
from servicekit.pace import set_within

__all__ = ["BuildProgress", "Rebuild", "Rebuilds"]

log = structlog.get_logger(__name__)

PAGE = 500
PAGE_BESIDE_BATCHES = 100
"""A batch that brings news of somebody on the page being written waits for it, and for the reading of a page in this process."""
REST_BESIDE_BATCHES = 3
"""Times that a page took; so a build never gets less than a quarter of the time, however much there is to follow."""
REMOVED_AT_ONCE = 100
PAGE_TIMEOUT = 20.0
LOOK_EVERY = 2.0
SPEAK_EVERY = 5.0
"""Seconds between pings on the lease's connection: it is idle while pages are built, and the server ends idle lease sessions
after 30 s."""
LONGEST_REST = 30.0

_WAITS = """
insert into pending_subjects as p (projection, subject, version, attempts, next_try, reason)
select $1, w.subject, w.version, 1, now() + $4 * interval '1 second', 'not-applied'
from unnest($2::uuid[], $3::bigint[]) as w(subject, version) order by w.subject
on conflict (projection, subject) do update set version = greatest(excluded.version, p.version)
"""


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """How far a build is. `share` is that of all possible ids behind it; ids are random, so it is that of the work too."""

    generation: int
    rows: int
    share: float
    seconds: float
    held: bool

    @classmethod
    def of(cls, build: Generation) -> "BuildProgress":
        share = 1.0 if build.done else 0.0 if build.after is None else build.after.int / 2**128
        seconds = (datetime.now(UTC) - build.started_at).total_seconds()
        return cls(build.number, build.rows, share, max(0.001, seconds), build.held)

    @property
    def rate(self) -> float:
        """Rows per second since the start, pauses included."""
        return self.rows / self.seconds

    @property
    def seconds_left(self) -> float | None:
        return None if self.share == 0 else self.seconds * (1 - self.share) / self.share


class Rebuild:
    """Builds one projection when it is to be built: it has no generation yet, records of it were gone, or an operator began one.

    Run one per process: a lease lets one of them work. Killed at any point, the next one goes on from the last page.
    It gives way to the live one where `batches_come` says that this has something to do.
    """

    def __init__(
        self,
        database: Database,
        projection: Projection,
        owner: StateOwner,
        batches_come: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._projection = projection
        self._owner = owner
        self._batches_come = batches_come
        self._wake = asyncio.Event()
        self.generations = Generations(database, projection.name)

    def wake(self) -> None:
        """Look at once whether there is something to build."""
        self._wake.set()

    async def run(self) -> None:
        """Build whatever is to be built, until cancelled. Owner and database may be away for any time."""
        failures = 0
        while True:
            try:
                await self.step()
                failures = 0
            except Exception as error:  # noqa: BLE001 - what is built stays, and the next round goes on from there
                failures += 1
                log.warning(
                    "rebuild_waits",
                    stream=self._projection.name,
                    attempt=failures,
                    error_type=type(error).__name__,
                )
            await self._rest(failures)

    async def step(self) -> None:
        """Do all that there is to do now; raises what owner or database raise."""
        known = await self.generations.all()
        if not any(g.status == "building" for g in known) and await self._is_lacking(known):
            await self._begin()
        elif all(g.status == "live" or g.held for g in known):
            return
        async with self._lease() as mine:
            if mine:
                await self._work()

    async def _is_lacking(self, known: Sequence[Generation]) -> bool:
        return not any(g.status == "live" for g in known) or await self.generations.has_gap()

    async def _begin(self) -> None:
        async with self._database.write(self.generations.key) as tx:
            if await self._is_lacking(await self.generations.all()):
                await self.generations.start(tx)
                log.info("build_begun", stream=self._projection.name)

    async def _work(self) -> None:
        with suppress(NotBuilding):
            build = await self._building()
            if build is not None:
                await self._build(build)
        for generation in await self.generations.all():
            if generation.status == "retired":
                await self._remove(generation)

    async def _building(self) -> Generation | None:
        return next((g for g in await self.generations.all() if g.status == "building"), None)

    async def _build(self, build: Generation) -> None:
        if not build.done:
            await self._take_snapshot(build)
        whole = await self._building()
        if whole is None or not whole.done:
            return
        if await self.generations.shrinks(whole):
            log.error("rebuild_held", stream=self._projection.name, rows=whole.rows)
            await self.generations.hold(whole)
            return
        await self.generations.make_live(whole.number)
        log.info("rebuild_live", stream=self._projection.name, rows=whole.rows)

    async def _take_snapshot(self, build: Generation) -> None:
        """Apply page after page; the next one is on its way meanwhile."""
        page = await self._page(build.after)
        while True:
            following = page.following
            coming = None if following is None else asyncio.create_task(self._page(following))
            begun = time.monotonic()
            try:
                await self._apply_page(build, page)
                if coming is None:
                    return
                if self._batches_come():
                    await asyncio.sleep((time.monotonic() - begun) * REST_BESIDE_BATCHES)
                page = await coming
            finally:
                if coming is not None:
                    await _ended(coming)
            again = await self._building()
            if again is None or again.number != build.number or again.after != following:
                raise NotBuilding
            build = again

    async def _page(self, after: UUID | None) -> Page:
        async with asyncio.timeout(PAGE_TIMEOUT):
            page = await self._owner.page(after, PAGE_BESIDE_BATCHES if self._batches_come() else PAGE)
        if after is not None and page.following is not None and page.following <= after:
            raise BadState("the pages of an owner go round in a ring")
        return page

    async def _apply_page(self, build: Generation, page: Page) -> None:
        states = sorted(
            (state for state in page.states if isinstance(state, Known | Erased)), key=lambda s: s.subject
        )
        await self.generations.keep_erased(build, page.following)
        try:
            await self._write(build, states, page.following, one_by_one=False)
        except NotBuilding:
            raise
        except Exception as error:
            if passing_trouble(error) is not None and not isinstance(error, asyncpg.QueryCanceledError):
                raise
            await self._write(build, states, page.following, one_by_one=True)

    async def _write(
        self, build: Generation, states: Sequence[Applicable], until: UUID | None, *, one_by_one: bool
    ) -> None:
        """Write a page and how far the build is with it, in one transaction."""
        async with (
            self._database.pool.acquire(timeout=5) as conn,
            applying(conn, self._projection, states),
        ):
            await self.generations.move(conn, build, until, len(states))
            failed: set[UUID] = set()
            if one_by_one:
                await apply_what_can_be(conn, self._projection, states, failed, [build.number])
            elif states:
                await apply_newer(conn, self._projection, states, [build.number])
            if failed:
                await self._wait_for(conn, [state for state in states if state.subject in failed])

    async def _wait_for(self, conn: Connection, states: Sequence[Applicable]) -> None:
        subjects, versions = [s.subject for s in states], [s.version for s in states]
        await conn.execute(_WAITS, self._projection.name, subjects, versions, back_off(1))

    async def _remove(self, retired: Generation) -> None:
        left = True
        while left:
            left = await self.generations.remove_some(self._projection, retired, REMOVED_AT_ONCE) > 0
        log.info("generation_removed", stream=self._projection.name, count=retired.rows)

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[bool]:
        """Hold an advisory lock on a connection of its own. It saves work only: each page says which one it follows."""
        name = f"rebuild {self._projection.name}"
        conn = await lease_connection(self._database.settings, name)
        try:
            mine = bool(await conn.fetchval("select pg_try_advisory_lock($1)", lock_number(name)))
            speaking = asyncio.create_task(_speak(conn), name=f"lease of {name}")
            try:
                yield mine
            finally:
                await _ended(speaking)
        finally:
            conn.terminate()

    async def _rest(self, failures: int) -> None:
        seconds = LOOK_EVERY if failures == 0 else min(LONGEST_REST, 0.25 * 2 ** min(failures, 8))
        await set_within(self._wake, seconds * random.uniform(0.75, 1.25))  # noqa: S311 - spreads load only
        self._wake.clear()


class Rebuilds:
    """All rebuilds of one service, by projection. A projection without an owner is built by nobody."""

    def __init__(
        self,
        database: Database,
        projections: Sequence[Projection],
        batches_come: Callable[[], bool] = lambda: False,
    ) -> None:
        self.of = {
            p.name: Rebuild(database, p, p.owner, batches_come) for p in projections if p.owner is not None
        }

    async def run(self) -> None:
        """Build whatever is to be built, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for name, rebuild in self.of.items():
                tasks.create_task(rebuild.run(), name=f"rebuild {name}")


async def _speak(conn: "asyncpg.Connection[Any]") -> None:
    """Say something again and again, until told to stop or the connection is lost."""
    while True:
        await asyncio.sleep(SPEAK_EVERY)
        await conn.execute("select 1")


async def _ended(task: "asyncio.Task[Any]") -> None:
    """Leave no task behind, nor an error that nobody asks for: asyncio logs none of a task that was told to stop."""
    task.cancel()
    await asyncio.wait([task])
