"""Seals and hashes what is stored anew with the first keys of the settings, chunk by chunk, beside the running service."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from contact_verification.keys import Keys, Sealed, Vault
from contact_verification.values import Value
from servicekit.data.postgres import Database

TABLES: Final = ("periods", "prepares")
CHUNK: Final = 1_000

_COUNT: Final = "select count(*) from {table} where key_id <> $1"
# Nobody's row is left out: who writes one meanwhile is waited for.
_CHUNK: Final = """
select id, key_id, box from {table} where id > $1 and key_id <> $2 order by id limit $3 for no key update
"""
_STORE: Final = """
update {table} t set key_id = $1, box = n.box from unnest($2::uuid[], $3::bytea[]) as n(id, box) where t.id = n.id
"""

# Who is about to send a code is waited for too, so that the limits of an address go on counting under its new hash.
_HASHED: Final = (
    "select id, type, key_id, box, blind from periods where id > $1 order by id limit $2 for update"
)
_REHASH: Final = """
update periods p set blind = n.blind from unnest($1::uuid[], $2::bytea[]) as n(id, blind)
where p.id = n.id and p.blind <> n.blind
"""
_REHASH_SENDS: Final = """
update code_sends s set blind = n.blind from unnest($1::bytea[], $2::bytea[]) as n(before, blind)
where s.blind = n.before and n.before <> n.blind
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a table is: rows done of those that were to be done, and how many in a second."""

    table: str
    done: int
    total: int
    per_second: float

    def __str__(self) -> str:
        return f"{self.table}: {self.done} of {self.total} ({self.per_second:.0f}/s)"


async def rotate(database: Database, keys: Keys, tell: Callable[[Progress], None]) -> int:
    """Seal and hash anew; gives how many rows. It may be stopped and started again at any time: what is done stays done."""
    done = 0
    for table in TABLES:
        total = await database.fetchval(_COUNT.format(table=table), keys.vault.current)
        done += await _all(partial(_seal, database, keys.vault, table), table, total, tell)
    if keys.blind.changes:
        total = await database.fetchval("select count(*) from periods")
        done += await _all(partial(_hash, database, keys), "look-up", total, tell)
    return done


async def _all(
    chunk: Callable[[UUID], Awaitable[Sequence[UUID]]],
    name: str,
    total: int,
    tell: Callable[[Progress], None],
) -> int:
    begun, done, after = time.monotonic(), 0, UUID(int=0)
    while ids := await chunk(after):
        done, after = done + len(ids), ids[-1]
        tell(Progress(name, done, total, done / max(time.monotonic() - begun, 1e-9)))
    return done


async def _hash(database: Database, keys: Keys, after: UUID) -> list[UUID]:
    async with database.pool.acquire() as conn, conn.transaction():
        rows = await conn.fetch(_HASHED, after, CHUNK)
        texts = [keys.vault.open(Sealed(row["key_id"], row["box"]), row["id"]) for row in rows]
        hashes = [
            keys.blind.of(row["type"], Value.of(text).form) for row, text in zip(rows, texts, strict=True)
        ]
        ids = [row["id"] for row in rows]
        await conn.execute(_REHASH_SENDS, [row["blind"] for row in rows], hashes)
        await conn.execute(_REHASH, ids, hashes)
        return ids


async def _seal(database: Database, vault: Vault, table: str, after: UUID) -> list[UUID]:
    async with database.pool.acquire() as conn, conn.transaction():
        rows = await conn.fetch(_CHUNK.format(table=table), after, vault.current, CHUNK)
        boxes = [
            vault.seal(vault.open(Sealed(row["key_id"], row["box"]), row["id"]), row["id"]).box
            for row in rows
        ]
        ids = [row["id"] for row in rows]
        await conn.execute(_STORE.format(table=table), vault.current, ids, boxes)
        return ids
