"""SQL of the messages that wait: claimed for a time, tried again later, done."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from contact_verification.domain import BLOCKED, VERIFIED, role_ids, verifiable_types
from contact_verification.messages import Kind
from cv_citizens.replica import NAME
from cv_contracts.codelists import CodeLists
from servicekit.data.postgres import Database

# Claimed by moving the next try behind the lease: who dies with a message in hand has it taken from him then. Codes, which a
# citizen sits and waits for, go before reminders, however many of these are due.
_CLAIM: Final = """
update messages set attempts = attempts + 1, next_try = clock_timestamp() + $3
where id in (
    select id from messages
    where type = any($1::int[]) and status = 'waiting' and next_try <= clock_timestamp()
    order by kind, next_try limit $2 for update skip locked
)
returning id, attempts
"""

# Of the contact data `o`: who is dead, or has no CV number any more because of a merger, can confirm nothing.
CAN_CONFIRM: Final = f"""not exists (
    select from citizens c join projection_generations g using (generation)
    where g.projection = '{NAME}' and g.status = 'live' and c.person_id = o.person_id
    and (c.cv_number is null or (c.state ->> 'dead')::boolean)
)"""

# What a claimed message needs, as it is now. A code that another one or a new value has voided has no row with this salt,
# and nobody needs one for a value that was verified without it. A reminder is void once the value was confirmed or has another
# status, for its row is not marked as reminded any more, and once nobody can confirm it.
_DETAILS: Final = f"""
select m.id, m.person_id, m.period_id, m.type, m.kind, m.salt, m.attempts, m.held, p.key_id, p.box,
       coalesce(m.expires_at > clock_timestamp() and p.ends is null and o.status <> $2 and case m.kind
            when 'code' then o.status <> $3 and exists (
                select from codes k
                where k.person_id = m.person_id and k.type = m.type and k.salt = m.salt and k.used_at is null
            )
            else o.reminded_at is not null and m.type = any($4::int[]) and {CAN_CONFIRM}
       end, false) as wanted
from messages m join periods p on p.id = m.period_id left join contacts o on o.period_id = m.period_id
where m.id = any($1::uuid[])
"""
_DONE: Final = """
update messages set status = $2, reason = $3, salt = null, done_at = clock_timestamp()
where id = $1 and status = 'waiting'
"""
# A reminder that nobody has got was not made: it is made again, should somebody be able to confirm the value after all.
_VOID: Final = """
with void as (
    update messages set status = 'void', reason = null, salt = null, done_at = clock_timestamp()
    where id = $1 and status = 'waiting' returning period_id, kind
)
update contacts o set reminded_at = null from void v where v.kind = 'reminder' and o.period_id = v.period_id
"""
_LATER: Final = """
update messages set next_try = clock_timestamp() + $2, reason = $3, held = held + $4::boolean::integer
where id = $1 and status = 'waiting'
"""
_WAITING: Final = """
select count(*) as count, coalesce(extract(epoch from clock_timestamp() - min(made_at)), 0)::float8 as age
from messages where status = 'waiting'
"""
REMIND: Final = """
insert into messages (id, person_id, period_id, type, kind, made_at, expires_at, next_try)
values ($1, $2, $3, $4, 'reminder', clock_timestamp(), clock_timestamp() + $5, clock_timestamp())
"""
_FORGET: Final = (
    "delete from messages where status <> 'waiting' and done_at < clock_timestamp() - $1::interval"
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message in hand; not `wanted` when nobody needs it any more. `times_put_off`: how many of the attempts its recipient could not take."""

    id: UUID
    person: UUID
    period: UUID
    type: int
    kind: Kind
    salt: bytes | None = field(repr=False)
    attempts: int
    times_put_off: int
    key_id: str
    box: bytes = field(repr=False)
    wanted: bool


class MessageStore:
    """Messages in the service's own database."""

    def __init__(self, database: Database, lists: CodeLists) -> None:
        self._database = database
        self._lists = lists
        statuses = role_ids(lists)
        self._statuses = (statuses[BLOCKED], statuses[VERIFIED])

    async def claim(self, contact_types: list[int], most: int, lease: timedelta) -> list[Claimed]:
        """Take what is due, for the time of the lease; several senders never take the same."""
        rows = await self._database.fetch(_CLAIM, contact_types, most, lease)
        if not rows:
            return []
        ids, types = [row["id"] for row in rows], verifiable_types(self._lists)
        details = await self._database.fetch(_DETAILS, ids, *self._statuses, types)
        return [Claimed(*row) for row in details]

    async def done(self, message: UUID, status: str, reason: str | None = None) -> None:
        """Mark a message; its salt goes, so that nobody can make the code again from here."""
        await self._database.execute(_DONE, message, status, reason)

    async def void(self, message: UUID) -> None:
        """Mark a message that nobody needs any more."""
        await self._database.execute(_VOID, message)

    async def later(self, message: UUID, wait: timedelta, reason: str, *, put_off: bool) -> None:
        """Let a message wait; `put_off` counts that it does so for its recipient's sake."""
        await self._database.execute(_LATER, message, wait, reason, put_off)

    async def waiting(self) -> tuple[int, float]:
        """Give how many wait, and the age of the oldest in seconds."""
        row = await self._database.fetchrow(_WAITING)
        return (0, 0.0) if row is None else (row["count"], row["age"])

    async def forget(self, after: timedelta) -> None:
        """Delete what was done long ago; a bounce that comes later than that names nothing here."""
        await self._database.execute(_FORGET, after)
