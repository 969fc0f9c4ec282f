"""One batch of the log in one transaction: entries with positions, who sees them, and how far the log was read."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import asyncpg

from change_feed.holdings import FEED
from change_feed.placing import Entry, Part, Placed
from change_feed.scopes import ALL
from servicekit.follow.erasing import removing
from servicekit.follow.records import Record

if TYPE_CHECKING:
    OwnConnection = asyncpg.Connection[asyncpg.Record]

__all__ = ["ALL_SCOPE", "MILLISECOND", "Changes", "Writer", "moment", "now_position", "position_of"]

ALL_SCOPE: Final = 1
MILLISECOND: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_SCOPES: Final = "select name, id from scopes where name = any($1::text[])"
_NEW_SCOPES: Final = "insert into scopes (name) select unnest($1::text[]) on conflict do nothing"
_EDGE: Final = "select edge from feed for update"
# Where the partitions end, or what is kept of old ones.
_PARTITIONS_UNTIL: Final = r"""
select max((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''(\d+)''\)'))[1]::bigint)
from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'entries'::regclass
"""
_MEMBERS: Final = "select scope, cv_id, since, until, last_change from members where cv_id = any($1::uuid[])"

_SAVE_ENTRIES: Final = """
insert into entries (position, event_id, type, change, subject, version, time, person_id, cv_id, cv_number, erased)
select * from unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::bigint[], $7::timestamptz[],
    $8::uuid[], $9::uuid[], $10::text[], $11::boolean[])
"""
_SAVE_SEEN: Final = (
    "insert into seen_events (event_id, position) select * from unnest($1::uuid[], $2::bigint[])"
)
_SAVE_AUDIENCE: Final = """
insert into audience (position, scope, part, is_change, hidden, next)
select * from unnest($1::bigint[], $2::integer[], $3::text[], $4::boolean[], $5::boolean[], $6::bigint[])
"""
_SUPERSEDE: Final = """
update audience a set next = s.next from unnest($1::bigint[], $2::integer[], $3::bigint[]) as s(position, scope, next)
where a.position = s.position and a.scope = s.scope and a.next is null
"""
_SAVE_MEMBERS: Final = """
insert into members (scope, cv_id, since, until, last_change)
select * from unnest($1::integer[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[])
on conflict (scope, cv_id) do update
set since = excluded.since, until = excluded.until, last_change = excluded.last_change
"""
_HIDE: Final = """
update audience a set hidden = h.hidden
from unnest($1::integer[], $2::uuid[], $3::boolean[]) as h(scope, cv_id, hidden) join entries e on e.cv_id = h.cv_id
where a.position = e.position and a.scope = h.scope and a.part <> 'left' and a.hidden <> h.hidden
"""
_SAVE_CVS: Final = """
insert into cvs as c (person_id, cv_id, cv_number, citizen_version, scopes, next_day, erased, last_number,
    newest_position, newest_version, newest_change)
select u.person_id, u.cv_id, u.cv_number, u.citizen_version, string_to_array(u.scopes, ' '), u.next_day, u.erased,
    u.last_number, u.position, u.version, u.change
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::date[], $7::boolean[], $8::text[],
    $9::bigint[], $10::bigint[], $11::text[])
    as u(person_id, cv_id, cv_number, citizen_version, scopes, next_day, erased, last_number, position, version, change)
on conflict (person_id) do update
set cv_id = excluded.cv_id, cv_number = excluded.cv_number, citizen_version = excluded.citizen_version,
    scopes = excluded.scopes, next_day = excluded.next_day, erased = excluded.erased,
    last_number = excluded.last_number,
    newest_position = coalesce(excluded.newest_position, c.newest_position),
    newest_version = greatest(excluded.newest_version, c.newest_version),
    newest_change = coalesce(excluded.newest_change, c.newest_change)
"""
# No CV goes over to another person (docs/decisions/0010); if the registry ever says so, it is taken at its word, for a key that
# is there twice would stop the feed for everybody.
_MOVED_CVS: Final = """
delete from cvs c using unnest($1::uuid[], $2::uuid[]) as u(cv_id, person_id)
where c.cv_id = u.cv_id and c.person_id <> u.person_id
"""
_ERASE_NUMBERS: Final = (
    "update entries set cv_number = null where cv_id = any($1::uuid[]) and cv_number is not null"
)
_ERASE_CHANGES: Final = """
update audience a set is_change = false from entries e
where e.cv_id = any($1::uuid[]) and a.position = e.position and a.is_change
"""
# One that is there is the same, or of a log that was lost: of what that one told the owners are asked, the new one is what there is.
# It has an id of its own, for who decides on the lost one has not seen it.
_UNREADABLE: Final = """
insert into unreadable_records as u (projection, topic, partition, "offset", key, headers, value, reason)
select 'feed', * from unnest($1::text[], $2::integer[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], $7::text[])
on conflict (projection, topic, partition, "offset") do update
set id = default, key = excluded.key, headers = excluded.headers, value = excluded.value, reason = excluded.reason,
    seen_at = now()
