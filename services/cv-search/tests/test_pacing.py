"""When the index is written next: not too often, not just before something comes, at once when somebody waits."""

import asyncio
from collections.abc import Callable

from cv_search.pacing import CommitPace
from servicekit.testing import in_skipped_time

EVERY, MOMENT, LONG = 0.25, 1.0, 16.0
SOON = 1 / 64
"""With parts of two alone no sum of seconds is rounded."""


async def rested(
    pace: CommitPace,
    worked: float = 0.0,
    after: float = 0.0,
    do: Callable[[], None] | None = None,
    *,
    found: bool = True,
) -> float:
    """Rest, with something happening meanwhile; gives how long."""
    loop = asyncio.get_running_loop()
    if do is not None:
        loop.call_later(after, do)
    begun = loop.time()
    await pace.rest(worked, found=found)
    return loop.time() - begun


@in_skipped_time
async def test_what_is_new_already_is_taken_when_it_is_due() -> None:
    pace = CommitPace(EVERY, MOMENT)
    assert await rested(pace, after=SOON, do=pace.look) == EVERY
    assert await rested(pace, worked=EVERY / 2, after=SOON, do=pace.look) == EVERY / 2


@in_skipped_time
async def test_what_is_about_to_come_is_waited_for_and_nothing_else() -> None:
    pace = CommitPace(EVERY, MOMENT)
    assert await rested(pace, after=EVERY + SOON, do=pace.look) == EVERY + SOON
    assert await rested(pace) == EVERY + MOMENT


@in_skipped_time
async def test_after_a_look_that_found_nothing_whatever_is_new_is_taken_at_once() -> None:
    pace = CommitPace(LONG)
    assert await rested(pace, after=SOON, do=pace.look, found=False) == SOON
    assert await rested(CommitPace(EVERY, LONG), found=False) == EVERY


@in_skipped_time
async def test_who_waits_is_not_made_to_and_only_once() -> None:
    pace = CommitPace(LONG)
    assert await rested(pace, after=SOON, do=pace.hurry) == SOON
    quick = CommitPace(EVERY, MOMENT)
    quick.hurry()
    assert await rested(quick) == 0
    assert await rested(quick) == EVERY + MOMENT


@in_skipped_time
async def test_work_that_takes_longer_is_followed_by_as_long_a_rest_and_no_longer_one_than_usual() -> None:
    pace = CommitPace(EVERY)
    pace.look()
    assert await rested(pace, worked=EVERY * 0.75) == EVERY * 0.75
    pace.look()
    assert await rested(pace, worked=100 * LONG) == EVERY
