"""Partitions of the feed come and go while somebody reads it for long, as a back-up does."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from change_feed.retention import drop_old
from cvhub.testing import FreshDatabase
from servicekit.data.postgres import server_settings

pytestmark = pytest.mark.infra

MAKE = "select feed_make_partition($1, $2)"
LOW, HIGH = 1_000, 2_000


@pytest.fixture
async def connections(fresh_database: FreshDatabase) -> AsyncIterator[tuple[Any, Any]]:
    """Two connections to the database of a feed: one with the time limits of a service, and one that reads."""
    settings = await fresh_database("change_feed.migrations")
    first: Any = await asyncpg.connect(settings.dsn, server_settings=server_settings(settings, "test"))
    second: Any = await asyncpg.connect(settings.dsn)
    await first.execute("insert into feed (epoch, edge, floor) values (gen_random_uuid(), 0, 0)")
    yield first, second
    await first.close()
    await second.close()


async def partitions(conn: Any) -> list[str]:
    rows = await conn.fetch(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent in ('entries'::regclass, 'audience'::regclass) order by 1"
    )
    return [row["name"] for row in rows]


async def test_a_partition_is_made_while_a_back_up_reads(connections: tuple[Any, Any]) -> None:
    writer, backup = connections
    async with backup.transaction():
        await backup.execute("lock table entries, audience in access share mode")
        await writer.execute(MAKE, LOW, HIGH)
    await writer.execute(
        "insert into audience (position, scope, part, is_change) values ($1, 1, 'seen', false)", LOW
    )
    with pytest.raises(asyncpg.CheckViolationError):
        await writer.execute(
            "insert into audience (position, scope, part, is_change) values ($1, 2, 'gone', false)", LOW
        )


@pytest.mark.parametrize("table", ["entries", "audience"])
async def test_a_partition_is_as_its_table(connections: tuple[Any, Any], table: str) -> None:
    conn, _ = connections
    await conn.execute(MAKE, LOW, HIGH)
    for what in (
        "select attname, atttypid, attnotnull from pg_attribute where attrelid = $1::regclass and attnum > 0 order by attnum",
        "select indkey::text, indisunique, indisprimary, indisvalid from pg_index where indrelid = $1::regclass order by 1, 2",
        "select pg_get_constraintdef(oid) from pg_constraint where conrelid = $1::regclass and contype = 'c' order by 1",
    ):
        assert await conn.fetch(what, f"{table}_{LOW}") == await conn.fetch(what, table)


async def test_an_old_partition_stays_while_a_back_up_reads_and_goes_after_it(
    connections: tuple[Any, Any],
) -> None:
    writer, backup = connections
    await writer.execute(MAKE, LOW, HIGH)
    before = await partitions(writer)
    async with backup.transaction():
        await backup.execute("lock table entries, audience in access share mode")
        assert await drop_old(writer, timedelta(days=1), timedelta(days=1)) == 0
        assert await partitions(writer) == before
    assert await drop_old(writer, timedelta(days=1), timedelta(days=1)) == 1
    assert await partitions(writer) == ["audience_kept", "entries_kept"]
