"""Reads that share round trips: each reader gets its own row, as it was after it asked, whatever becomes of the others."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.data.shared_reads import MOST, SharedReads

pytestmark = pytest.mark.infra

QUERY = "select number, value, txid_current() as trip from things where number = any($1)"


@pytest_asyncio.fixture
async def database(fresh_database: FreshDatabase) -> AsyncIterator[Database]:
    database = await Database.connect(await fresh_database(), "shared-reads-tests")
    await database.execute("create table things (number int primary key, value text)")
    await database.execute("insert into things select n, 'v' || n from generate_series(1, 500) n")
    yield database
    await database.close()


async def test_many_readers_get_their_own_rows_in_few_trips(database: Database) -> None:
    reads = SharedReads[int](database, QUERY, "number")
    rows = await asyncio.gather(*(reads.row(n) for n in range(1, 401)))
    assert [row and row["value"] for row in rows] == [f"v{n}" for n in range(1, 401)]
    assert len({row["trip"] for row in rows if row}) <= 2 * (400 / MOST + 2)


async def test_who_asks_for_what_is_not_there_gets_none_and_the_same_key_serves_all(
    database: Database,
) -> None:
    reads = SharedReads[int](database, QUERY, "number")
    rows = await asyncio.gather(reads.row(7), reads.row(0), reads.row(7), reads.row(7))
    assert [row and row["value"] for row in rows] == ["v7", None, "v7", "v7"]


async def test_what_stands_beside_a_key_comes_with_it(database: Database) -> None:
    query = """
    select number, value || ($2::text[])[array_position($1, number)] as value from things where number = any($1)"""
    reads = SharedReads[int](database, query, "number", beside=lambda number: f" beside {number}")
    rows = await asyncio.gather(*(reads.row(n) for n in (3, 0, 500, 3)))
    assert [row and row["value"] for row in rows] == ["v3 beside 3", None, "v500 beside 500", "v3 beside 3"]


async def test_a_read_that_begins_after_a_write_sees_it_though_another_is_under_way(
    database: Database,
) -> None:
    reads = SharedReads[int](database, QUERY, "number", lanes=1)
    for turn in range(50):
        early = asyncio.create_task(reads.row(1))
        await database.execute("update things set value = $1 where number = 1", str(turn))
        late = await reads.row(1)
        assert late is not None
        assert late["value"] == str(turn)
        await early


async def test_a_reader_who_leaves_takes_nobody_along(database: Database) -> None:
    reads = SharedReads[int](database, QUERY, "number", lanes=1)
    tasks = [asyncio.create_task(reads.row(n)) for n in range(1, 21)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    rows = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(row, asyncio.CancelledError) for row in rows[::2])
    assert all(isinstance(row, asyncpg.Record) for row in rows[1::2])


async def test_a_failure_reaches_each_reader_and_the_next_read_works(database: Database) -> None:
    reads = SharedReads[int](database, QUERY, "number")
    await database.execute("alter table things rename to hidden")
    failed = await asyncio.gather(*(reads.row(n) for n in range(5)), return_exceptions=True)
    assert all(isinstance(error, asyncpg.UndefinedTableError) for error in failed)
    await database.execute("alter table hidden rename to things")
    row = await reads.row(3)
    assert row is not None
    assert row["value"] == "v3"


async def test_the_server_plans_a_query_a_few_times_and_not_for_each_trip(
    fresh_database: FreshDatabase,
) -> None:
    settings = await fresh_database()
    database = await Database.connect(
        settings.model_copy(update={"pool_min": 1, "pool_max": 1}), "shared-reads-tests"
    )
    try:
        await database.execute("create table things (number int primary key, value text)")
        await database.execute("insert into things select n, 'v' || n from generate_series(1, 50000) n")
        await database.execute("analyze things")
        reads = SharedReads[int](database, QUERY, "number")
        for number in range(1, 31):
            await reads.row(number)
        plans = await database.fetchrow(
            "select custom_plans, generic_plans from pg_prepared_statements where statement = $1", QUERY
        )
    finally:
        await database.close()
    assert plans is not None
    assert (plans["custom_plans"], plans["generic_plans"]) == (5, 25)
