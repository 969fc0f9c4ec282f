"""Which pending rows a process may try: its projection's, those that are due the longest first, and each for a minute."""

from uuid import UUID

import pytest

from servicekit.data.postgres import Database
from servicekit.follow.pending import Claimed, claim_due
from servicekit.follow.projection import Announced

pytestmark = pytest.mark.infra


async def waits(database: Database, number: int, due_for: float, projection: str = "copies") -> UUID:
    """Let a subject wait that was to be tried so many seconds ago."""
    await database.execute(
        "insert into pending_subjects (projection, subject, partition, version, attempts, next_try, reason)"
        " values ($1, $2, 3, 7, 4, now() - $3 * interval '1 second', 'owner-silent')",
        projection,
        UUID(int=number),
        due_for,
    )
    return UUID(int=number)


async def claimed(database: Database, limit: int = 9) -> list[int]:
    return sorted(row.announced.subject.int for row in await claim_due(database, "copies", limit))


async def test_what_is_due_the_longest_is_tried_first_and_nobody_else_tries_it_for_a_minute(
    database: Database,
) -> None:
    for number, due_for in ((1, 10), (2, 30), (3, 20), (4, -20)):
        await waits(database, number, due_for)
    assert await claimed(database, 2) == [2, 3]
    assert await claimed(database) == [1]
    assert await claimed(database) == []
    rests = await database.fetch(
        "select extract(epoch from next_try - now())::float8 from pending_subjects where subject <> $1",
        UUID(int=4),
    )
    assert all(50 < rest <= 60 for (rest,) in rests)


async def test_a_claim_says_what_was_announced_and_counts_the_attempt(database: Database) -> None:
    subject = await waits(database, 1, 10)
    assert await claim_due(database, "copies") == [Claimed(Announced(subject, 7, 3), 5)]
    assert await database.fetchval("select attempts from pending_subjects") == 5


async def test_the_same_subject_of_another_projection_is_left_to_that(database: Database) -> None:
    for number, projection in ((1, "copies"), (1, "others"), (2, "others")):
        await waits(database, number, 10, projection)
    await waits(database, 2, -10)
    assert await claimed(database) == [1]
    others = await database.fetch("select attempts from pending_subjects where projection = 'others'")
    assert [row["attempts"] for row in others] == [4, 4]


async def test_a_row_that_somebody_else_is_claiming_is_passed_over_and_not_waited_for(
    database: Database,
) -> None:
    first, _ = await waits(database, 1, 20), await waits(database, 2, 10)
    async with database.pool.acquire() as other, other.transaction():
        await other.execute("select from pending_subjects where subject = $1 for update", first)
        assert await claimed(database) == [2]
