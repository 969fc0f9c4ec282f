"""Instances that share an index: one of them writes, the others search what it has committed, and take over when it is gone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cv_contracts.codelists import default
from cv_search.indexes import FolderIndexes
from cv_search.indexing import Indexer
from cv_search.lease import Lease
from cv_search.port import Query
from cv_search.readers import Readers
from cv_search.reference import Reference
from cv_search.settings import IndexSettings, Role, Settings
from cv_search.tantivy_engine import open_engine, open_reader
from cv_search.testing import World, token_of
from servicekit.testing import end, eventually

pytestmark = pytest.mark.infra

Start = Callable[[Settings], AbstractAsyncContextManager[World]]


@dataclass
class Lists:
    """The code lists of one instance, which a test may swap."""

    reference: Reference = field(default_factory=lambda: Reference(default()))

    def swap(self) -> None:
        lists = default()
        number = next(iter(lists.occupations))
        fewer = {known: one for known, one in lists.occupations.items() if known != number}
        self.reference = Reference(type(lists)(**{**vars(lists), "occupations": fewer}))


def shared_folder(folder: Path, lists: Lists | None = None) -> FolderIndexes:
    """Give a folder that all instances see, in the place of a cluster."""
    own = lists or Lists()
    return FolderIndexes(folder, open_engine, open_reader, lambda: own.reference)


@asynccontextmanager
async def instance(world: World, folder: Path, lists: Lists | None = None) -> AsyncIterator[Indexer]:
    settings = IndexSettings(folder=folder, commit_every=0.02)
    lease = Lease(world.parts.database, "index")
    indexer = Indexer(world.parts.documents, shared_folder(folder, lists), settings, lease)
    running = asyncio.create_task(indexer.run())
    try:
        yield indexer
    finally:
        await end(running)


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


@pytest.mark.parametrize("watcher_is_first", [True, False])
async def test_who_watches_searches_what_other_code_lists_made_whoever_takes_them_up_first(
    world: World, tmp_path: Path, watcher_is_first: bool
) -> None:
    folder, writers, watchers = tmp_path / "shared", Lists(), Lists()
    settings = IndexSettings(folder=folder)
    writer, watcher = (
        Indexer(world.parts.documents, shared_folder(folder, lists), settings, writes=lists is writers)
        for lists in (writers, watchers)
    )
    readers = Readers(world.parts.workers)

    async def both_answer() -> None:
        await watcher.step()
        assert watcher.serving == writer.serving
        assert (await readers.search(watcher.serving, Query(), 10)).total == 2

    async def built() -> None:
        await writer.step()
        while writer.building:
            await asyncio.sleep(0.01)
            await writer.step()

    await world.told(world.new(10000001), world.new(10000002))
    await built()
    await both_answer()
    before = writer.serving.place
    if watcher_is_first:
        watchers.swap()
        await both_answer()
    writers.swap()
    await built()
    assert writer.serving.place != before
    await both_answer()
    watchers.swap()
    await both_answer()
    await writer._end()


async def test_who_watches_builds_nothing_for_code_lists_that_the_writer_has_built_with(
    world: World, tmp_path: Path
) -> None:
    folder, writers, watchers = tmp_path / "shared", Lists(), Lists()

    async def take_up(lists: Lists, indexer: Indexer) -> None:
        lists.swap()
        indexer.rebuild()
        await eventually(lambda: not indexer.building)

    await world.told(world.new(10000001))
    async with AsyncExitStack() as left:
        async with instance(world, folder, writers) as writer:
            before = (await eventually(lambda: writer.serving)).place
            watcher = await left.enter_async_context(instance(world, folder, watchers))
            await eventually(lambda: watcher.watches and watcher.serving)
            await take_up(writers, writer)
            await take_up(watchers, watcher)
            await eventually(lambda: watcher.serving.place == writer.serving.place != before)
        await eventually(lambda: not watcher.watches)
        await world.told(world.new(10000002))
        edge = await world.parts.documents.edge()
        await eventually(lambda: watcher.serving.position == edge.change)
        assert (watcher.building, watcher.progress.rebuilds) == (False, 0)


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
