"""What an operator does about records that Kafka refused for good: look, try again, or discard; always with a reason."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from servicekit.data.postgres import Database

_LIST = """
select r.seq, r.id, r.aggregatetype, r.type, r.version, octet_length(r.payload) as size, r.reason, r.refused_at,
(
    select count(*) from outbox o
    where o.aggregatetype = r.aggregatetype and o.aggregateid = r.aggregateid
    and o.partition is not distinct from r.partition and o.seq > r.seq
) as held_back
from outbox_refused r order by r.seq limit $1"""
_DECIDE = """
with decided as (delete from outbox_refused where seq = $1 returning *),
noted as (
    insert into outbox_decisions (seq, event_id, aggregatetype, decision, reason, decided_by)
    select seq, id, aggregatetype, $2, $3, $4 from decided
),
again as (
    insert into outbox (seq, id, aggregatetype, aggregateid, type, payload, version, time, tracingspancontext, partition)
    overriding system value
    select seq, id, aggregatetype, aggregateid, type, payload, version, time, tracingspancontext, partition
    from decided where $2 = 'retry'
)
select count(*) from decided"""


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """A record that Kafka refused, without its content, and how many later records of its key wait for it."""

    seq: int
    event_id: UUID
    topic: str
    type: str
    version: int
    size: int
    reason: str
    refused_at: datetime
    held_back: int


async def refused(database: Database, limit: int = 1_000) -> list[RefusedRecord]:
    """List the refused records, the oldest first."""
    return [RefusedRecord(*row.values()) for row in await database.fetch(_LIST, limit)]


async def retry(database: Database, seq: int, *, reason: str, by: str) -> bool:
    """Put the record back into the outbox, before the later ones of its key; False if there is no such record."""
    return await _decide(database, seq, "retry", reason, by)


async def discard(database: Database, seq: int, *, reason: str, by: str) -> bool:
    """Give the record up and let the later ones of its key go on; False if there is no such record."""
    return await _decide(database, seq, "discard", reason, by)


async def _decide(database: Database, seq: int, decision: str, reason: str, by: str) -> bool:
    if not reason.strip() or not by.strip():
        raise ValueError("a decision needs a reason and a name")
    return bool(await database.fetchval(_DECIDE, seq, decision, reason, by))
