"""SQL of the stored documents, of what is to be rendered ahead, and of what was erased."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg

from servicekit.data.postgres import Database, lock_number
from servicekit.follow.projection import Connection

__all__ = ["Asked", "DocumentStore", "Due", "Stored", "erase", "is_full", "render_ahead"]

REMOVED_AT_ONCE: Final = 200
LOCK_TRIES: Final = 6
"""Each takes the lock time-out of the database's settings: another instance may take longer for a document than any lock is waited for."""

# A frozen version is found whatever it was rendered with; a current CV only as it would be rendered now.
_FIND: Final = """
select hash, template, pdf from documents where hash = $1 or (kind = 'frozen' and identity = $2)
order by kind = 'frozen' and identity = $2 desc limit 1
"""
_HOLD_ERASURE: Final = "select pg_advisory_xact_lock_shared($1)"
_KEEP: Final = """
insert into documents (hash, identity, kind, person_id, cv_id, template, engine, pdf)
select $1, $2, $3, $4, $5, $6, $7, $8
where not exists (select from erased where subject in ($4, $5))
on conflict do nothing
"""
_ERASURES: Final = "select pg_advisory_xact_lock(key) from unnest($1::bigint[]) as key order by key"
_ERASE: Final = """
with gone as (insert into erased (subject) select unnest($1::uuid[]) on conflict do nothing),
     ahead as (delete from ahead where cv_id = any($1::uuid[]))
delete from documents where person_id = any($1::uuid[]) or cv_id = any($1::uuid[])
"""
_AHEAD: Final = """
insert into ahead (version_id, cv_id) select * from unnest($1::uuid[], $2::uuid[]) on conflict do nothing
"""
_TAKE: Final = """
update ahead set attempts = attempts + 1, next_try = now() + least(3600, 2 ^ least(attempts, 12)) * interval '1 second'
where version_id = (
    select version_id from ahead where next_try <= now() order by next_try limit 1 for update skip locked
)
returning version_id, cv_id, attempts
"""
_DONE: Final = "delete from ahead where version_id = $1"
_OLD: Final = """
delete from documents where hash in (
    select hash from documents where kind = 'cv' and created_at < now() - $1::interval order by created_at limit $2
)
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A document as it is looked for. `hash` is that of the whole input, `identity` that of what it is about."""

    hash: bytes
    identity: bytes
    kind: str
    person_id: UUID
    cv_id: UUID
    template: str
    engine: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A document and the hash of the input that it was rendered from."""

    hash: bytes
    template: str
    pdf: bytes


@dataclass(frozen=True, slots=True)
class Due:
    """A frozen version that is to be rendered before anybody asks."""

    version_id: UUID
    cv_id: UUID
    attempts: int


class DocumentStore:
    """Documents in the service's own database; written once each, removed by erasure, current CVs also by age."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def find(self, asked: Asked) -> Stored | None:
        row = await self.database.fetchrow(_FIND, asked.hash, asked.identity)
        return None if row is None else Stored(*row)

    def only_one(self, asked: Asked) -> AbstractAsyncContextManager[bool]:
        """Let nobody else on this database render the same document meanwhile."""
        return self.database.hold(f"document {asked.identity.hex()}", tries=LOCK_TRIES)

    async def keep(self, asked: Asked, pdf: bytes) -> None:
        """Store a document, unless its citizen has been erased meanwhile."""
        async with self.database.pool.acquire(timeout=5) as conn, conn.transaction():
            for subject in sorted((asked.person_id, asked.cv_id)):
                await conn.execute(_HOLD_ERASURE, lock_number(_erasure_lock(subject)))
            await conn.execute(
                _KEEP,
                asked.hash,
                asked.identity,
                asked.kind,
                asked.person_id,
                asked.cv_id,
                asked.template,
                asked.engine,
                pdf,
            )

    async def take_due(self) -> Due | None:
        """Take what is due next, and put its next try off: whoever takes it may die."""
        row = await self.database.fetchrow(_TAKE)
        return None if row is None else Due(*row)

    async def done(self, due: Due) -> None:
        await self.database.execute(_DONE, due.version_id)

    async def remove_old(self, age: timedelta) -> None:
        """Remove current CVs that were rendered that long ago; whoever asks again has them rendered again."""
        while await self.database.execute(_OLD, age, REMOVED_AT_ONCE) == f"DELETE {REMOVED_AT_ONCE}":
            pass


def _erasure_lock(subject: UUID) -> str:
    """Key that storing a document and an erasure both lock."""
    return f"erasure {subject}"


async def erase(conn: Connection, subjects: Sequence[UUID]) -> None:
    """Remove all documents of these persons or CVs, and let none be stored ever again."""
    await conn.execute(_ERASURES, [lock_number(_erasure_lock(subject)) for subject in subjects])
    await conn.execute(_ERASE, subjects)


async def render_ahead(conn: Connection, versions: Sequence[tuple[UUID, UUID]]) -> None:
    """Note frozen versions (version id, CV id) to be rendered before anybody asks."""
    await conn.execute(_AHEAD, [version for version, _ in versions], [cv for _, cv in versions])


def is_full(error: BaseException) -> bool:
    """Tell whether the database could not store for want of space."""
    return isinstance(error, asyncpg.DiskFullError | asyncpg.ConfigurationLimitExceededError)
