"""The pace of rounds: at once after a rest, so far apart in a hurry."""

import asyncio

from servicekit.pace import Pace


async def times_of(pace: Pace, turns: int) -> list[float]:
    loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    times = []
    for _ in range(turns):
        await pace.turn()
        times.append(loop.time() - begun)
    return times


async def test_the_first_round_begins_at_once_and_each_other_one_so_long_after_the_one_before() -> None:
    times = await times_of(Pace(0.05), 4)
    assert times[0] < 0.05
    # Against the plan and not the round before, which may have begun late on a busy machine.
    assert all(time >= number * 0.05 - 0.005 for number, time in enumerate(times))


async def test_after_a_rest_a_round_begins_at_once_and_what_was_not_used_is_not_made_up_for() -> None:
    pace = Pace(0.05)
    await pace.turn()
    await asyncio.sleep(0.2)
    times = await times_of(pace, 2)
    assert times[0] < 0.045
    assert times[1] >= 0.045


async def test_those_who_come_together_are_let_in_one_after_the_other() -> None:
    pace = Pace(0.02)
    loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    await asyncio.gather(*(pace.turn() for _ in range(5)))
    assert loop.time() - begun >= 0.075
