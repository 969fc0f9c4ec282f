"""An index that takes another's place, and what goes wrong around it: an indexer over rows that a test puts in by hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4

import pytest

from cv_contracts.codelists import default
from cv_search.indexes import FolderIndexes, Place
from cv_search.indexing import NEAR, Indexer
from cv_search.port import EngineError
from cv_search.reference import Reference
from cv_search.settings import IndexSettings
from cv_search.store import Changed, Edge, SearchDocuments
from cv_search.tantivy_engine import open_engine, open_reader
from servicekit.testing import eventually


@dataclass
class Rows:
    """In the place of the documents: changes that take a CV out of the index."""

    edge_now: Edge = field(default_factory=lambda: Edge(uuid4(), 0, "parts"))
    asked_near: Callable[[], Awaitable[None]] | None = None
    """What happens meanwhile when a build asks whether little is left."""

    def change(self) -> None:
        self.edge_now = replace(self.edge_now, change=self.edge_now.change + 1)

    async def edge(self) -> Edge:
        return self.edge_now

    async def after(self, change: int, until: int, limit: int) -> Sequence[Changed]:
        found = [Changed(UUID(int=number), number, None) for number in range(change + 1, until + 1)][:limit]
        if limit == NEAR and self.asked_near is not None:
            meanwhile, self.asked_near = self.asked_near, None
            await meanwhile()
        return found


@dataclass
class Lists:
    """The reference data in force, by a digest that a test may change."""

    reference: Reference

    def other(self) -> None:
        self.reference = Reference(default())
        self.reference.digest = "other"


class Folder(FolderIndexes):
    """A folder that may refuse."""

    refuses_remove = False
    loses_answers = False

    def make_live(self, place: Place) -> None:
        super().make_live(place)
        if self.loses_answers:
            raise EngineError("lost")

    def remove(self, place: Place) -> None:
        if self.refuses_remove:
            raise EngineError("refused")
        super().remove(place)


@pytest.fixture
def rows() -> Rows:
    rows = Rows()
    rows.change()
    return rows


@pytest.fixture
def lists(reference: Reference) -> Lists:
    return Lists(reference)


@pytest.fixture
def folder(tmp_path: Path, lists: Lists) -> Folder:
    return Folder(tmp_path, open_engine, open_reader, lambda: lists.reference)


@asynccontextmanager
async def stepped(rows: Rows, folder: Folder) -> AsyncIterator[Indexer]:
    """Give an indexer that a test moves, with an index."""
    indexer = Indexer(cast(SearchDocuments, rows), folder, IndexSettings(folder=Path()))
    await built(indexer)
    try:
        yield indexer
    finally:
        await indexer._end()


async def built(indexer: Indexer) -> None:
    """Step until no build is under way."""
    await indexer.step()
    while indexer.building:
        await asyncio.sleep(0.01)
        with suppress(EngineError):
            await indexer.step()


async def test_an_old_index_that_cannot_be_removed_harms_the_new_one_in_nothing(
    rows: Rows, folder: Folder
) -> None:
    async with stepped(rows, folder) as indexer:
        old = indexer.serving.place
        folder.refuses_remove = True
        indexer.rebuild()
        await built(indexer)
        new = indexer.serving.place
        assert new != old
        assert folder.live(rows.edge_now.database) == new
        assert folder.is_there(old)
        assert indexer.progress.rebuilds == 1, "what was erased lies in the old one still"
        rows.change()
        await indexer.step()
        assert (indexer.serving.place, indexer.serving.position) == (new, rows.edge_now.change)
        folder.refuses_remove = False
        indexer.rebuild()
        await built(indexer)
        assert not folder.is_there(old)
        assert indexer.progress.rebuilds == 2


async def test_who_is_stopped_while_the_old_index_closes_leaves_the_new_one(
    rows: Rows, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stepped(rows, folder) as indexer:
        old, closing = indexer.serving.place, asyncio.Event()
        assert indexer._live is not None
        close = indexer._live.close

        async def slow_close(_: object) -> None:
            closing.set()
            try:
                await asyncio.sleep(60)
            finally:
                await close()

        monkeypatch.setattr(type(indexer._live), "close", slow_close)
        indexer.rebuild()
        await indexer.step()
        await asyncio.wait_for(closing.wait(), 20)
        monkeypatch.undo()
    live = folder.live(rows.edge_now.database)
    assert live is not None
    assert live != old


async def test_an_index_that_may_have_taken_its_place_stays_though_it_seems_that_it_has_not(
    rows: Rows, folder: Folder
) -> None:
    async with stepped(rows, folder) as indexer:
        old = indexer.serving.place
        folder.loses_answers = True
        indexer.rebuild()
        await indexer.step()
        await eventually(lambda: _points_elsewhere(folder, rows, old))
        await eventually(lambda: _has_trouble(indexer))
        folder.loses_answers = False
    async with stepped(rows, folder) as later:
        assert later.serving.place == folder.live(rows.edge_now.database) != old
        assert later.progress.rebuilds == 0


async def test_code_lists_swapped_during_a_build_are_built_with_after_it(
    rows: Rows, folder: Folder, lists: Lists
) -> None:
    async with stepped(rows, folder) as indexer:

        async def swap() -> None:
            lists.other()
            indexer.rebuild()

        rows.asked_near = swap
        indexer.rebuild()
        await built(indexer)
        assert indexer.progress.rebuilds == 3
        assert indexer._live is not None
        assert indexer._live.engine.digest == lists.reference.digest
        await built(indexer)
        assert indexer.progress.rebuilds == 3


async def test_a_new_index_holds_all_that_the_old_one_has_shown(rows: Rows, folder: Folder) -> None:
    async with stepped(rows, folder) as indexer:
        shown: list[int] = []

        async def one_more_is_shown() -> None:
            rows.change()
            await indexer.step()
            shown.append(indexer.serving.position)

        rows.asked_near = one_more_is_shown
        indexer.rebuild()
        old = indexer.serving.place
        await indexer.step()
        await eventually(lambda: _is_another(indexer, old))
        assert shown == [rows.edge_now.change]
        assert indexer.serving.position >= shown[0]


async def test_an_index_that_is_doubted_is_built_anew_if_it_is_torn_and_else_goes_on(
    rows: Rows, folder: Folder
) -> None:
    async with stepped(rows, folder) as indexer:
        place = indexer.serving.place
        [segment] = place.path.glob("*.store")
        segment.write_bytes(segment.read_bytes()[:-20])
        indexer.doubt(Place(Path("another"), place.database))
        await built(indexer)
        assert indexer.serving.place == place
        indexer.doubt(place)
        await built(indexer)
        whole = indexer.serving.place
        assert whole != place
    async with stepped(rows, folder) as indexer:
        indexer.doubt(whole)
        rows.change()
        await built(indexer)
        assert indexer.serving.place == whole
        assert indexer.progress.position == rows.edge_now.change


async def _is_another(indexer: Indexer, place: Place) -> None:
    assert indexer.serving.place != place


async def _points_elsewhere(folder: Folder, rows: Rows, place: Place) -> None:
    assert folder.live(rows.edge_now.database) not in (None, place)


async def _has_trouble(indexer: Indexer) -> None:
    await indexer.step()
    assert indexer.progress.trouble == "EngineError"
