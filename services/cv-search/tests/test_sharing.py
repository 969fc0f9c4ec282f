"""Instances that share an index: one of them writes, the others search what it has committed, and take over when it is gone."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from threading import Event

import pytest

from cv_contracts.codelists import default
from cv_search.indexes import FolderIndexes, Place
from cv_search.indexing import Indexer
from cv_search.lease import Lease
from cv_search.port import EngineError
from cv_search.reference import Reference
from cv_search.settings import IndexSettings, Role, Settings
from cv_search.tantivy_engine import open_engine, open_reader
from cv_search.testing import World, token_of
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

Start = Callable[[Settings], AbstractAsyncContextManager[World]]


class SharedFolder(FolderIndexes):
    """A folder that all instances see, in the place of a cluster, which may have trouble with some calls."""

    def __init__(self, folder: Path) -> None:
        reference = Reference(default())
        super().__init__(folder, open_engine, open_reader, lambda: reference)
        self.removing = Event()
        self.trouble: str | None = None

    def make_live(self, place: Place) -> None:
        super().make_live(place)
        self._suffer("pointer")

    def remove(self, place: Place) -> None:
        self.removing.set()
        self._suffer("removal")
        if self.trouble == "slow removal":
            time.sleep(0.5)
        super().remove(place)

    def _suffer(self, trouble: str) -> None:
        if self.trouble == trouble:
            self.trouble = None
            raise EngineError


@asynccontextmanager
async def instance(world: World, folder: Path, indexes: SharedFolder | None = None) -> AsyncIterator[Indexer]:
    settings = IndexSettings(folder=folder, commit_every=0.02)
    lease = Lease(world.parts.database, "index")
    indexer = Indexer(world.parts.documents, indexes or SharedFolder(folder), settings, lease)
    running = asyncio.create_task(indexer.run())
    try:
        yield indexer
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_one_writes_the_other_follows_it_and_takes_over_when_it_is_gone(
    world: World, tmp_path: Path
) -> None:
    folder = tmp_path / "shared"

    async def both_hold_all(*indexers: Indexer) -> None:
        edge = await world.parts.documents.edge()
        assert [one.serving.position for one in indexers] == [edge.change] * len(indexers)
        assert len({one.serving.place for one in indexers}) == 1

    await world.told(*(world.new(10000000 + i) for i in range(5)))
    async with instance(world, folder) as second_to_come:
        await eventually(lambda: both_hold_all(second_to_come))
        async with instance(world, folder) as watcher:
            await eventually(lambda: both_hold_all(second_to_come, watcher))
            assert watcher.progress.rebuilds == 0
            place = watcher.serving.place
    async with instance(world, folder) as first:
        await eventually(lambda: both_hold_all(first))
        async with instance(world, folder) as other:
            await eventually(lambda: both_hold_all(first, other))
            await first._end()  # as when its machine is gone: the lease ends with the connection
            await world.told(world.new(20000000))
            await eventually(lambda: both_hold_all(first, other))
        assert first.serving.place == place
    assert len(list(folder.glob("index-*"))) == 1


@pytest.mark.parametrize("trouble", ["slow removal", "removal", "pointer"])
async def test_an_index_that_has_taken_its_place_stays_whatever_becomes_of_the_one_before(
    world: World, tmp_path: Path, trouble: str
) -> None:
    """The instance ends while the old one is being removed, or that fails, or it seems that the pointer was not moved."""
    indexes = SharedFolder(tmp_path / "shared")
    database = (await world.parts.documents.edge()).database
    async with instance(world, tmp_path / "shared", indexes) as first:
        before = (await eventually(lambda: first.serving)).place
        await eventually(lambda: not first.building)
        indexes.trouble = trouble
        first.rebuild()
        if trouble == "slow removal":
            await eventually(indexes.removing.is_set)
        else:
            seen = [await asyncio.sleep(0.01, indexes.live(database)) for _ in range(100)]
            assert None not in seen
            assert seen[-1] != before
    async with instance(world, tmp_path / "shared") as later:
        await eventually(lambda: later.serving)
        await asyncio.sleep(0.1)
        assert (later.progress.rebuilds, later.building) == (0, False)


async def test_one_process_follows_and_writes_and_another_answers(settings: Settings, start: Start) -> None:
    writing, answering = (settings.model_copy(update={"role": role}) for role in (Role.WRITE, Role.SEARCH))
    async with start(writing) as writer, start(answering) as world:
        await eventually(lambda: world.parts.indexer.serving)
        one, other = writer.new(10000001, "før"), writer.new(10000002, "andet")
        await writer.told(one, other)
        saved = writer.replace(one, "efterskrift")
        await writer.hear("cvs", one)

        async def shows_what_was_saved() -> None:
            assert await world.found("efterskrift", headers=token_of(saved)) == ["10000001"]

        await eventually(shows_what_was_saved)
        place = world.parts.indexer.serving.place
        why = {"who": "drift", "reason": "prøve"}
        assert (await writer.operate("POST", "/internal/operations/index/rebuild", why)).status_code == 200
        await eventually(lambda: world.parts.indexer.serving.place != place)
        assert sorted(await world.found()) == ["10000001", "10000002"]
        assert (await writer.search()).status_code == 404
        assert (await world.operate("POST", "/internal/operations/index/rebuild", why)).status_code == 404
