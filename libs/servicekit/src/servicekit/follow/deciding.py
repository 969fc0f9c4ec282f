"""What an operator does about rows that could not be dealt with: look, try again, or discard; each with a name and a reason."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from servicekit.data.postgres import Database, WriteTx
from servicekit.follow.projection import Projection
from servicekit.follow.records import kept_record

__all__ = [
    "Decision",
    "Pending",
    "ReadAgain",
    "Unread",
    "Why",
    "decide_pending",
    "decide_unreadable",
    "pending",
    "reading_again",
    "unreadable",
]

Decision = Literal["retry", "discard"]
ReadAgain: TypeAlias = Callable[[WriteTx, Sequence[int]], Awaitable[list[int]]]
"""Sees to it that those of the records that can be read now are taken in; gives their ids."""

_PENDING = """
select projection, subject, partition, version, attempts, next_try, reason, first_seen from pending_subjects
where $1::text is null or projection = $1 order by first_seen, subject limit $2
"""
_RETRY_PENDING = """
with decided as (
    update pending_subjects set next_try = now(), attempts = 0
    where projection = $1 and ($2::uuid[] is null or subject = any($2)) returning subject
)"""
_DISCARD_PENDING = """
with decided as (
    delete from pending_subjects
    where projection = $1 and ($2::uuid[] is null or subject = any($2)) returning subject
)"""
_NOTE_PENDING = """
, noted as (
    insert into operator_actions (who, action, target, reason)
    select $4, $3 || ' pending', $1 || ' ' || subject::text, $5 from decided
)
select count(*) from decided
"""

_UNREADABLE = """
select id, projection, topic, partition, "offset", reason, seen_at,
    length(coalesce(key, '')) + length(headers) + length(coalesce(value, '')) as size
from unreadable_records where $1::text is null or projection = $1 order by id limit $2
"""
_RAW = """
select id, partition, "offset", key, headers, value from unreadable_records where projection = $1 and id = any($2)
"""
_READ_AFTER_ALL = """
insert into pending_subjects as p (projection, subject, partition, version, next_try, reason)
values ($1, $2, $3, $4, now(), 'unreadable')
on conflict (projection, subject) do update
set version = greatest(excluded.version, p.version), next_try = now(), attempts = 0
"""
_DELETE_UNREADABLE = """
with decided as (
    delete from unreadable_records where projection = $1 and id = any($2)
    returning topic || '/' || partition || '/' || "offset" as place
), noted as (
    insert into operator_actions (who, action, target, reason)
    select $4, $3 || ' unreadable', $1 || ' ' || place, $5 from decided
)
select count(*) from decided
"""

_NOTE = "insert into operator_actions (who, action, target, reason) values ($1, $2, $3, $4)"


@dataclass(frozen=True, slots=True)
class Why:
    """Who decided, and for which reason."""

    who: str
    reason: str

    async def note(self, tx: WriteTx, action: str, target: str) -> None:
        """Record it in the transaction of what is done."""
        await tx.conn.execute(_NOTE, self.who, action, target, self.reason)


@dataclass(frozen=True, slots=True)
class Pending:
    """A subject that waits."""

    projection: str
    subject: UUID
    partition: int | None
    version: int
    attempts: int
    next_try: datetime
    reason: str
    first_seen: datetime


@dataclass(frozen=True, slots=True)
class Unread:
    """A record that could not be read, without its content; `size` in bytes."""

    id: int
    projection: str
    topic: str
    partition: int
    offset: int
    reason: str
    seen_at: datetime
    size: int


async def pending(database: Database, projection: str | None, limit: int) -> list[Pending]:
    """List what waits, the oldest first."""
    return [Pending(*row) for row in await database.fetch(_PENDING, projection, limit)]


async def decide_pending(
    database: Database, projection: str, subjects: Sequence[UUID] | None, decision: Decision, why: Why
) -> int:
    """Make subjects due now, or let go of them; None means all of the projection. Gives how many there were."""
    statement = (_RETRY_PENDING if decision == "retry" else _DISCARD_PENDING) + _NOTE_PENDING
    decided = await database.fetchval(statement, projection, subjects, decision, why.who, why.reason)
    return int(decided)


async def unreadable(database: Database, projection: str | None, limit: int) -> list[Unread]:
    """List what could not be read, the oldest first."""
    return [Unread(*row) for row in await database.fetch(_UNREADABLE, projection, limit)]


async def decide_unreadable(
    database: Database,
    name: str,
    ids: Sequence[int],
    decision: Decision,
    why: Why,
    *,
    read_again: ReadAgain | None,
) -> int:
    """Read records by `read_again`, as this release reads them, or without it give them up; gives how many are dealt with.

    What still cannot be read stays.
    """
    async with database.write(f"unreadable {name}") as tx:
        if read_again is not None:
            ids = await read_again(tx, ids)
        decided = await tx.conn.fetchval(_DELETE_UNREADABLE, name, ids, decision, why.who, why.reason)
    return int(decided)


def reading_again(projection: Projection) -> ReadAgain:
    """Read records of a projection again: what can be read now becomes a pending subject, which is fetched at once."""

    async def read_again(tx: WriteTx, ids: Sequence[int]) -> list[int]:
        readable: list[int] = []
        for row in await tx.conn.fetch(_RAW, projection.name, ids):
            event = kept_record(projection.topic, row).event
            if event is None:
                continue
            if event.subject.int != 0:
                await tx.conn.execute(
                    _READ_AFTER_ALL, projection.name, event.subject, row["partition"], event.version
                )
            readable.append(row["id"])
        return readable

    return read_again
