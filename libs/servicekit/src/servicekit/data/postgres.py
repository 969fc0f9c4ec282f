"""The service's own database: a pool with time-outs and short write transactions whose first statement locks their key."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Self

import asyncpg
import structlog

from cv_contracts.faults import Unavailable
from servicekit.data.migrating import MigrationChanged, migrate
from servicekit.data.sessions import server_settings
from servicekit.observe import metrics
from servicekit.settings import PostgresSettings

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = PoolConnectionProxy[asyncpg.Record]

__all__ = [
    "Database",
    "MigrationChanged",
    "WriteTx",
    "lock_number",
    "migrate",
    "passing_trouble",
]

log = structlog.get_logger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_LOCK = "select pg_advisory_lock($1)"
_LOCK_IF_FREE = "select pg_try_advisory_lock($1)"
_UNLOCK = "select pg_advisory_unlock($1)"

_PASSING: tuple[type[BaseException], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    # A database that is closed to connections, or not there: somebody restores it.
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.InvalidCatalogNameError,
)


def passing_trouble(error: BaseException) -> Unavailable | None:
    """Translate trouble with the database that passes by itself; None for anything else. To be called at the edge only."""
    lost = isinstance(error, asyncpg.InterfaceError) and any(
        w in str(error) for w in ("clos", "released back")
    )
    # What asyncpg says of a connection that the server ended under it.
    lost |= isinstance(error, asyncpg.InternalClientError)
    return Unavailable(retry_after=1) if lost or isinstance(error, _PASSING) else None


def lock_number(key: str) -> int:
    """Give the advisory lock's number of a key: signed 64 bits, the same in every process."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big", signed=True)


