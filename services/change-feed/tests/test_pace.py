"""The pace of batches: at once after a rest, so far apart in a hurry."""

import asyncio

from change_feed.leading import Pace
from servicekit.testing import in_skipped_time

APART = 1 / 16


async def times_of(pace: Pace, turns: int) -> list[float]:
    loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    times = []
    for _ in range(turns):
        await pace.turn()
        times.append(loop.time() - begun)
    return times


@in_skipped_time
async def test_the_first_round_begins_at_once_and_each_other_one_so_long_after_the_one_before() -> None:
    assert await times_of(Pace(APART), 4) == [0, APART, 2 * APART, 3 * APART]


@in_skipped_time
async def test_after_a_rest_a_round_begins_at_once_and_what_was_not_used_is_not_made_up_for() -> None:
    pace = Pace(APART)
    await pace.turn()
    await asyncio.sleep(4 * APART)
    assert await times_of(pace, 2) == [0, APART]


@in_skipped_time
async def test_those_who_come_together_are_let_in_one_after_the_other() -> None:
    pace = Pace(APART)
    loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    await asyncio.gather(*(pace.turn() for _ in range(5)))
    assert loop.time() - begun == 4 * APART
