# ruff: noqa: PT012 - it is the whole transaction that raises
import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from cv_contracts.faults import Unavailable
from cvhub.testing import FreshDatabase, Postgres
from servicekit.data import postgres as postgres_module
from servicekit.data.postgres import Database, passing_trouble
from servicekit.settings import PostgresSettings
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

TABLE = "create table things (key text primary key, version bigint not null)"
SET = "insert into things values ($1, $2) on conflict (key) do update set version = $2"


@pytest_asyncio.fixture
async def settings(fresh_database: FreshDatabase) -> PostgresSettings:
    return (await fresh_database()).model_copy(update={"pool_min": 1, "pool_max": 4})


@pytest_asyncio.fixture
async def database(settings: PostgresSettings) -> AsyncIterator[Database]:
    database = await Database.connect(settings, "test")
    await database.execute(TABLE)
    yield database
    await database.close()


async def version_of(database: Database, key: str) -> int | None:
    version: int | None = await database.fetchval("select version from things where key = $1", key)
    return version


async def test_a_write_is_committed_at_the_end_and_tells_so_afterwards(database: Database) -> None:
    seen: list[int | None] = []
    told: list[str] = []
    async with database.write("a") as tx:
        await tx.conn.execute(SET, "a", 1)
        tx.after_commit(lambda: told.append("committed"))
        seen.append(await version_of(database, "a"))
        assert not told
    assert seen == [None]
    assert await version_of(database, "a") == 1
    assert told == ["committed"]


async def test_an_exception_rolls_the_write_back_and_tells_nobody(database: Database) -> None:
    told: list[str] = []
    with pytest.raises(LookupError):
        async with database.write("a") as tx:
            await tx.conn.execute(SET, "a", 1)
            tx.after_commit(lambda: told.append("committed"))
            raise LookupError
    assert await version_of(database, "a") is None
    assert not told


async def test_a_failed_statement_that_is_caught_does_not_pass_for_a_commit(database: Database) -> None:
    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        async with database.write("a") as tx:
            await tx.conn.execute(SET, "a", 1)
            with pytest.raises(asyncpg.UndefinedTableError):
                await tx.conn.execute("select * from nothing")
    assert await version_of(database, "a") is None


async def test_a_callback_that_fails_does_not_make_a_committed_write_fail(database: Database) -> None:
    def fail() -> None:
        raise LookupError

    async with database.write("a") as tx:
        await tx.conn.execute(SET, "a", 1)
        tx.after_commit(fail)
    assert await version_of(database, "a") == 1


async def test_a_cancelled_write_leaves_nothing_behind_and_gives_its_lock_back(database: Database) -> None:
    opened = asyncio.Event()

    async def write() -> None:
        async with database.write("a") as tx:
            await tx.conn.execute(SET, "a", 1)
            opened.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await opened.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10), database.write("a"):
        assert await version_of(database, "a") is None


@pytest.mark.parametrize("cause", [asyncio.CancelledError, LookupError])
async def test_who_is_cancelled_while_a_write_is_rolled_back_is_cancelled_and_keeps_the_connection_whole(
    database: Database, monkeypatch: pytest.MonkeyPatch, cause: type[BaseException]
) -> None:
    rolling_back, roll_back = asyncio.Event(), postgres_module._roll_back
    sessions: list[int] = []

    async def noting(conn: Any) -> None:
        rolling_back.set()
        await roll_back(conn)

    async def write() -> None:
        async with database.write("a") as tx:
            sessions.append(await tx.conn.fetchval("select pg_backend_pid()"))
            raise cause

    monkeypatch.setattr(postgres_module, "_roll_back", noting)
    task = asyncio.create_task(write())
    await rolling_back.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    sessions.append(await database.fetchval("select pg_backend_pid()"))
    assert len(set(sessions)) == 1


async def test_writers_of_one_key_wait_for_each_other_and_see_what_the_other_wrote(
    database: Database,
) -> None:
    async def add_one() -> None:
        async with database.write("a") as tx:
            version = await tx.conn.fetchval("select version from things where key = 'a'")
            await tx.conn.execute(SET, "a", (version or 0) + 1)

    await asyncio.gather(*(add_one() for _ in range(20)))
    assert await version_of(database, "a") == 20


async def test_while_one_key_is_written_other_keys_are_free(database: Database) -> None:
    async with database.write("a"), asyncio.timeout(10), database.write("b") as tx:
        await tx.conn.execute(SET, "b", 1)
    assert await version_of(database, "b") == 1


