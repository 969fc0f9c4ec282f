"""Which indexes an erasure still has to leave, and when they are built anew for it: an indexer that a test moves by hand."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from cv_search.indexing import Indexer
from cv_search.purging import IN_INDEX, Purging, Standing
from cv_search.store import SearchDocuments
from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database

pytestmark = pytest.mark.infra

_PLACES = "select array_agg(place) from index_places"


@dataclass
class ByHand:
    """In the indexer's place."""

    name: str
    building: bool = False
    watches: bool = False
    asked: int = 0
    progress: Any = field(default_factory=lambda: SimpleNamespace(rebuilds=0))

    @property
    def serving(self) -> Any:
        return SimpleNamespace(place=SimpleNamespace(path=Path(self.name)))

    def rebuild(self) -> None:
        self.asked += 1

    def built(self, name: str) -> None:
        self.name = name
        self.progress.rebuilds += 1


@pytest.fixture
async def database(fresh_database: FreshDatabase) -> AsyncIterator[Database]:
    database = await Database.connect(await fresh_database("cv_search.migrations"), "test")
    yield database
    await database.close()


def purging(database: Database, indexer: ByHand) -> Purging:
    documents = SearchDocuments(database, lambda *_: None, lambda: date(2026, 11, 29))
    return Purging(documents, cast("Indexer", indexer))


async def erase(database: Database) -> UUID:
    """Leave of a CV what an erasure leaves: a row without a document, under a number of its own."""
    cv_id = uuid4()
    await database.execute("update search_state set last_change = last_change + 1")
    await database.execute(
        "insert into search_documents (cv_id, person_id, change) select $1, $1, last_change from search_state",
        cv_id,
    )
    await database.execute(
        "insert into erasure_receipts (subject, version, erased_at, removed) values ($1, 1, now(), '{}')",
        cv_id,
    )
    return cv_id


async def left(purging: Purging, *subjects: UUID) -> int:
    return (await purging.left(subjects))[IN_INDEX]


async def test_what_is_erased_is_left_until_the_index_of_each_instance_is_from_after_it(
    database: Database,
) -> None:
    first, second = ByHand("a"), ByHand("b")
    here, there = purging(database, first), purging(database, second)
    gone = await erase(database)
    assert await left(here, gone) == 1, "which index is searched here was not said yet"
    await here.step()
    await there.step()
    assert (first.asked, second.asked) == (1, 1)
    first.built("a2")
    await here.step()
    assert await left(here, gone) == 1
    second.built("b2")
    await there.step()
    assert await left(here, gone) == 0
    later = await erase(database)
    assert (await left(here, gone), await left(there, later)) == (0, 1)


async def test_an_instance_that_was_not_seen_for_long_is_not_waited_for_and_one_that_is_back_says_what_it_has(
    database: Database,
) -> None:
    first, second = ByHand("a"), ByHand("b")
    here, there = purging(database, first), purging(database, second)
    gone = await erase(database)
    await here.step()
    await there.step()
    first.built("a2")
    await here.step()
    assert await left(here, gone) == 1
    await database.execute(
        "update index_places set seen_at = now() - interval '11 minutes' where place = 'b'"
    )
    assert await left(here, gone) == 0
    await purging(database, second).step()
    assert await left(here, gone) == 1
    await purging(database, first).step()
    since = await database.fetchval("select since from index_places where place = 'a2'")
    assert since > 0, "an instance that begins anew with its old index knows no less of it"


async def test_many_erasures_cost_one_build_and_one_that_was_under_way_before_counts_for_none(
    database: Database,
) -> None:
    indexer = ByHand("a", building=True)
    here = purging(database, indexer)
    gone = await erase(database)
    await here.step()
    assert indexer.asked == 0
    indexer.building = False
    indexer.built("a2")
    await here.step()
    assert await left(here, gone) == 1
    assert indexer.asked == 1
    indexer.built("a3")
    await here.step()
    assert await left(here, gone) == 0
    later = await erase(database)
    await here.step()
    assert indexer.asked == 1, "the next one is not begun at once"
    assert await left(here, later) == 1


async def test_a_new_index_is_said_once_its_build_is_done(database: Database) -> None:
    """It is searched a moment before; said then, it would count as one from before the erasure."""
    indexer = ByHand("a")
    here = purging(database, indexer)
    gone = await erase(database)
    await here.step()
    indexer.name = "a2"
    await here.step()
    assert await database.fetchval(_PLACES) == ["a"]
    indexer.built("a2")
    await here.step()
    assert await database.fetchval(_PLACES) == ["a2"]
    assert await left(here, gone) == 0


async def test_who_watches_asks_for_no_build_and_says_what_the_writer_has_built(database: Database) -> None:
    writer, watcher = ByHand("a"), ByHand("a", watches=True)
    here, there = purging(database, writer), purging(database, watcher)
    gone = await erase(database)
    await here.step()
    await there.step()
    assert (writer.asked, watcher.asked) == (1, 0)
    writer.built("a2")
    watcher.name = "a2"
    await there.step()
    await here.step()
    assert await left(there, gone) == 0
    assert await database.fetchval(_PLACES) == ["a2"]


async def test_who_asked_and_writes_no_longer_waits_for_no_build_of_its_own(database: Database) -> None:
    first, second = ByHand("a"), ByHand("a", watches=True)
    here, there = purging(database, first), purging(database, second)
    gone = await erase(database)
    await here.step()
    first.watches, second.watches = True, False
    await there.step()
    assert (first.asked, second.asked) == (1, 1)
    second.built("b")
    first.name = "b"
    await there.step()
    await here.step()
    assert (await left(here, gone), await left(there, gone)) == (0, 0)


async def order(database: Database, here: Purging) -> None:
    async with database.write("test") as tx:
        await here.order(tx)


async def test_what_an_operator_orders_is_done_by_every_instance_and_any_of_them_tells_how_far_it_is(
    database: Database,
) -> None:
    first, second = ByHand("a"), ByHand("b")
    here, there = purging(database, first), purging(database, second)
    await here.step()
    await there.step()
    assert await here.standing() == Standing(built=2, older=0)
    await order(database, here)
    assert await there.standing() == Standing(built=0, older=2)
    await here.step()
    await there.step()
    assert (first.asked, second.asked) == (1, 1)
    second.built("b2")
    await there.step()
    assert await here.standing() == await there.standing() == Standing(built=1, older=1)
    await purging(database, first).step()
    assert first.asked == 2, "an instance that begins anew has not forgotten it"
    first.built("a2")
    await here.step()
    assert await there.standing() == Standing(built=2, older=0)
    await here.step()
    assert first.asked == 2


async def test_a_build_that_was_under_way_before_an_order_is_not_what_was_ordered(database: Database) -> None:
    indexer = ByHand("a")
    here = purging(database, indexer)
    await here.step()
    indexer.building = True
    await order(database, here)
    await here.step()
    indexer.building = False
    indexer.built("a2")
    await here.step()
    assert await here.standing() == Standing(built=0, older=1)
    assert indexer.asked == 1
