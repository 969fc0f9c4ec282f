"""SQL of the import: COPY of new citizens with all that belongs to them, and how far a file has come."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import asyncpg

from cv_registry.imports.copy_format import HEADER, TRAILER
from cv_registry.imports.lines import COLUMNS, ReadyCitizen, Table
from cv_registry.store_citizens import IMPORTING
from servicekit.data.postgres import Database, WriteTx
from servicekit.publish.outbox import Outbox

_THERE: Final = """
SELECT person_number FROM citizens WHERE person_number = ANY($1)
UNION ALL SELECT person_number FROM former_person_numbers WHERE person_number = ANY($1)
"""
# Numbers that were given up since the chunk was sorted: only whoever had them was in the way of the chunk itself.
_GIVEN_UP: Final = """
SELECT EXISTS (SELECT FROM former_person_numbers WHERE person_number = ANY($1))
    OR EXISTS (SELECT FROM retired_cv_numbers WHERE cv_number = ANY($2))
"""
_PROGRESS: Final = "SELECT lines FROM imports WHERE fingerprint = $1"
_REACHED: Final = """
INSERT INTO imports (fingerprint, lines, changed_at) VALUES ($1, $2, $3)
ON CONFLICT (fingerprint) DO UPDATE SET lines = excluded.lines, changed_at = excluded.changed_at
"""


# A delivery registers its citizens in another order than the chunk: each may come to wait for the other.
_COLLISIONS: Final = (
    asyncpg.UniqueViolationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
)


class ChunkCollided(Exception):  # noqa: N818 - asks for another try
    """Somebody registered one of the chunk's citizens, had one of its numbers, or kept it waiting, at the same moment."""


class ImportStore:
    """Writes chunks of new citizens, each chunk whole or not at all."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self.database = database
        self._outbox = outbox

    async def lines_done(self, fingerprint: str) -> int:
        return await self.database.fetchval(_PROGRESS, fingerprint) or 0

    async def there(self, person_numbers: Sequence[str]) -> set[str]:
        """Say which of these citizens are registered already, under this number or a later one."""
        return {row[0] for row in await self.database.fetch(_THERE, person_numbers)}

    async def save(self, citizens: Sequence[ReadyCitizen]) -> None:
        """Copy new citizens and their events; raises ChunkCollided, after which nothing of them is there."""
        try:
            async with self.database.write(IMPORTING) as tx:
                for table, columns in COLUMNS.items():
                    if rows := [one.rows[table] for one in citizens if table in one.rows]:
                        await _copy(tx, table, columns, rows)
                person_numbers = [one.person_number for one in citizens]
                cv_numbers = [one.cv_number for one in citizens if one.cv_number is not None]
                if await tx.conn.fetchval(_GIVEN_UP, person_numbers, cv_numbers):
                    raise ChunkCollided
                tx.after_commit(self._outbox.wake)
        except _COLLISIONS:
            raise ChunkCollided from None

    async def reached(self, fingerprint: str, lines: int) -> None:
        """Note that all lines up to this one are dealt with."""
        await self.database.execute(_REACHED, fingerprint, lines, datetime.now(UTC))


async def _copy(tx: WriteTx, table: Table, columns: Sequence[str], rows: Sequence[bytes]) -> None:
    source = io.BytesIO(b"".join((HEADER, *rows, TRAILER)))
    await tx.conn.copy_to_table(table, source=source, columns=list(columns), format="binary")