class WriteTx:
    """One open write transaction. `now` is taken after the key lock was obtained, so it does not run behind per key."""

    def __init__(self, conn: "Connection") -> None:
        self.conn = conn
        self._microseconds = time.time_ns() // 1000
        self.now = _EPOCH + timedelta(microseconds=self._microseconds)
        self._callbacks: list[Callable[[], None]] = []

    def version_after(self, previous: int | None) -> int:
        """Give a version above `previous`, and above all that were ever given before a restore from an older back-up."""
        return max((previous or 0) + 1, self._microseconds)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the transaction is committed; the same callback is called once only."""
        if callback not in self._callbacks:
            self._callbacks.append(callback)

    def committed(self) -> None:
        """Tell those who wait for the commit; a fault of theirs does not make the write fail."""
        for callback in self._callbacks:
            try:
                callback()
            except Exception:
                log.exception("after_commit_failed")


class Database:
    """A pool of connections to one database, with time-outs, and the only way to write: `write(key)`."""

    def __init__(self, pool: "Pool", settings: PostgresSettings) -> None:
        self.pool = pool
        self.settings = settings
        self._acquire_timeout = settings.acquire_timeout.total_seconds()

    @classmethod
    async def connect(cls, settings: PostgresSettings, application_name: str) -> Self:
        """Open the pool; fails at once if the database cannot be reached."""
        pool = await asyncpg.create_pool(
            settings.dsn,
            min_size=min(settings.pool_min, settings.pool_max),
            max_size=settings.pool_max,
            command_timeout=settings.command_timeout.total_seconds(),
            timeout=settings.connect_timeout.total_seconds(),
            reset=_keep_session,
            server_settings=server_settings(settings, application_name),
        )
        metrics.observe("pool.connections.idle", pool.get_idle_size)
        metrics.observe("pool.connections.used", lambda: pool.get_size() - pool.get_idle_size())
        return cls(pool, settings)

    async def close(self) -> None:
        """Wait for what runs (5 s at most), then close the connections."""
        try:
            await asyncio.wait_for(self.pool.close(), 5)
        except TimeoutError:
            self.pool.terminate()

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        async with self._connection() as conn:
            return await conn.fetch(query, *args)

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None:
        async with self._connection() as conn:
            return await conn.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        async with self._connection() as conn:
            return await conn.fetchval(query, *args)

    async def execute(self, query: str, *args: Any) -> str:
        async with self._connection() as conn:
            return await conn.execute(query, *args)

    @asynccontextmanager
    async def write(self, *keys: str) -> AsyncIterator[WriteTx]:
        """Open a write transaction that waits for the keys' locks; commits at the end, rolls back on any exception.

        Several keys are locked in one order, so that transactions over the same keys never wait for each other in a ring.
        """
        locks = ", ".join(f"pg_advisory_xact_lock({n})" for n in _in_order(keys))
        async with self._connection() as conn, _transaction(conn, f"BEGIN; SELECT {locks}") as tx:
            yield tx

    @asynccontextmanager
    async def single_write(self) -> AsyncIterator[WriteTx]:
        """Open what one statement commits by itself, two round trips cheaper; the statement must lock its key first.

        Each read before it stands alone, so the statement must also see to it that what was read still holds.
        """
        async with self._connection() as conn:
            tx = WriteTx(conn)
            yield tx
        tx.committed()

    @asynccontextmanager
    async def hold(self, key: str, *, tries: int = 1) -> AsyncIterator[bool]:
        """Hold the key's lock for work that is too long for a transaction, on a connection that is kept for it.

        Waits for `tries` times the lock time-out; with 0 not at all: it gives False, and holds nothing, where somebody else does.
        The lock ends with its connection, which may be lost before the work ends: what must not be done twice is looked at again.
        """
        number = lock_number(key)
        async with self._connection() as conn:
            held = await _locked(conn, number, tries)
            try:
                yield held
            finally:
                if held:
                    await _unlock(conn, number)

    def _connection(self) -> "_Borrowed":
        return _Borrowed(self.pool, self._acquire_timeout)


RELEASE_WITHIN = 2.0
"""Seconds that a statement which was broken off is waited for; after them its connection is closed."""


class _Borrowed:
    """A connection of the pool. The time limit costs more than taking an idle one, so only who has to wait is given it."""

    __slots__ = ("_conn", "_pool", "_timeout")

    def __init__(self, pool: "Pool", timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout

    async def __aenter__(self) -> "Connection":
        idle = self._pool.get_idle_size() > 0
        self._conn = await self._pool.acquire(timeout=None if idle else self._timeout)
        return self._conn

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self._pool.release(self._conn)
            return
        # What does not come back in time is closed by the pool, and replaced when it is needed.
        with suppress(TimeoutError):
            await self._pool.release(self._conn, timeout=RELEASE_WITHIN)


async def _locked(conn: "Connection", number: int, tries: int) -> bool:
    try:
        if tries == 0:
            return bool(await conn.fetchval(_LOCK_IF_FREE, number))
        await conn.execute(_LOCK, number)
    except asyncpg.LockNotAvailableError:
        if tries == 1:
            raise
        return await _locked(conn, number, tries - 1)
    except BaseException:
        # The server may have given the lock after all; it must not outlive this use of the connection.
        _end(conn)
        raise
    return True


async def _unlock(conn: "Connection", number: int) -> None:
    try:
        await conn.execute(_UNLOCK, number)
    except BaseException as error:
        _end(conn)
        # The lock has ended with the connection, and the work is done.
        if passing_trouble(error) is None:
            raise


def _end(conn: "Connection") -> None:
    # A connection that is lost already is none of the pool's any more.
    with suppress(asyncpg.InterfaceError):
        conn.terminate()


async def _keep_session(_: object) -> None:
    """Nothing here changes a session's state, so the pool's reset query would be a round trip for nothing."""


def _in_order(keys: Sequence[str]) -> list[int]:
    if not keys:
        raise ValueError("a write transaction needs the key it writes")
    return sorted({lock_number(key) for key in keys})


@asynccontextmanager
async def _transaction(conn: "Connection", begin: str) -> AsyncIterator[WriteTx]:
    try:
        await conn.execute(begin)
        tx = WriteTx(conn)
        yield tx
        await _commit(conn)
    except BaseException:
        await _undisturbed(_roll_back(conn))
        raise
    tx.committed()


async def _undisturbed(work: Coroutine[Any, Any, None]) -> None:
    """Finish `work` even when cancelled, then raise the cancellation.

    Releasing a connection in the middle of a ROLLBACK would raise an InterfaceError instead.
    """
    task, cancelled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


async def _commit(conn: "Connection") -> None:
    # A statement that failed and was caught leaves a transaction that COMMIT silently rolls back.
    if await conn.execute("COMMIT") != "COMMIT":
        raise asyncpg.InFailedSQLTransactionError("the transaction had failed and was rolled back")


async def _roll_back(conn: "Connection") -> None:
    # A connection that cannot roll back is lost, and its transaction with it; the pool finds that out by itself.
    with suppress(
        OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresError
    ):
        if conn.is_in_transaction():
            await conn.execute("ROLLBACK", timeout=2)
