"""Builds of a projection: begun beside the live one, made live by moving the pointer row, and removed in the end."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self
from uuid import UUID

import asyncpg

from servicekit.data.postgres import Database, WriteTx
from servicekit.follow.projection import Connection, Projection

__all__ = ["Generation", "Generations", "NotBuilding"]

FEW = 100
"""So many subjects may vanish in a rebuild without anybody being asked."""

_COLUMNS = "generation, status, snapshot_after, snapshot_done, rows, started_at, held, accept_fewer"

_ALL = f"select {_COLUMNS} from projection_generations where projection = $1 order by generation"

_START = f"""
insert into projection_generations (projection, generation, status)
select $1, coalesce(max(generation), 0) + 1, 'building' from projection_generations where projection = $1
returning {_COLUMNS}
"""

_LOCK = "select generation from projection_generations where projection = $1 order by generation for update"
_RETIRE = "update projection_generations set status = 'retired' where projection = $1 and status = $2"
_GAPS_BUILT_OVER = """
update follow_positions p set gap_at = null from projection_generations g
where p.projection = $1 and g.projection = $1 and g.generation = $2 and p.gap_at < g.started_at
"""
_HAS_GAP = "select exists (select 1 from follow_positions where projection = $1 and gap_at is not null)"
_MAKE_LIVE = """
update projection_generations set status = 'live', held = false, swapped_at = now()
where projection = $1 and generation = $2 and status = 'building' and snapshot_done
"""

_SUBJECTS = """
select count(*) from projected_versions v
where v.projection = $1 and not v.erased and v.generation = (
    select generation from projection_generations where projection = $1 and status = $2)
"""

_HOLD = """
update projection_generations set held = true
where projection = $1 and generation = $2 and status = 'building' and not accept_fewer
"""
_ACCEPT = """
update projection_generations set accept_fewer = true, held = false where projection = $1 and status = 'building'
"""

_MOVE = """
update projection_generations set snapshot_after = $4::uuid, snapshot_done = $4::uuid is null, rows = rows + $5
where projection = $1 and generation = $2 and status = 'building' and snapshot_after is not distinct from $3
"""

# What the live one knows to be erased, so that tokens of erasures stay true and old states never come back.
_KEEP_ERASED = """
insert into projected_versions (projection, generation, subject, version, erased)
select $1, $2, v.subject, v.version, true
from projected_versions v join projection_generations g using (projection, generation)
where v.projection = $1 and g.status = 'live' and v.erased
and ($3::uuid is null or v.subject > $3) and ($4::uuid is null or v.subject <= $4)
order by v.subject
on conflict do nothing
"""

_SOME_SUBJECTS = """
select subject from projected_versions where projection = $1 and generation = $2 order by subject limit $3
"""
_FORGET = "delete from projected_versions where projection = $1 and generation = $2 and subject = any($3)"
_END = "delete from projection_generations where projection = $1 and generation = $2 and status = 'retired'"

Status = Literal["building", "live", "retired"]


class NotBuilding(Exception):  # noqa: N818 - what is the matter
    """The build is no longer ours to move on: given up by an operator, or taken over and moved on by another instance."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One build. `held`: it is whole but has far fewer subjects than the live one, so an operator must say yes to it."""

    number: int
    status: Status
    after: UUID | None
    done: bool
    rows: int
    started_at: datetime
    held: bool
    accept_fewer: bool

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        return cls(*row)


class Generations:
    """The generations of one projection in the service's database.

    Whoever applies batches holds the generations' rows by `for key share`; moving the pointer takes them `for update`. So
    each batch goes to a build from the moment it is begun, and nobody writes to the old one once the pointer has moved.
    """

    def __init__(self, database: Database, projection: str) -> None:
        self._database = database
        self._projection = projection
        self.key = f"generations of {projection}"
        """Lock of the write transactions in which builds are begun, accepted, given up and made live."""

    async def all(self) -> list[Generation]:
        return [Generation.of(row) for row in await self._database.fetch(_ALL, self._projection)]

    async def has_gap(self) -> bool:
        """Tell whether records were gone before they were read, and no build was begun since that is live."""
        return bool(await self._database.fetchval(_HAS_GAP, self._projection))

    async def start(self, tx: WriteTx) -> Generation:
        """Begin a build, or give the one that is under way."""
        for row in await tx.conn.fetch(_ALL, self._projection):
            if row["status"] == "building":
                return Generation.of(row)
        [begun] = await tx.conn.fetch(_START, self._projection)
        return Generation.of(begun)

    async def accept_fewer(self, tx: WriteTx) -> bool:
        """Let the build become live although it has far fewer subjects; False if there is no build."""
        return bool(await tx.conn.execute(_ACCEPT, self._projection) != "UPDATE 0")

    async def give_up(self, tx: WriteTx) -> bool:
        """Stop the build that is under way; False if there is none. The live one stays as it is."""
        await tx.conn.execute(_LOCK, self._projection)
        return bool(await tx.conn.execute(_RETIRE, self._projection, "building") != "UPDATE 0")

    async def make_live(self, number: int) -> None:
        """Move the pointer once all batches under way have ended; raises NotBuilding."""
        async with self._database.write(self.key) as tx:
            await tx.conn.execute(_LOCK, self._projection)
            await tx.conn.execute(_RETIRE, self._projection, "live")
            if await tx.conn.execute(_MAKE_LIVE, self._projection, number) != "UPDATE 1":
                raise NotBuilding
            await tx.conn.execute(_GAPS_BUILT_OVER, self._projection, number)

    async def shrinks(self, build: Generation) -> bool:
        """Tell whether a build lacks all, or more than half of many: its owner may have been restored empty."""
        if build.accept_fewer:
            return False
        live = await self._database.fetchval(_SUBJECTS, self._projection, "live")
        built = await self._database.fetchval(_SUBJECTS, self._projection, "building")
        return bool((live > FEW and built * 2 < live) or built == 0 < live)

    async def hold(self, build: Generation) -> None:
        """Let the build wait for an operator, unless one has accepted it or given it up meanwhile."""
        await self._database.execute(_HOLD, self._projection, build.number)

    async def keep_erased(self, build: Generation, until: UUID | None) -> None:
        """Take over what is known to be erased, from where the build is up to `until`, or to the end."""
        await self._database.execute(_KEEP_ERASED, self._projection, build.number, build.after, until)

    async def move(self, conn: Connection, build: Generation, until: UUID | None, rows: int) -> None:
        """Note in the transaction of a page how far the build is; None: to the end. Raises NotBuilding."""
        moved = await conn.execute(_MOVE, self._projection, build.number, build.after, until, rows)
        if moved != "UPDATE 1":
            raise NotBuilding

    async def remove_some(self, projection: Projection, retired: Generation, limit: int) -> int:
        """Remove some subjects of a retired generation, and its own row after the last ones; gives how many they were."""
        async with self._database.pool.acquire(timeout=5) as conn, conn.transaction():
            rows = await conn.fetch(_SOME_SUBJECTS, self._projection, retired.number, limit)
            subjects = [row["subject"] for row in rows]
            if projection.remove is not None and subjects:
                await projection.remove(conn, retired.number, subjects)
            await conn.execute(_FORGET, self._projection, retired.number, subjects)
            if len(subjects) < limit:
                await conn.execute(_END, self._projection, retired.number)
        return len(subjects)
