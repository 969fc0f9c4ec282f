"""SQL of the readers: pages of the feed, pages of the change list, pages of a snapshot. Each costs the same wherever it begins.

Tables are locked in the order in which a query names them: audience before entries, as where a partition is dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from change_feed.placing import HANDED_OVER
from change_feed.writing import ALL_SCOPE
from cv_contracts.events.cv_registry import CVChanged
from servicekit.data.postgres import Database

__all__ = ["NO_END", "Edge", "FeedStore", "Item", "Listed"]

_EDGE: Final = """
select epoch, edge, floor, seeded,
    array(select array[after_position, before_position] from restores order by found_at) as restores
from feed
"""
_UNREADABLE: Final = "select count(*) from unreadable_records where projection = 'feed'"
_SCOPE: Final = "select id from scopes where name = $1"

# Of the erased nothing will ever be listed. `since` is the first entry about the CV.
_PLACED: Final = f"""
select case when c.erased then {2**63 - 1} else c.newest_version end as version, c.person_id, m.since
from (select $1::uuid as cv_id) w left join cvs c on c.cv_id = w.cv_id
left join members m on m.scope = {ALL_SCOPE} and m.cv_id = w.cv_id
"""
# Whoever was known from the first entry on has every change among the CVs.
_ABOUT: Final = "select person_id from entries where position = $1"
# What came while the registry knew no such citizen is in no list, nor is it the newest change of a CV.
_NOBODYS: Final = (
    f"select max(version) from entries where cv_id = $1 and position >= $2 and type = '{CVChanged.TYPE}'"
)

# Ids and times as the text that they become anyway: reading a thousand of each costs more than all else of a row.
_SHOWN: Final = """
e.position, e.event_id::text, e.type, coalesce(e.cv_id, e.subject)::text as subject, e.version,
to_json(e.time at time zone 'utc') as time, e.cv_number, e.erased
"""
# Who sees all is in the audience of every entry, but of those that tell only who left under which number.
_PAGE_OF_ALL: Final = f"""
select {_SHOWN}, e.change from entries e
where e.position > $1 and e.position <= $2 and (e.change is not null or e.type <> '{HANDED_OVER}')
order by e.position limit $3
"""
# The positions come from the index alone and are looked up in one scan. Both ends of it are bounded, for it visits only the
# partitions between them. What a scope sees otherwise than others is only whether it was left or came to.
_PAGE: Final = f"""
with chosen as materialized (
    select position from audience where scope = $1 and position > $2 and position <= $3 and not hidden
    order by position limit $4
)
select {_SHOWN}, case e.type when '{HANDED_OVER}' then feed_part(e.position, $1) else e.change end as change
from entries e
where e.position = any(array(select position from chosen))
and e.position > $2 and e.position <= (select max(position) from chosen)
order by e.position
"""
_ARRIVED: Final = "select distinct scope from audience where position > $1 and position <= $2"

_NEWEST: Final = """
scope = $1 and position > $2 and position <= $3 and is_change and not hidden and (next is null or next > $3)
"""
# Where each page of a list begins; the list is one row per CV, that of its newest change in the period.
_BEGINNINGS: Final = """
select coalesce(array_agg(position order by position), '{{}}') from (
    select position, row_number() over (order by position) as n from ({listed}) listed
) numbered where (n - 1) % $4 = 0
"""
_PAGES: Final = _BEGINNINGS.format(listed=f"select position from audience where {_NEWEST}")
_HAS_MANY: Final = """
select exists (
    select from audience where scope = $1 and position > $2 and position <= $3 and is_change and not hidden
    order by position offset $4
)
"""
_LIST: Final = """
select e.cv_number, e.time, e.change = 'deleted' as deleted from audience a join entries e on e.position = a.position
where a.scope = $1 and a.position >= $2 and a.position < $3 and a.position <= $4
and e.position >= $2 and e.position < $3 and e.position <= $4
and a.is_change and not a.hidden and (a.next is null or a.next > $4) and e.cv_number is not null
order by a.position
"""
_REMEMBER: Final = """
insert into extracts as e (caller, scope, starts_at, ends_at, made_at, pages, asked_ends)
values ($1, $2, $3, $4, $5, $6, array[$7::bigint])
on conflict (caller, scope, starts_at, ends_at) do update set made_at = excluded.made_at, pages = excluded.pages,
    asked_ends = array_remove(e.asked_ends, $7) || excluded.asked_ends
