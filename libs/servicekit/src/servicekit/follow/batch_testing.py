"""For tests of what one transaction of a follower writes: a projection whose batches are settled by hand."""

from dataclasses import replace
from uuid import UUID, uuid4

import asyncpg

from servicekit.data.postgres import Database
from servicekit.follow.batch import Settled, Work, settle
from servicekit.follow.pending import Waiting
from servicekit.follow.projection import Announced, Applicable, Projection
from servicekit.follow.testing import CITIZENS, Copies, OwnedStates

__all__ = ["OTHER", "PERSON", "Following", "states", "waiting"]

PERSON, OTHER = uuid4(), uuid4()


class Following:
    """A projection whose batches are settled by hand."""

    def __init__(self, database: Database, copies: Copies) -> None:
        self.database = database
        self.copies = copies
        self.projection: Projection = copies.projection(OwnedStates())

    async def settle(self, work: Work, *, one_by_one: bool = False) -> Settled:
        async with self.database.pool.acquire() as conn:
            return await settle(conn, self.projection, work, one_by_one=one_by_one)

    async def waits(self, *waiting: Waiting, retried: bool = False) -> None:
        work = Work(waiting={w.announced.subject: w for w in waiting})
        await self.settle(replace(work, retried=True) if retried else work)

    async def pending(self, subject: UUID = PERSON) -> asyncpg.Record:
        rows = await self.database.fetch(
            "select *, extract(epoch from next_try - now())::float8 as delay from pending_subjects where subject = $1",
            subject,
        )
        (row,) = rows
        return row

    async def position(self, partition: int) -> asyncpg.Record:
        query = "select * from follow_positions where projection = 'copies' and topic = $1 and partition = $2"
        (row,) = await self.database.fetch(query, CITIZENS.name, partition)
        return row


def waiting(
    version: int, attempts: int = 0, delay: float = 100, partition: int | None = 1, subject: UUID = PERSON
) -> Waiting:
    return Waiting(Announced(subject, version, partition), "owner-silent", attempts, delay)


def states(*given: Applicable) -> dict[UUID, Applicable]:
    return {state.subject: state for state in given}
