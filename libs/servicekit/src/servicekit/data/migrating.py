"""Numbered SQL migrations: applied once, in order, under an advisory lock, and never changed afterwards."""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from importlib.resources import files

import asyncpg
import structlog

from cv_contracts.errors import Misconfigured
from servicekit.data.sessions import LEASE_SESSION, SEEN_TO_BE_GONE

log = structlog.get_logger(__name__)

OWN_MIGRATIONS = "servicekit.migrations"
SHORTEST_REST = 1.0
LONGEST_REST = 10.0
"""Seconds between two tries of a migration whose tables are in use. The session must not be silent for longer than a lease's."""

_SESSION = {
    **SEEN_TO_BE_GONE,
    **LEASE_SESSION,
    "application_name": "migrate",
    # Whoever is cut off in the middle holds neither the tables nor those who wait for their turn.
    "idle_in_transaction_session_timeout": "10000",
}

_LOCK = "select pg_advisory_lock(hashtext('servicekit'), hashtext('migrate'))"
_TABLE = """
create table if not exists schema_migrations (
    package text not null,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now(),
    primary key (package, name)
)"""
_IS_BEGUN = "select to_regclass('schema_migrations') is not null"
# A migration that waits for a long reader, as a back-up is one, has everybody else wait behind it.
_WAIT_SHORTLY = "set local lock_timeout = '2s'"
_IN_USE = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
_NAME = re.compile(r"\d{4}_[a-z0-9_]+\.sql")


class MigrationChanged(Misconfigured):
    """A migration that was applied is not the one that is shipped. Restore the file, or ship the change as a new number."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file of a package; its name begins with its number."""

    package: str
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return sha256(self.sql.replace("\r\n", "\n").encode()).hexdigest()


def migrations_of(package: str) -> list[Migration]:
    """Give the package's migrations in the order of their numbers; two files with one number are refused."""
    names = sorted(f.name for f in files(package).iterdir() if _NAME.fullmatch(f.name))
    if len({name[:4] for name in names}) != len(names):
        raise ValueError(f"{package}: two migrations have the same number")
    return [Migration(package, n, files(package).joinpath(n).read_text(encoding="utf-8")) for n in names]


async def migrate(dsn: str, package: str | None = None) -> list[str]:
    """Bring the database up to date: servicekit's tables, those of libraries, then the package's. Gives the names applied now.

    A package names the libraries' packages that it builds upon as `REQUIRES` in its `__init__`.

    Safe with several starters at once (they wait for each other) and over an interrupted run (each file is one transaction).
    A file whose tables somebody uses for long, as a back-up does, is tried until they are free; nobody waits behind it for long,
    and who has nothing to apply does not wait at all.
    """
    packages = dict.fromkeys([OWN_MIGRATIONS, *(with_required(package) if package else ())])
    conn = await asyncpg.connect(dsn, timeout=10, server_settings=_SESSION)
    try:
        if await _is_up_to_date(conn, packages):
            return []
        await conn.execute(_LOCK)
        await conn.execute(_TABLE)
        return [name for p in packages for name in await _bring_up_to_date(conn, p)]
    finally:
        await conn.close(timeout=5)


def with_required(package: str) -> list[str]:
    required: tuple[str, ...] = getattr(import_module(package), "REQUIRES", ())
    return [*(name for other in required for name in with_required(other)), package]


async def _is_up_to_date(conn: "asyncpg.Connection[asyncpg.Record]", packages: Iterable[str]) -> bool:
    if not await conn.fetchval(_IS_BEGUN):
        return False
    for package in packages:
        if await _missing(conn, package):
            return False
    return True


async def _bring_up_to_date(conn: "asyncpg.Connection[asyncpg.Record]", package: str) -> list[str]:
    missing = await _missing(conn, package)
    for migration in missing:
        await _apply_when_free(conn, migration)
    return [migration.name for migration in missing]


async def _missing(conn: "asyncpg.Connection[asyncpg.Record]", package: str) -> list[Migration]:
    rows = await conn.fetch("select name, checksum from schema_migrations where package = $1", package)
    applied = {row["name"]: row["checksum"] for row in rows}
    missing = []
    for migration in migrations_of(package):
        if migration.name not in applied:
            missing.append(migration)
        elif applied[migration.name] != migration.checksum:
            raise MigrationChanged(
                f"{package}/{migration.name} differs from what was applied to this database. Restore the file as it was, "
                "and ship the change as a new migration with the next number"
            )
    return missing


async def _apply_when_free(conn: "asyncpg.Connection[asyncpg.Record]", migration: Migration) -> None:
    rest = SHORTEST_REST
    while True:
        try:
            return await _apply(conn, migration)
        except _IN_USE:
            log.warning("migration_waits", package=migration.package, migration=migration.name)
        await asyncio.sleep(rest)
        rest = min(2 * rest, LONGEST_REST)


async def _apply(conn: "asyncpg.Connection[asyncpg.Record]", migration: Migration) -> None:
    try:
        async with conn.transaction():
            await conn.execute(_WAIT_SHORTLY)
            await conn.execute(migration.sql)
            await conn.execute(
                "insert into schema_migrations (package, name, checksum) values ($1, $2, $3)",
                migration.package,
                migration.name,
                migration.checksum,
            )
    except _IN_USE:
        raise
    except Exception:
        log.error("migration_failed", package=migration.package, migration=migration.name)  # noqa: TRY400 - whoever ends says why
        raise
