"""The writer of the index over documents that a test moves: how far it says to be behind, and whose turn it is to write."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4

import pytest

from cv_contracts.codelists import default
from cv_search.indexes import FolderIndexes, Place
from cv_search.indexing import Indexer
from cv_search.lease import Lease
from cv_search.port import Engine, EngineError
from cv_search.reference import Reference
from cv_search.settings import IndexSettings
from cv_search.store import Changed, Edge, SearchDocuments
from cv_search.tantivy_engine import open_engine, open_reader
from servicekit.testing import end, eventually


class Documents:
    """In the place of the database: documents that leave the index, one with each change."""

    def __init__(self) -> None:
        self.database = uuid4()
        self.change = 1

    async def edge(self) -> Edge:
        return Edge(self.database, self.change, "made")

    async def after(self, change: int, until: int, limit: int) -> list[Changed]:
        return [Changed(UUID(int=n), n, None) for n in range(change + 1, until + 1)][:limit]


class Folder(FolderIndexes):
    """A folder in which an index may be impossible to open for writing."""

    refuses = False

    def __init__(self, folder: Path) -> None:
        reference = Reference(default())
        super().__init__(folder, open_engine, open_reader, lambda: reference)

    def open(self, place: Place) -> Engine:
        if self.refuses:
            raise EngineError
        return super().open(place)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("cv_search.lag.monotonic", clock)
    return clock


@pytest.fixture
def documents() -> Documents:
    return Documents()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "index")


@pytest.fixture
async def indexer(
    documents: Documents, folder: Folder, clock: Clock, tmp_path: Path
) -> AsyncIterator[Indexer]:
    """Give one that runs, with an index that holds all there is."""
    settings = IndexSettings(folder=tmp_path, commit_every=0.01)
    indexer = Indexer(cast("SearchDocuments", documents), folder, settings)
    running = asyncio.create_task(indexer.run())
    await eventually(lambda: indexer.serving.position == documents.change)
    yield indexer
    await end(running)


async def test_changes_that_never_cease_and_are_taken_leave_the_index_no_older(
    documents: Documents, folder: Folder, clock: Clock, tmp_path: Path
) -> None:
    """Neither for who writes it nor for who watches; once nobody writes, it grows older."""
    writer, watcher = (
        Indexer(cast("SearchDocuments", documents), folder, IndexSettings(folder=tmp_path), writes=writes)
        for writes in (True, False)
    )
    await built(writer)
    await watcher.step()
    seen = []
    for _ in range(5):
        documents.change += 1
        await watcher.step()
        clock.now += 60
        await writer.step()
        seen.append((writer.lag_seconds, watcher.lag_seconds))
    assert seen == [(0, 60)] * 5
    await watcher.step()
    assert watcher.lag_seconds == 0
    await writer._end()


async def test_an_index_of_another_instance_that_cannot_be_looked_at_grows_older(
    documents: Documents, folder: Folder, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise EngineError

    watcher = Indexer(
        cast("SearchDocuments", documents), folder, IndexSettings(folder=tmp_path), writes=False
    )
    monkeypatch.setattr(folder, "live", fail)
    for _ in range(2):
        with pytest.raises(EngineError):
            await watcher.step()
        clock.now += 60
    assert watcher.lag_seconds == 120


async def built(indexer: Indexer) -> None:
    await indexer.step()
    while indexer.building:
        await asyncio.sleep(0.01)
        await indexer.step()


async def test_an_index_that_cannot_be_opened_grows_older_by_the_second(
    indexer: Indexer, documents: Documents, folder: Folder, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise EngineError

    with monkeypatch.context() as broken:
        broken.setattr("cv_search.tantivy_engine.writing.TantivyEngine.commit", fail)
        folder.refuses = True
        assert indexer.lag_seconds == 0
        documents.change += 1
        await eventually(lambda: indexer.progress.trouble == "EngineError")
        clock.now += 60
        assert indexer.lag_seconds == 60
    folder.refuses = False
    await eventually(lambda: indexer.progress.position == documents.change)
    await eventually(lambda: indexer.lag_seconds == 0)


async def test_where_there_is_no_index_yet_what_is_to_be_in_one_grows_older(
    documents: Documents, folder: Folder, clock: Clock, tmp_path: Path
) -> None:
    indexer = Indexer(cast("SearchDocuments", documents), folder, IndexSettings(folder=tmp_path))
    folder.refuses = True
    await indexer.step()
    clock.now += 60
    await indexer.step()
    assert indexer.lag_seconds == 60
    folder.refuses = False
    await built(indexer)
    assert indexer.lag_seconds == 0
    await indexer._end()


class Turns:
    """In the place of the lease: so many times it is held, then another instance has it."""

    def __init__(self, held: int) -> None:
        self._held = held

    async def mine(self) -> bool:
        self._held -= 1
        return self._held >= 0

    def let_go(self) -> None:
        pass


async def test_who_has_lost_the_lease_in_the_middle_of_many_batches_writes_no_further(
    documents: Documents, folder: Folder, tmp_path: Path
) -> None:
    settings = IndexSettings(folder=tmp_path, batch=100)
    builder = Indexer(cast("SearchDocuments", documents), folder, settings)
    await builder.step()
    await eventually(lambda: builder.serving)
    await builder._end()
    documents.change = 1_000
    indexer = Indexer(cast("SearchDocuments", documents), folder, settings, cast("Lease", Turns(4)))
    await indexer.step()
    assert 100 < indexer.progress.position < 500
    await indexer.step()
    assert indexer.progress.position < 500
    await indexer._end()
