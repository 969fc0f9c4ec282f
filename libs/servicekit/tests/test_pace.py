"""The pace of rounds: late for those who come singly, sooner for many; and waiting for at most so long."""

import asyncio

from servicekit.pace import ENOUGH, SELDOM, Gathering, set_within
from servicekit.testing import in_skipped_time

APART = 1 / 16


def come(gathering: Gathering, number: int) -> None:
    for waiting in range(1, number + 1):
        gathering.came(waiting)


@in_skipped_time
async def test_a_gathering_round_begins_late_for_some_and_soon_for_enough() -> None:
    gathering = Gathering(soon=APART, late=4 * APART)
    loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()

    async def turn() -> float:
        await gathering.turn()
        return loop.time() - begun

    come(gathering, SELDOM)
    assert await turn() == 0
    come(gathering, SELDOM)
    assert await turn() == 4 * APART
    come(gathering, ENOUGH)
    assert await turn() == 5 * APART
    loop.call_later(2 * APART, come, gathering, ENOUGH)
    come(gathering, SELDOM)
    assert await turn() == 7 * APART
    come(gathering, SELDOM)
    assert await turn() == 11 * APART
    await asyncio.sleep(4 * APART)
    come(gathering, SELDOM)
    assert await turn() == 15 * APART


@in_skipped_time
async def test_who_comes_again_and_again_does_not_wait_for_others_where_there_are_few() -> None:
    gathering = Gathering(soon=APART, late=4 * APART)
    loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    for number in range(3 * SELDOM):
        gathering.came(1)
        await gathering.turn()
        assert loop.time() - begun == number * APART


@in_skipped_time
async def test_those_who_come_singly_but_all_the_time_share_late_rounds() -> None:
    late = 1.0
    gathering = Gathering(soon=late / 64, late=late)
    loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()

    async def coming() -> None:
        while True:
            gathering.came(1)
            await asyncio.sleep(late / 16)

    coming_all_the_time = asyncio.create_task(coming())
    await asyncio.sleep(late)
    times = []
    for _ in range(4):
        await gathering.turn()
        times.append(loop.time() - begun)
    coming_all_the_time.cancel()
    assert times == [late, 2 * late, 3 * late, 4 * late]


@in_skipped_time
async def test_an_event_is_waited_for_and_not_longer_than_said() -> None:
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    assert await set_within(event, APART) is False
    assert loop.time() == APART
    loop.call_later(APART, event.set)
    assert await set_within(event, 60) is True
    assert loop.time() == 2 * APART
    assert await set_within(event, 60) is True
    assert loop.time() == 2 * APART