"""
_EXTRACT: Final = """
select ends_at, made_at, pages from extracts
where caller = $1 and scope = $2 and starts_at = $3 and (ends_at = $4 or $4 = any(asked_ends))
order by made_at desc limit 1
"""

# The set as it was at a position: who came or was made later is left out, and versions are those of that moment.
_SNAPSHOT: Final = f"""
select m.cv_id, c.cv_number, coalesce(v.version, c.newest_version) as version, coalesce(v.change, c.newest_change) as change,
    c.newest_position <= $3 or v.version is not null as there
from members m join cvs c on c.cv_id = m.cv_id
left join lateral (
    select e.version, e.change from entries e
    where e.cv_id = m.cv_id and e.position <= $3 and e.type = '{CVChanged.TYPE}' and c.newest_position > $3
    order by e.version desc limit 1
) v on true
where m.scope = $1 and m.cv_id > $2 and c.cv_id > $2 and m.until is null and m.since <= $3 and c.newest_position is not null and not c.erased
order by m.cv_id limit $4
"""

NO_ID: Final = UUID(int=0)
NO_END: Final = 2**63 - 1
MANY_CHANGES: Final = 20_000
"""With so many changes in a period its CVs are counted by what is known of each CV instead."""


def _pages_by_members(scope: int) -> str:
    """Give the same by the newest change of each member, for a period may have many changes of each CV.

    What members do not know is looked up: the newest change before the end for those who changed again after it, and what old
    partitions have left. The scope is written out, for the plan depends on how many members it has.
    """
    return _BEGINNINGS.format(
        listed=f"""
        select last_change as position from members m
        where scope = {scope} and until is null and last_change > $2 and last_change <= $3 and last_change >= (select floor from feed)
        and not exists (select from cvs c where c.cv_id = m.cv_id and c.erased)
        union all
        select a.position from members m cross join lateral (
            select a.position from audience a join entries e on a.position = e.position and a.scope = $1
            where e.cv_id = m.cv_id and e.position > $2 and e.position <= $3 and e.position >= (select floor from feed)
            and a.position > $2 and a.position <= $3 and a.is_change and not a.hidden and a.next > $3
            order by a.position desc limit 1
        ) a
        where m.scope = {scope} and m.until is null and m.last_change > $3
        union all
        select position from audience_kept where {_NEWEST}
        """
    )


@dataclass(frozen=True, slots=True)
class Edge:
    """How far the feed is, and in which epoch; before `floor` only the newest change of each CV and its newest hand-overs are left.

    `restores` has the last position of each back-up that was restored, and the first one given out after that.
    """

    epoch: UUID
    edge: int
    floor: int
    seeded: bool
    restores: Sequence[Sequence[int]] = ()

    def instead_of(self, position: int) -> int | None:
        """Give the position from which to go on instead, if this one is beyond the edge or was forgotten by a restore."""
        if position > self.edge:
            return self.edge
        return next((after for after, before in self.restores if after < position < before), None)


@dataclass(frozen=True, slots=True)
class Listed:
    """A change list that was begun: its end, when that was, and where its pages begin."""

    ends_at: int
    made_at: datetime
    pages: Sequence[int]


@dataclass(frozen=True, slots=True)
class Item:
    """A CV of a snapshot, with its version at the snapshot's moment."""

    cv_id: UUID
    cv_number: str | None
    version: int
    change: str | None


