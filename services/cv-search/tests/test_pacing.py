"""When the index is written next: not too often, not just before something comes, at once when somebody waits."""

import asyncio
from collections.abc import Callable
from time import monotonic

from cv_search.pacing import MOMENT, Pace

EVERY = 0.3


async def rested(
    pace: Pace, worked: float = 0.0, after: float = 0.0, do: Callable[[], None] | None = None
) -> float:
    """Rest, with something happening meanwhile; gives how long."""
    if do is not None:
        asyncio.get_running_loop().call_later(after, do)
    begun = monotonic()
    await pace.rest(worked)
    return monotonic() - begun


async def test_what_is_new_already_is_taken_when_it_is_due() -> None:
    pace = Pace(EVERY)
    assert EVERY <= await rested(pace, after=0.02, do=pace.look) < EVERY + MOMENT
    assert EVERY / 2 <= await rested(pace, worked=EVERY / 2, after=0.02, do=pace.look) < EVERY


async def test_what_is_about_to_come_is_waited_for_and_nothing_else() -> None:
    pace = Pace(EVERY)
    soon = EVERY + MOMENT / 3
    assert soon <= await rested(pace, after=soon, do=pace.look) < EVERY + MOMENT
    assert await rested(pace) >= EVERY + MOMENT


async def test_who_waits_is_not_made_to_and_only_once() -> None:
    pace = Pace(10.0)
    assert await rested(pace, after=0.02, do=pace.hurry) < 5.0
    quick = Pace(EVERY)
    quick.hurry()
    assert await rested(quick) < EVERY
    assert await rested(quick) >= EVERY


async def test_work_that_takes_longer_is_followed_by_as_long_a_rest_and_no_longer_one_than_usual() -> None:
    pace = Pace(EVERY)
    pace.look()
    assert await rested(pace, worked=EVERY * 0.8) >= EVERY * 0.8
    pace.look()
    assert await rested(pace, worked=100 * EVERY) < 3 * EVERY