async def test_writers_of_the_same_keys_in_another_order_never_wait_in_a_ring(database: Database) -> None:
    async def write(*keys: str) -> None:
        for _ in range(20):
            async with database.write(*keys) as tx:
                await tx.conn.execute(SET, keys[0], 1)

    await asyncio.gather(write("a", "b", "c"), write("c", "b", "a"), write("b", "a"))


async def test_versions_are_the_time_in_microseconds_and_rise_when_the_clock_does_not(
    database: Database,
) -> None:
    async with database.write("a") as tx:
        microseconds = (tx.now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        assert tx.version_after(None) == tx.version_after(5) == microseconds
        assert abs(microseconds - time.time() * 1_000_000) < 5_000_000
        later = microseconds + 10_000_000
        assert tx.version_after(later) == later + 1


async def test_versions_rise_above_all_given_before_a_restore_from_older_state(database: Database) -> None:
    given: list[int] = []

    async def write() -> None:
        async with database.write("a") as tx:
            version = tx.version_after(await tx.conn.fetchval("select version from things where key = 'a'"))
            await tx.conn.execute(SET, "a", version)
            given.append(version)

    await write()
    await write()
    await database.execute("create table backup as table things")
    for _ in range(5):
        await write()
    await database.execute("delete from things")
    await database.execute("insert into things select * from backup")
    await write()
    assert given == sorted(set(given))


async def test_the_server_ends_statements_and_transactions_that_take_too_long(
    settings: PostgresSettings,
) -> None:
    short = settings.model_copy(
        update={
            "statement_timeout": timedelta(milliseconds=100),
            "idle_in_transaction_session_timeout": timedelta(milliseconds=100),
        }
    )
    database = await Database.connect(short, "test")
    with pytest.raises(asyncpg.QueryCanceledError) as slow:
        await database.execute("select pg_sleep(5)")
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)) as idle:
        async with database.write("a") as tx:
            pid = await tx.conn.fetchval("select pg_backend_pid()")

            async def gone() -> None:
                assert (
                    await database.fetchval("select count(*) from pg_stat_activity where pid = $1", pid) == 0
                )

            await eventually(gone)
            await tx.conn.execute("select 1")
    await database.close()
    assert isinstance(passing_trouble(slow.value), Unavailable)
    assert isinstance(passing_trouble(idle.value), Unavailable)


async def test_waiting_for_a_key_ends_with_the_lock_timeout(settings: PostgresSettings) -> None:
    short = settings.model_copy(update={"lock_timeout": timedelta(milliseconds=100)})
    database = await Database.connect(short, "test")
    async with database.write("a"):
        with pytest.raises(asyncpg.LockNotAvailableError) as busy:
            async with database.write("a"):
                pass
    await database.close()
    assert isinstance(passing_trouble(busy.value), Unavailable)


async def test_a_lost_connection_is_passing_trouble_and_the_next_write_works(database: Database) -> None:
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)) as lost:
        async with database.write("a") as tx:
            pid = await tx.conn.fetchval("select pg_backend_pid()")
            await database.execute("select pg_terminate_backend($1)", pid)
            await tx.conn.execute(SET, "a", 1)
    assert isinstance(passing_trouble(lost.value), Unavailable)
    async with database.write("a") as tx:
        await tx.conn.execute(SET, "a", 2)
    assert await version_of(database, "a") == 2


@pytest.mark.parametrize(
    "error", [ValueError(), asyncpg.UndefinedTableError(), asyncpg.UniqueViolationError()]
)
def test_our_own_mistakes_are_no_passing_trouble(error: Exception) -> None:
    assert passing_trouble(error) is None


async def test_a_database_that_is_closed_or_being_restored_is_passing_trouble(
    postgres_server: Postgres, fresh_database: FreshDatabase
) -> None:
    dsn = (await fresh_database()).dsn
    name = urlsplit(dsn).path[1:]
    admin = await asyncpg.connect(postgres_server.dsn)
    try:
        for statement, error in (
            (f'alter database "{name}" allow_connections false', asyncpg.ObjectNotInPrerequisiteStateError),
            (f'drop database "{name}"', asyncpg.InvalidCatalogNameError),
        ):
            await admin.execute(statement)
            with pytest.raises(error) as refused:
                await asyncpg.connect(dsn)
            assert isinstance(passing_trouble(refused.value), Unavailable)
    finally:
        await admin.close()


async def test_a_database_that_cannot_be_reached_is_passing_trouble(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as unreachable:
        await Database.connect(PostgresSettings(dsn=f"postgresql://nobody@/nothing?host={tmp_path}"), "test")
    assert isinstance(passing_trouble(unreachable.value), Unavailable)
