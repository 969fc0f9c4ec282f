"""Locks that are held for longer than a transaction: by one at a time, and never by a connection that somebody else gets."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.settings import PostgresSettings
from servicekit.testing import eventually

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

pytestmark = pytest.mark.infra

OURS = """from pg_locks where locktype = 'advisory'
    and database = (select oid from pg_database where datname = current_database())"""
WAITING = f"select count(*) {OURS} and not granted"
HELD = f"select count(*) {OURS} and granted"


@pytest_asyncio.fixture
async def settings(fresh_database: FreshDatabase) -> PostgresSettings:
    return (await fresh_database()).model_copy(update={"pool_min": 1, "pool_max": 4})


@pytest_asyncio.fixture
async def database(settings: PostgresSettings) -> AsyncIterator[Database]:
    database = await Database.connect(settings, "test")
    yield database
    await database.close()


async def test_a_lock_is_held_by_one_at_a_time_and_is_free_afterwards(database: Database) -> None:
    async with database.hold("a") as mine:
        assert mine
        async with database.hold("a", tries=0) as theirs, database.hold("b", tries=0) as other:
            assert (theirs, other) == (False, True)
        next_one = asyncio.create_task(_hold(database))
        await eventually(lambda: _is(database, WAITING, 1))
        assert not next_one.done()
    await next_one
    assert await database.fetchval(HELD) == 0


async def test_a_holder_whose_machine_is_gone_is_noticed_within_seconds(database: Database) -> None:
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
    async with database.hold("a"):
        assert [await database.fetchval(f"show {name}") for name in names] == ["4", "2", "3"]


async def test_it_is_waited_for_as_many_lock_time_outs_as_are_asked_for(settings: PostgresSettings) -> None:
    soon = settings.model_copy(update={"lock_timeout": settings.lock_timeout / 25})
    impatient = await Database.connect(soon, "impatient")
    try:
        async with impatient.hold("a"):
            with pytest.raises(asyncpg.LockNotAvailableError):
                await _hold(impatient, tries=2)
            patient = asyncio.create_task(_hold(impatient, tries=50))
            await asyncio.sleep(2 * soon.lock_timeout.total_seconds())
        await patient
        assert await impatient.fetchval(HELD) == 0
    finally:
        await impatient.close()


async def test_who_fails_or_is_cancelled_lets_go(database: Database) -> None:
    with pytest.raises(LookupError):
        async with database.hold("a"):
            raise LookupError
    holding = asyncio.create_task(_hold(database, forever=True))
    await eventually(lambda: _is(database, HELD, 1))
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert await database.fetchval(HELD) == 0


@pytest.mark.parametrize("tries", [0, 1])
@pytest.mark.parametrize("error", [TimeoutError, asyncio.CancelledError])
async def test_a_lock_that_was_given_to_somebody_who_did_not_hear_of_it_does_not_stay_with_the_pool(
    settings: PostgresSettings, database: Database, error: type[BaseException], tries: int
) -> None:
    async with asyncpg.create_pool(settings.dsn, min_size=1, connection_class=_Deaf, reset=_as_ours) as pool:
        _Deaf.hears = error
        with pytest.raises(error):
            await _hold(Database(pool, settings), tries=tries)
        await eventually(lambda: _is(database, HELD, 0))


async def test_work_that_is_done_when_its_connection_is_lost_counts_and_the_lock_is_free(
    database: Database,
) -> None:
    async with database.hold("a"):
        await database.fetch(f"select pg_terminate_backend(pid) {OURS}")
        await eventually(lambda: _is(database, HELD, 0))
    async with database.hold("a", tries=0) as free:
        assert free


class _Deaf(_Connection):
    """A connection whose server does what it is asked, and whose client hears of it nothing but an error."""

    hears: type[BaseException]

    async def execute(self, query: str, *args: Any, **more: Any) -> Any:
        await super().execute(query, *args, **more)
        raise self.hears

    async def fetchval(self, query: str, *args: Any, **more: Any) -> Any:
        await super().fetchval(query, *args, **more)
        raise self.hears


async def _as_ours(_: object) -> None:
    """Leave a session as it is, as the pool of a Database does."""


async def _hold(database: Database, *, tries: int = 1, forever: bool = False) -> None:
    async with database.hold("a", tries=tries) as held:
        assert held
        if forever:
            await asyncio.Event().wait()


async def _is(database: Database, query: str, expected: int) -> None:
    assert await database.fetchval(query) == expected