class FeedStore:
    """What readers need of the feed's database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._scope_ids: dict[str, int] = {}

    async def edge(self) -> Edge | None:
        """Give how far the feed is; None before it has begun."""
        row = await self._database.fetchrow(_EDGE)
        return None if row is None else Edge(*row)

    async def unreadable(self) -> int:
        """Give how many records the writer could not read."""
        count: int = await self._database.fetchval(_UNREADABLE)
        return count

    async def scope_id(self, name: str) -> int:
        """Give the number of a scope; 0, which sees nothing, while nothing has arrived for it.

        Ask after the edge was read: what was written with a new number between the two would be passed over.
        """
        known = self._scope_ids.get(name)
        if known is None:
            known = await self._database.fetchval(_SCOPE, name)
            if known is None:
                return 0
            self._scope_ids[name] = known
        return known

    async def placed(self, cv_id: UUID) -> int | None:
        """Give the newest version of a CV of which the lists tell, or which they will never show; None for one not heard of."""
        version, person_id, since = await self._database.fetchrow(_PLACED, cv_id) or (None, None, None)
        if version is not None or since is None:
            return version
        if person_id is not None and person_id == await self._database.fetchval(_ABOUT, since):
            return None
        nobodys: int | None = await self._database.fetchval(_NOBODYS, cv_id, since)
        return nobodys

    async def page(self, scope: int, after: int, until: int, limit: int) -> list[asyncpg.Record]:
        """Give entries as a scope sees them: position, event id, type, subject, version, time, CV number, erased, change."""
        if scope == ALL_SCOPE:
            return await self._database.fetch(_PAGE_OF_ALL, after, until, limit)
        return await self._database.fetch(_PAGE, scope, after, until, limit)

    async def arrived(self, after: int, until: int) -> list[int]:
        """Give the scopes for which something has arrived."""
        return [row["scope"] for row in await self._database.fetch(_ARRIVED, after, until)]

    async def pages(self, scope: int, after: int, until: int, size: int) -> list[int]:
        """Give where each page begins; a long period that ends near the edge costs what its CVs do, not its changes."""
        if await self._has_many(scope, after, until) and not await self._has_many(scope, until, NO_END):
            return await self.pages_by_members(scope, after, until, size)
        return await self.pages_by_changes(scope, after, until, size)

    async def pages_by_changes(self, scope: int, after: int, until: int, size: int) -> list[int]:
        found: list[int] = await self._database.fetchval(_PAGES, scope, after, until, size)
        return found

    async def pages_by_members(self, scope: int, after: int, until: int, size: int) -> list[int]:
        found: list[int] = await self._database.fetchval(_pages_by_members(scope), scope, after, until, size)
        return found

    async def _has_many(self, scope: int, after: int, until: int) -> bool:
        found: bool = await self._database.fetchval(_HAS_MANY, scope, after, until, MANY_CHANGES)
        return found

    async def listed(self, scope: int, first: int, before: int, until: int) -> list[asyncpg.Record]:
        return await self._database.fetch(_LIST, scope, first, before, until)

    async def remember(self, caller: str, scope: int, starts_at: int, asked_end: int, listed: Listed) -> None:
        """Keep a list for its later pages; `asked_end` is NO_END where none was asked for."""
        kept = (listed.ends_at, listed.made_at, list(listed.pages))
        await self._database.execute(_REMEMBER, caller, scope, starts_at, *kept, asked_end)

    async def begun(self, caller: str, scope: int, starts_at: int, end: int) -> Listed | None:
        """Give the list that was begun last, by the end that was asked for then or the one that was answered."""
        row = await self._database.fetchrow(_EXTRACT, caller, scope, starts_at, end)
        return None if row is None else Listed(*row)

    async def snapshot(
        self, scope: int, after: UUID | None, position: int, limit: int
    ) -> tuple[list[Item], UUID | None]:
        """Give a page by key order as of a position, and after whom to go on; None after the last."""
        rows: list[Any] = await self._database.fetch(_SNAPSHOT, scope, after or NO_ID, position, limit)
        items = [
            Item(row["cv_id"], row["cv_number"], row["version"], row["change"])
            for row in rows
            if row["there"]
        ]
        return items, rows[-1]["cv_id"] if len(rows) == limit else None