where (u.key, u.headers, u.value) is distinct from (excluded.key, excluded.headers, excluded.value)
"""
_REREAD: Final = "delete from rereads where id = any($1::bigint[])"
_MOVE: Final = """
insert into log_positions (topic, partition, next_offset)
select * from unnest($1::text[], $2::integer[], $3::bigint[])
on conflict (topic, partition) do update set next_offset = excluded.next_offset
"""
_BEGIN: Final = """
insert into log_positions (topic, partition, next_offset, begun_at)
select topic, partition, first, first from unnest($1::text[], $2::integer[], $3::bigint[]) as b(topic, partition, first)
on conflict (topic, partition) do update set next_offset = excluded.next_offset, begun_at = excluded.begun_at
"""
_SET_EDGE: Final = "update feed set edge = $1"
_SET_SEED: Final = "update feed set seed_after = $1, seeded = $2"

Key = tuple[int, UUID]
Offsets = Mapping[tuple[str, int], int]


def position_of(time: datetime) -> int:
    """Give the position that belongs to a moment: microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def moment(position: int) -> datetime:
    """Give the moment of arrival that a position is."""
    return _EPOCH + position * _MICROSECOND


def now_position() -> int:
    return time.time_ns() // 1_000


@dataclass(slots=True)
class Changes:
    """What one transaction writes: entries in their order, citizens as placed after them, and what was read of the log."""

    entries: list[Entry] = field(default_factory=list)
    placed: dict[UUID, Placed] = field(default_factory=dict)
    unreadable: Sequence[Record] = ()
    offsets: Offsets = field(default_factory=dict)
    begun: Offsets = field(default_factory=dict)
    """Where reading of partitions begins anew: what they had before that is not in the feed."""
    reread: Sequence[int] = ()
    """Which of the records that were read after all are done with."""
    seed: tuple[UUID | None, bool] | None = None
    """How far the owners' snapshot was taken in, and whether that was all."""


@dataclass(slots=True)
class _Member:
    since: int
    until: int | None
    last_change: int | None


