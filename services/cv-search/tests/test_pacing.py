"""When the index is written next: not too often, not just before something comes, at once when somebody waits."""

import asyncio
from collections.abc import Callable
from time import monotonic

from cv_search.pacing import Pace

EVERY, MOMENT, LONG = 0.3, 1.0, 20.0


async def rested(
    pace: Pace,
    worked: float = 0.0,
    after: float = 0.0,
    do: Callable[[], None] | None = None,
    *,
    found: bool = True,
) -> float:
    """Rest, with something happening meanwhile; gives how long."""
    if do is not None:
        asyncio.get_running_loop().call_later(after, do)
    begun = monotonic()
    await pace.rest(worked, found=found)
    return monotonic() - begun


async def test_what_is_new_already_is_taken_when_it_is_due() -> None:
    pace = Pace(EVERY, MOMENT)
    assert EVERY <= await rested(pace, after=0.02, do=pace.look) < EVERY + MOMENT
    assert EVERY / 2 <= await rested(pace, worked=EVERY / 2, after=0.02, do=pace.look) < EVERY / 2 + MOMENT


async def test_what_is_about_to_come_is_waited_for_and_nothing_else() -> None:
    pace = Pace(EVERY, MOMENT)
    soon = EVERY + 0.05
    assert soon <= await rested(pace, after=soon, do=pace.look) < EVERY + MOMENT
    assert await rested(pace) >= EVERY + MOMENT


async def test_after_a_look_that_found_nothing_whatever_is_new_is_taken_at_once() -> None:
    pace = Pace(LONG)
    assert 0.02 <= await rested(pace, after=0.02, do=pace.look, found=False) < LONG
    assert await rested(Pace(EVERY, LONG), found=False) < LONG


async def test_who_waits_is_not_made_to_and_only_once() -> None:
    pace = Pace(LONG)
    assert await rested(pace, after=0.02, do=pace.hurry) < LONG
    quick = Pace(EVERY, MOMENT)
    quick.hurry()
    assert await rested(quick) < EVERY + MOMENT
    assert await rested(quick) >= EVERY + MOMENT


async def test_work_that_takes_longer_is_followed_by_as_long_a_rest_and_no_longer_one_than_usual() -> None:
    pace = Pace(EVERY)
    pace.look()
    assert await rested(pace, worked=EVERY * 0.8) >= EVERY * 0.8
    pace.look()
    assert await rested(pace, worked=100 * LONG) < LONG
