"""Partitions of the feed come and go while somebody reads it for long, as a back-up does."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from structlog.testing import capture_logs

from change_feed import retention
from change_feed.placing import Entry
from change_feed.retention import drop_oldest
from change_feed.scopes import ALL
from change_feed.store import FeedStore
from change_feed.writing import ALL_SCOPE, Changes, Writer
from cvhub.testing import FreshDatabase
from servicekit.data.sessions import server_settings
from servicekit.settings import PostgresSettings
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

MAKE = "select feed_make_partition($1, $2)"
DROP = "select feed_drop_partition($1, $2)"
LOW, HIGH = 1_000, 2_000
TOO_SLOW = [("set local statement_timeout = '100ms'",), ("select pg_sleep(60)",)]
"""A step with a time limit of its own, which leaves that of all others as it is."""


@pytest.fixture
async def settings(fresh_database: FreshDatabase) -> PostgresSettings:
    return await fresh_database("change_feed.migrations")


@pytest.fixture
async def connections(settings: PostgresSettings) -> AsyncIterator[tuple[Any, Any]]:
    """Two connections to the database of a feed: one with the time limits of a service, and one that reads."""
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
        assert await drop_oldest(writer, timedelta(days=1), timedelta(days=1)) == "in use"
        assert await partitions(writer) == before
    assert await drop_oldest(writer, timedelta(days=1), timedelta(days=1)) == "done"
    assert await partitions(writer) == ["audience_kept", "entries_kept"]


async def has_to_wait(conn: Any, *, seen_by: Any) -> None:
    """Wait until what the connection does waits for a lock."""
    # Who does not wait for anything has no wait event, which compares to nothing.
    waits = "select exists (select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock')"
    await eventually(partial(seen_by.fetchval, waits, conn.get_server_pid()))


@pytest.mark.parametrize(
    "read",
    [
        partial(FeedStore.page, scope=ALL_SCOPE, after=0, until=HIGH, limit=10),
        partial(FeedStore.page, scope=2, after=0, until=HIGH, limit=10),
        partial(FeedStore.pages_by_members, scope=2, after=0, until=HIGH, size=10),
        partial(FeedStore.listed, scope=2, first=0, before=HIGH, until=HIGH),
        partial(FeedStore.snapshot, scope=2, after=None, position=0, limit=10),
    ],
)
async def test_what_is_being_read_and_a_partition_that_goes_do_not_meet_in_a_deadlock(
    settings: PostgresSettings, connections: tuple[Any, Any], read: Any
) -> None:
    dropping, reading = connections
    await dropping.execute(MAKE, LOW, HIGH)
    holding: Any = await asyncpg.connect(settings.dsn)
    try:
        async with holding.transaction():
            # So far whoever reads comes, with what it has locked before that.
            await holding.execute("lock table only entries in access exclusive mode")
            page = asyncio.create_task(read(FeedStore(reading)))
            await has_to_wait(reading, seen_by=holding)
            drop = asyncio.create_task(dropping.execute(DROP, LOW, HIGH))
            await has_to_wait(dropping, seen_by=holding)
        await asyncio.gather(page, drop)
    finally:
        await holding.close()


async def test_a_drop_that_is_ended_by_a_deadlock_comes_again(
    connections: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, other = connections
    monkeypatch.setattr(retention, "LOCKED_WITHIN", 30)
    await writer.execute(MAKE, LOW, HIGH)
    # Who waits for so long looks for a deadlock, and ends it by going.
    await writer.execute("set deadlock_timeout = '2s'")
    await other.execute("set deadlock_timeout = '60s'")
    async with other.transaction():
        await other.execute("lock table only entries in access exclusive mode")
        drop = asyncio.create_task(drop_oldest(writer, timedelta(days=1), timedelta(days=1)))
        await has_to_wait(writer, seen_by=other)
        await other.execute("lock table audience in access share mode")
        assert await drop == "in use"
    assert await drop_oldest(writer, timedelta(days=1), timedelta(days=1)) == "done"


@pytest.mark.parametrize("limit", ["WITHIN", "ANSWERED_WITHIN"])
async def test_a_drop_that_takes_too_long_is_told_and_comes_again(
    connections: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    conn, _ = connections
    await conn.execute(MAKE, LOW, HIGH)
    before = await partitions(conn)
    monkeypatch.setattr(retention, limit, 0.3)
    async with conn.transaction():
        # So are those of many citizens, on slow disks.
        await conn.execute("alter function feed_drop_partition rename to dropped_at_last")
        slow = "create function feed_drop_partition(low bigint, high bigint) returns void language sql as $$ select pg_sleep(60) $$"
        await conn.execute(slow)
    with capture_logs() as told:
        assert await drop_oldest(conn, timedelta(days=1), timedelta(days=1)) == "too slow"
    assert [(one["event"], one["log_level"], one["position"]) for one in told] == [
        ("feed_partition_not_dropped", "error", HIGH)
    ]
    assert await partitions(conn) == before
    await conn.execute("drop function feed_drop_partition")
    await conn.execute("alter function dropped_at_last rename to feed_drop_partition")
    monkeypatch.undo()
    assert await drop_oldest(conn, timedelta(days=1), timedelta(days=1)) == "done"


async def test_what_is_kept_is_not_read_through_while_readers_wait(connections: tuple[Any, Any]) -> None:
    conn, _ = connections
    await conn.execute(MAKE, LOW, HIGH)
    await conn.execute("set client_min_messages = debug1")
    said: list[str] = []
    conn.add_log_listener(lambda _, message: said.append(message.message))
    assert await drop_oldest(conn, timedelta(days=1), timedelta(days=1)) == "done"
    for table in ("audience_kept", "entries_kept"):
        assert f'partition constraint for table "{table}" is implied by existing constraints' in said
    assert not await conn.fetch(
        "select from pg_constraint where conrelid = 'entries_kept'::regclass and conname = 'below_next'"
    )


async def test_partitions_are_dropped_one_by_one_and_what_they_leave_is_forgotten_once_after_the_last(
    connections: tuple[Any, Any],
) -> None:
    conn, _ = connections
    for low in (LOW, HIGH, 2 * HIGH):
        await conn.execute(MAKE, low, low + LOW)
    seen = "insert into seen_events (event_id, position) values (gen_random_uuid(), $1)"
    await conn.execute(seen, LOW)
    for outcome, staying, left in (("more", 6, 1), ("more", 4, 1), ("done", 2, 0)):
        assert await drop_oldest(conn, timedelta(days=1), timedelta(days=1)) == outcome
        assert len(await partitions(conn)) == staying
        assert await conn.fetchval("select count(*) from seen_events") == left
    assert await drop_oldest(conn, timedelta(days=1), timedelta(days=1)) == "done"


async def test_leftovers_that_could_not_be_deleted_are_when_it_comes_again(
    connections: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    conn, _ = connections
    await conn.execute(MAKE, LOW, HIGH)
    await conn.execute("insert into seen_events (event_id, position) values (gen_random_uuid(), $1)", LOW)
    deleting = retention._FORGET
    monkeypatch.setattr(retention, "_FORGET", [TOO_SLOW])
    with capture_logs() as told:
        outcome = await drop_oldest(conn, timedelta(days=1), timedelta(days=1))
    assert outcome == "too slow"
    assert [one["event"] for one in told] == ["feed_partition_dropped", "feed_leftovers_not_deleted"]
    monkeypatch.setattr(retention, "_FORGET", deleting)
    assert await drop_oldest(conn, timedelta(days=1), timedelta(days=1), leftovers=True) == "done"
    assert await conn.fetchval("select count(*) from seen_events") == 0


async def test_what_was_deleted_stays_so_where_there_is_no_time_for_the_rest(
    connections: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    conn, _ = connections
    await conn.execute(MAKE, LOW, HIGH)
    await conn.execute("insert into seen_events (event_id, position) values (gen_random_uuid(), $1)", LOW)
    monkeypatch.setattr(retention, "_FORGET", [*retention._FORGET, TOO_SLOW])
    assert await drop_oldest(conn, timedelta(days=1), timedelta(days=1)) == "too slow"
    assert await conn.fetchval("select count(*) from seen_events") == 0


async def test_an_entry_goes_in_one_step_with_its_audience(connections: tuple[Any, Any]) -> None:
    conn, _ = connections
    await conn.execute("insert into seen_events (event_id, position) values (gen_random_uuid(), -1)")
    await conn.execute(
        "insert into entries (position, event_id, type, subject, version, time) "
        "values (-1, gen_random_uuid(), 'a.b.c.d', gen_random_uuid(), 1, now())"
    )
    await conn.execute(
        "insert into audience (position, scope, part, is_change) values (-1, $1, 'seen', true)", ALL_SCOPE
    )
    await conn.execute("""
        create function in_use() returns trigger language plpgsql as $$
        begin
            raise lock_not_available;
        end $$
    """)
    await conn.execute(
        "create trigger in_use before delete on audience_kept for each row execute function in_use()"
    )
    drop = partial(drop_oldest, conn, timedelta(days=1), timedelta(days=1), leftovers=True)
    assert await drop() == "in use"
    left = """
    select (select count(*) from seen_events), (select count(*) from entries_kept), (select count(*) from audience_kept)
    """
    assert tuple(await conn.fetchrow(left)) == (0, 1, 1)
    await conn.execute("drop trigger in_use on audience_kept")
    assert await drop() == "done"
    assert tuple(await conn.fetchrow(left)) == (0, 0, 0)


@pytest.mark.parametrize("wrong", [timedelta(days=400), timedelta(days=-400)])
async def test_nothing_is_dropped_by_a_clock_that_is_not_the_database_s(
    connections: tuple[Any, Any], wrong: timedelta
) -> None:
    conn, _ = connections
    await conn.execute(MAKE, LOW, HIGH)
    before = await partitions(conn)
    with capture_logs() as told:
        outcome = await drop_oldest(
            conn, timedelta(days=1), timedelta(days=1), lambda: datetime.now(UTC) + wrong
        )
    assert outcome == "clocks differ"
    assert [(one["event"], one["log_level"]) for one in told] == [("feed_clocks_differ", "error")]
    assert await partitions(conn) == before


def one_entry() -> Changes:
    now = datetime.now(UTC)
    return Changes([Entry(uuid4(), "a.b.c.d", None, uuid4(), 1, now, None, None, None, {ALL: "seen"})])


@pytest.mark.parametrize("days", [(7, 1), (7, 30), (1, 7), (30, 7, 1, 45)])
async def test_the_width_of_partitions_can_be_changed_whenever_a_writer_begins(
    connections: tuple[Any, Any], days: tuple[int, ...]
) -> None:
    conn, _ = connections
    for width in days:
        writer = Writer(conn, timedelta(days=width))
        await writer.write(one_entry())
        await writer.write(one_entry())
    assert await conn.fetchval("select count(*) from entries") == 2 * len(days)


async def test_partitions_go_on_after_what_is_kept_of_old_ones(connections: tuple[Any, Any]) -> None:
    conn, _ = connections
    narrow, wide = timedelta(milliseconds=1), timedelta(days=30)
    await Writer(conn, narrow).write(one_entry())

    async def all_dropped() -> bool:
        await drop_oldest(conn, timedelta(0), timedelta(days=1))
        return await partitions(conn) == ["audience_kept", "entries_kept"]

    await eventually(all_dropped)
    await Writer(conn, wide).write(one_entry())
    assert await conn.fetchval("select count(*) from entries") == 1
