"""The one writer of the index: takes the documents that changed, in order, and keeps with each commit how far it is.

The index is made of the documents of the service's own database and of nothing else. So one that is torn, deleted or
another database's is no loss: it is built anew beside whatever is still searched, and takes its place once it is as new.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any, Final

import structlog

from cv_contracts.faults import Unavailable
from cv_search.indexes import Indexes, Place, open_live
from cv_search.lag import Lag
from cv_search.lease import Lease
from cv_search.pacing import CommitPace
from cv_search.port import EngineError, IndexBroken
from cv_search.settings import IndexSettings
from cv_search.store import Edge, SearchDocuments
from cv_search.writing import OpenIndex, Serving, aside
from servicekit.data.postgres import passing_trouble
from servicekit.observe import metrics

__all__ = ["Indexer", "NotBuilt", "Progress"]

log = structlog.get_logger(__name__)

LOOK_WHETHER_THERE_EVERY: Final = 1.0
LOOK_AT_DOUBTED_EVERY: Final = 30.0
"""Searches may fail for other reasons, and to look at an index is to read all its files."""
LOOK_AT_OTHERS_EVERY: Final = 0.05
"""Where another instance writes, its commits are seen so soon."""
SHORTEST_REST: Final = 0.25
LONGEST_REST: Final = 10.0
NEAR: Final = 500
"""A build with so few changes left takes them while the old index waits, and then its place."""


class NotBuilt(Exception):  # noqa: N818 - an answer about readiness
    """There is no index to search yet."""


@dataclass(slots=True)
class Progress:
    """How the writer gets on; `trouble` is the type of what went wrong last, None when nothing is wrong."""

    position: int = 0
    built: int = 0
    """Documents of the build that is under way; 0 while there is none."""
    rebuilds: int = 0
    """Builds after which nothing was left of the index before."""
    trouble: str | None = None


class Indexer:
    """Writes an index: the only one in its folder, or with a `lease` in turns with other instances, who watch meanwhile.

    One that never `writes` watches what another process commits.
    """

    def __init__(
        self,
        documents: SearchDocuments,
        indexes: Indexes,
        settings: IndexSettings,
        lease: Lease | None = None,
        *,
        writes: bool = True,
    ) -> None:
        self._documents = documents
        self._indexes = indexes
        self._lease = lease
        self._writes = writes
        self._watches = not writes
        self._batch = settings.batch
        self._live: OpenIndex | None = None
        self._serving: Serving | None = None
        self._build: asyncio.Task[None] | None = None
        self._wanted = False
        self._writing = asyncio.Lock()
        self._pace = CommitPace(settings.commit_every.total_seconds())
        self._moved = asyncio.Event()
        self._lag = Lag()
        self._looked_at = 0.0
        self._doubted: Place | None = None
        self._look_at_doubted_from = 0.0
        self._build_from = 0.0
        self._build_rest = SHORTEST_REST
        self.progress = Progress()
        metrics.observe("index.lag", lambda: self.lag_seconds)

    @property
    def serving(self) -> Serving:
        """What to search now; raises Unavailable while there is nothing yet."""
        if self._serving is None:
            raise Unavailable(retry_after=1, detail="The index is being built")
        return self._serving

    @property
    def lag_seconds(self) -> float:
        """How old the oldest change is that is not in the index, as far as was seen."""
        return self._lag.seconds

    @property
    def watches(self) -> bool:
        """Whether another instance writes, as far as is known."""
        return self._watches

    @property
    def building(self) -> bool:
        """Whether an index is being built beside the live one, or is about to be."""
        return self._wanted or self._build is not None

    def rebuild(self) -> None:
        """Build the index anew beside the live one; one that is under way stays the one."""
        self._wanted = self._build is None
        self._pace.hurry()

    def look(self) -> None:
        """Let the documents be looked at as soon as the next commit is due: there are new ones."""
        self._pace.look()

    def doubt(self, place: Place) -> None:
        """Let an index in which a search failed be looked at soon: if it is torn it is built anew."""
        if self._doubted != place:
            self._doubted = place
            self._pace.hurry()

    async def covers(self, change: int, timeout: timedelta) -> None:  # noqa: ASYNC109 - ends in an answer of its own
        """Wait until the index has taken that change; raises Unavailable (503, Retry-After 1) when it takes longer."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                while self._serving is None or self._serving.position < change:
                    moved = self._moved
                    self._pace.hurry()
                    await moved.wait()
        except TimeoutError:
            detail = "A write that this search must show is not in the index yet"
            raise Unavailable(retry_after=1, detail=detail) from None

    async def ready(self) -> dict[str, Any]:
        """Show how far the index is; raises NotBuilt while there is none to search."""
        if self._serving is None:
            raise NotBuilt
        progress = self.progress
        return {
            "position": progress.position,
            "lag_seconds": round(self.lag_seconds, 3),
            "built": progress.built,
            "trouble": progress.trouble,
        }

    async def run(self) -> None:
        """Write until cancelled. Database, disk and index may fail at any time; what was committed is searched meanwhile."""
        rest = SHORTEST_REST
        try:
            while True:
                begun, before = monotonic(), self.progress.position
                try:
                    await self.step()
                except Exception as error:  # noqa: BLE001 - what does not pass is raised again
                    await self._suffer(error)
                    await asyncio.sleep(rest)
                    rest = min(2 * rest, LONGEST_REST)
                else:
                    self.progress.trouble, rest = None, SHORTEST_REST
                    await self._until_due(monotonic() - begun, found=self.progress.position != before)
        finally:
            await self._end()

    async def step(self) -> None:
        """Do what there is to do now: open or build the index, take what changed."""
        edge = await self._documents.edge()
        # Before anything that may fail: an index that cannot be looked at falls behind all the same.
        self._measure(edge)
        if not await self._may_write():
            await self._watch(edge)
            return
        self._watches = False
        self._take_note_of_build()
        await self._drop_doubted()
        if self._live is None and self._build is None:
            self._live = await self._opened(edge)
        if self._live is not None:
            await self._follow(self._live, edge)
        if (self._live is None or self._wanted or self._is_outdated(self._live)) and self._may_build(edge):
            self._wanted = False
            self._build = asyncio.create_task(self._built(edge), name="build the index")
            self._build.add_done_callback(lambda _: self._pace.hurry())

    async def _may_write(self) -> bool:
        return self._writes and (self._lease is None or await self._lease.mine())

    async def _watch(self, edge: Edge) -> None:
        """Let another instance write, and search what it has committed."""
        self._watches = True
        await self._end_build()
        await self._drop()
        place = await aside(self._indexes.live, edge.database)
        position = None if place is None else await aside(self._indexes.position, place)
        self._lag.measure(position, edge)
        if place is not None and position is not None:
            self._serve(Serving(place, position))

    def _is_outdated(self, index: OpenIndex) -> bool:
        """Tell whether other code lists are in force than it was made with: they may have been swapped while it was built."""
        return index.engine.digest != self._indexes.digest

    def _may_build(self, edge: Edge) -> bool:
        """Tell whether there are documents to build from, and no build is under way or has just failed."""
        return self._build is None and edge.made_from is not None and monotonic() >= self._build_from

    def _take_note_of_build(self) -> None:
        """Let a build that failed be tried again later; the live index, if there is one, goes on."""
        build = self._build
        if build is None or not build.done():
            return
        self._build, error = None, build.exception()
        if error is None:
            self._build_rest = SHORTEST_REST
            return
        if not isinstance(error, EngineError) and passing_trouble(error) is None:
            raise error
        self._note(error)
        self._wanted, self._build_from = True, monotonic() + self._build_rest
        self._build_rest = min(2 * self._build_rest, LONGEST_REST)

    async def _opened(self, edge: Edge) -> OpenIndex | None:
        place = await aside(self._indexes.live, edge.database)
        if place is None:
            return None
        try:
            engine = await aside(open_live, self._indexes, place)
        except IndexBroken:
            log.error("index_broken")  # noqa: TRY400 - what is broken is seen by its being built anew
            return None
        index = OpenIndex(place, engine, engine.position() or 0)
        self._serve(index.serving)
        return index

    async def _follow(self, index: OpenIndex, edge: Edge) -> None:
        if await self._is_lost(index, edge):
            log.error("index_lost")
            await self._drop()
            return
        async with self._writing:
            # Many batches take longer than a lease lives that nobody asks for.
            while index is self._live and index.position < edge.change and await self._may_write():
                await self._take_some(index, edge.change)
                self._serve(index.serving)
                self._measure(edge)
        self._measure(edge)

    def _measure(self, edge: Edge) -> None:
        self._lag.measure(None if self._live is None else self._live.position, edge)

    async def _is_lost(self, index: OpenIndex, edge: Edge) -> bool:
        """Tell whether it was deleted, or is of another database: one that was replaced, or restored from before it."""
        if edge.database != index.place.database or index.position > edge.change:
            return True
        if monotonic() < self._looked_at + LOOK_WHETHER_THERE_EVERY:
            return False
        self._looked_at = monotonic()
        return not await aside(self._indexes.is_there, index.place)

    async def _drop_doubted(self) -> None:
        """Close a live index that is doubted: where it is opened again all of it is looked at."""
        if self._doubted is None or monotonic() < self._look_at_doubted_from:
            return
        doubted, self._doubted = self._doubted, None
        if self._live is not None and self._live.place == doubted:
            self._look_at_doubted_from = monotonic() + LOOK_AT_DOUBTED_EVERY
            await self._drop()

    async def _take_some(self, index: OpenIndex, until: int) -> None:
        changes = await self._documents.after(index.position, until, self._batch)
        if changes:
            await index.take(changes)
        if len(changes) < self._batch:
            index.position = until
        await index.commit()

    async def _built(self, edge: Edge) -> None:
        """Build an index of all documents, then let it take the live one's place."""
        begun = monotonic()
        place = await aside(self._indexes.begin, edge.database)
        index = OpenIndex(place, await aside(self._indexes.open, place))
        try:
            log.info("index_build_begun")
            await self._add_all(index, edge.change)
            await self._catch_up(index)
            async with self._writing:
                await self._take_all(index)
                old = await self._swapped(index)
        except BaseException:
            await index.close()
            if not index.named:
                await aside(self._indexes.remove, place)
            raise
        finally:
            count, self.progress.built = self.progress.built, 0
        metrics.count("index.builds")
        log.info("index_built", rows=count, seconds=round(monotonic() - begun, 1))
        if old is None or await self._retired(old):
            self.progress.rebuilds += 1

    async def _add_all(self, index: OpenIndex, until: int) -> None:
        """Add what there was at the beginning. Whatever changed since has a later number and comes again after it."""
        while changes := await self._documents.after(index.position, until, self._batch):
            self.progress.built += await index.add(changes)
        index.position = until
        await index.commit()

    async def _catch_up(self, index: OpenIndex) -> None:
        """Take what changed meanwhile, until little is left."""
        while True:
            edge = await self._documents.edge()
            if len(await self._documents.after(index.position, edge.change, NEAR)) < NEAR:
                return
            await self._take_some(index, edge.change)

    async def _take_all(self, index: OpenIndex) -> None:
        """Take what is left while the old index waits: a search may rely on whatever that one has shown."""
        edge = await self._documents.edge()
        while index.position < edge.change:
            await self._take_some(index, edge.change)

    async def _swapped(self, index: OpenIndex) -> OpenIndex | None:
        """Let it take the live one's place; gives the old one."""
        index.named = True
        await aside(self._indexes.make_live, index.place)
        old, self._live = self._live, index
        self._serve(index.serving)
        return old

    async def _retired(self, old: OpenIndex) -> bool:
        """Remove an index that nobody searches any more; one that cannot be is removed before the next is built."""
        await old.close()
        try:
            await aside(self._indexes.remove, old.place)
        except EngineError as error:
            log.error("index_not_removed", error_type=type(error).__name__)  # noqa: TRY400 - may quote it
            return False
        return True

    def _serve(self, serving: Serving) -> None:
        self._serving = serving
        self.progress.position = serving.position
        self._moved.set()
        self._moved = asyncio.Event()

    async def _until_due(self, worked: float, *, found: bool) -> None:
        if self._watches:
            await asyncio.sleep(LOOK_AT_OTHERS_EVERY)
        else:
            await self._pace.rest(worked, found=found)

    async def _suffer(self, error: Exception) -> None:
        """Note trouble that passes, and raise any other.

        After trouble with the index it is opened again: what was not committed is taken anew then.
        """
        if isinstance(error, EngineError):
            await self._drop()
        elif passing_trouble(error) is None:
            raise error
        self._note(error)

    def _note(self, error: BaseException) -> None:
        self.progress.trouble = type(error).__name__
        log.warning("index_waits", error_type=type(error).__name__)

    async def _drop(self) -> None:
        async with self._writing:
            index, self._live = self._live, None
        if index is not None:
            await index.close()

    async def _end(self) -> None:
        await self._end_build()
        await self._drop()
        if self._lease is not None:
            self._lease.let_go()
        await aside(self._indexes.close)

    async def _end_build(self) -> None:
        build, self._build = self._build, None
        if build is not None:
            build.cancel()
            await asyncio.gather(build, return_exceptions=True)