class Writer:
    """The only one who writes entries, over the connection that holds the lease: lost with it, so never two at once."""

    def __init__(self, conn: "OwnConnection", width: timedelta) -> None:
        self._conn = conn
        self._width = width // _MICROSECOND
        self._scope_ids: dict[str, int] = {ALL: ALL_SCOPE}
        self._partitions_until: int | None = None

    async def write(self, changes: Changes) -> int:
        """Write all of it, or nothing; gives the edge afterwards."""
        async with self._conn.transaction():
            edge = int(await self._conn.fetchval(_EDGE))
            first = max(edge + 1, now_position())
            if changes.entries or changes.placed:
                await self._make_partitions(first)
                await self._write_and_note(changes, first)
            if changes.unreadable:
                await self._conn.execute(_UNREADABLE, *_columns(map(_raw, changes.unreadable)))
            for sql, offsets in ((_MOVE, changes.offsets), (_BEGIN, changes.begun)):
                if offsets:
                    rows = ((topic, partition, offset) for (topic, partition), offset in offsets.items())
                    await self._conn.execute(sql, *_columns(rows))
            if changes.reread:
                await self._conn.execute(_REREAD, changes.reread)
            if changes.seed is not None:
                await self._conn.execute(_SET_SEED, *changes.seed)
            edge = -(-(first + len(changes.entries)) // MILLISECOND) * MILLISECOND
            await self._conn.execute(_SET_EDGE, edge)
        return edge

    async def _write_and_note(self, changes: Changes, first: int) -> None:
        """Write the entries, and note what those that tell of an erasure have removed."""
        erasing = {entry.cv_id or entry.subject: entry for entry in changes.entries if entry.is_erasure}
        async with AsyncExitStack() as stack:
            for entry in erasing.values():
                noting = removing(self._conn, FEED, entry.subject, entry.version)
                await stack.enter_async_context(noting)
            await self._write_entries(changes, first)

    async def _write_entries(self, changes: Changes, first: int) -> None:
        numbered = list(enumerate(changes.entries, first))
        members, before = await self._members(changes)
        rows, superseded = self._audience(numbered, members)
        shown = {key: member.until is None for key, member in members.items()}
        if numbered:
            await self._conn.execute(_SAVE_ENTRIES, *_columns(_entry_row(*one) for one in numbered))
            await self._conn.execute(_SAVE_SEEN, [e.event_id for _, e in numbered], [p for p, _ in numbered])
            await self._conn.execute(
                _SAVE_AUDIENCE,
                *_columns(
                    (position, scope, part, is_change, hidden, following)
                    for (position, scope), (part, is_change, hidden, following) in rows.items()
                ),
            )
        if superseded:
            await self._conn.execute(_SUPERSEDE, *_columns((p, s, n) for (p, s), n in superseded.items()))
        if members:
            await self._conn.execute(
                _SAVE_MEMBERS,
                *_columns((*key, m.since, m.until, m.last_change) for key, m in members.items()),
            )
        turned = [
            (*key, not is_shown) for key, is_shown in shown.items() if before.get(key, True) != is_shown
        ]
        if turned:
            await self._conn.execute(_HIDE, *_columns(turned))
        await self._save_cvs(changes, numbered)

    async def _members(self, changes: Changes) -> tuple[dict[Key, _Member], dict[Key, bool]]:
        """Give the memberships of all CVs concerned, and which of them held before."""
        cv_ids = {placed.cv_id for placed in changes.placed.values()}
        cv_ids |= {entry.cv_id for entry in changes.entries if entry.cv_id is not None}
        names = {name for placed in changes.placed.values() for name in placed.scopes}
        names |= {name for entry in changes.entries for name in entry.audience}
        await self._learn(names)
        members = {
            (row["scope"], row["cv_id"]): _Member(row["since"], row["until"], row["last_change"])
            for row in await self._conn.fetch(_MEMBERS, list(cv_ids))
        }
        return members, {key: member.until is None for key, member in members.items()}

    def _audience(
        self, numbered: Sequence[tuple[int, Entry]], members: dict[Key, _Member]
    ) -> tuple[dict[tuple[int, int], tuple[Part, bool, bool, int | None]], dict[tuple[int, int], int]]:
        """Give the audience rows, and which earlier rows of the same CV and scope they follow."""
        rows: dict[tuple[int, int], tuple[Part, bool, bool, int | None]] = {}
        superseded: dict[tuple[int, int], int] = {}
        for position, entry in numbered:
            for name, part in entry.audience.items():
                scope = self._scope_ids[name]
                rows[position, scope] = (part, entry.is_change, False, None)
                if entry.cv_id is None:
                    continue
                member = members.setdefault((scope, entry.cv_id), _Member(position, None, None))
                if part == "left":
                    member.until = position
                elif member.until is not None:
                    member.since, member.until = position, None
                if entry.is_change:
                    self._follow(position, scope, member, rows, superseded)
        return rows, superseded

    def _follow(
        self,
        position: int,
        scope: int,
        member: _Member,
        rows: dict[tuple[int, int], tuple[Part, bool, bool, int | None]],
        superseded: dict[tuple[int, int], int],
    ) -> None:
        last = member.last_change
        member.last_change = position
        if last is None:
            return
        if (last, scope) in rows:
            rows[last, scope] = (*rows[last, scope][:3], position)
        else:
            superseded[last, scope] = position

    async def _save_cvs(self, changes: Changes, numbered: Sequence[tuple[int, Entry]]) -> None:
        newest: dict[UUID, tuple[int, int, str | None]] = {}
        for position, entry in numbered:
            if entry.cv_id is not None and (entry.is_newest or entry.is_erasure):
                newest[entry.cv_id] = (position, entry.version, entry.change)
        none = (None, None, None)
        if changes.placed:
            owned = [(placed.cv_id, placed.person_id) for placed in changes.placed.values()]
            await self._conn.execute(_MOVED_CVS, *_columns(owned))
            await self._conn.execute(
                _SAVE_CVS,
                *_columns((*_placed_row(p), *newest.get(p.cv_id, none)) for p in changes.placed.values()),
            )
        erased = [placed.cv_id for placed in changes.placed.values() if placed.erased]
        if erased:
            await self._conn.execute(_ERASE_CHANGES, erased)
            await self._conn.execute(_ERASE_NUMBERS, erased)

    async def _learn(self, names: set[str]) -> None:
        new = sorted(names - self._scope_ids.keys())
        if new:
            await self._conn.execute(_NEW_SCOPES, new)
            self._scope_ids |= {row["name"]: row["id"] for row in await self._conn.fetch(_SCOPES, new)}

    async def _make_partitions(self, first: int) -> None:
        """Make the partition of `first` and the one after it, before they are needed. Those that there are may have another width."""
        until = self._partitions_until
        if until is None:
            until = int(await self._conn.fetchval(_PARTITIONS_UNTIL))
        while until <= first + self._width:
            low = max(until, first // self._width * self._width)
            until = low + self._width
            await self._conn.execute("select feed_make_partition($1, $2)", low, until)
        self._partitions_until = until


def _columns(rows: Any) -> list[list[Any]]:
    return list(map(list, zip(*rows, strict=True)))


def _entry_row(position: int, entry: Entry) -> tuple[Any, ...]:
    return (
        position,
        entry.event_id,
        entry.type,
        entry.change,
        entry.subject,
        entry.version,
        entry.time,
        entry.person_id,
        entry.cv_id,
        entry.cv_number,
        entry.erased,
    )


def _placed_row(placed: Placed) -> tuple[Any, ...]:
    return (
        placed.person_id,
        placed.cv_id,
        placed.cv_number,
        placed.citizen_version,
        " ".join(sorted(placed.scopes)),
        placed.next_day,
        placed.erased,
        placed.last_number,
    )


def _raw(record: Record) -> tuple[Any, ...]:
    return (
        record.topic.name,
        record.partition,
        record.offset,
        record.key,
        record.raw_headers(),
        record.value,
        record.unreadable,
    )
