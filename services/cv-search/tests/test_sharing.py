"""Instances that share an index: one of them writes, the others search what it has committed, and take over when it is gone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from cv_contracts.codelists import default
from cv_search.indexes import FolderIndexes
from cv_search.indexing import Indexer
from cv_search.lease import Lease
from cv_search.reference import Reference
from cv_search.settings import IndexSettings, Role, Settings
from cv_search.tantivy_engine import open_engine, open_reader
from cv_search.testing import World, token_of
from servicekit.testing import end, eventually

pytestmark = pytest.mark.infra

Start = Callable[[Settings], AbstractAsyncContextManager[World]]


def shared_folder(folder: Path) -> FolderIndexes:
    """Give a folder that all instances see, in the place of a cluster."""
    reference = Reference(default())
    return FolderIndexes(folder, open_engine, open_reader, lambda: reference)


@asynccontextmanager
async def instance(world: World, folder: Path) -> AsyncIterator[Indexer]:
    settings = IndexSettings(folder=folder, commit_every=0.02)
    lease = Lease(world.parts.database, "index")
    indexer = Indexer(world.parts.documents, shared_folder(folder), settings, lease)
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
