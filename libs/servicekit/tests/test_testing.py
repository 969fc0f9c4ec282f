"""`eventually` waits for what will be true soon, and tells what was wrong when it never was; and what else tests need."""

import asyncio
import os
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from servicekit.testing import StillFailing, end, eventually, free_port, in_skipped_time, ports_of_worker

SOON = timedelta(milliseconds=60)


def after(times: int, failure: Exception | None = None) -> Callable[[], bool]:
    seen = 0

    def check() -> bool:
        nonlocal seen
        seen += 1
        if seen < times and failure is not None:
            raise failure
        return seen >= times

    return check


async def test_it_waits_until_a_check_holds() -> None:
    assert await eventually(after(3), every=timedelta(milliseconds=1)) is True
    assert await eventually(after(3, AssertionError("not yet")), every=timedelta(milliseconds=1)) is True


async def test_it_gives_what_the_check_returned_also_from_a_coroutine() -> None:
    async def answer() -> str:
        return "found"

    assert await eventually(answer) == "found"
    assert await eventually(lambda: 0) == 0


async def test_it_shows_the_last_failure_when_the_time_is_up() -> None:
    def never() -> None:
        assert [1] == [2]

    with pytest.raises(
        StillFailing, match=r"never still fails after \d+ attempts in 0.06 s; last: AssertionError"
    ) as caught:
        await eventually(never, SOON, every=timedelta(milliseconds=5))
    assert isinstance(caught.value.__cause__, AssertionError)


async def test_it_says_so_when_the_check_was_only_false() -> None:
    with pytest.raises(StillFailing, match="returned False"):
        await eventually(lambda: False, SOON)


async def test_a_check_that_hangs_is_given_up_in_time() -> None:
    with pytest.raises(StillFailing, match="TimeoutError"):
        await eventually(asyncio.Event().wait, SOON)


async def test_a_check_is_tried_at_least_once() -> None:
    assert await eventually(lambda: True, timedelta(0))


async def test_a_last_attempt_without_time_to_end_does_not_hide_what_was_wrong_before() -> None:
    tried = False

    async def check() -> None:
        nonlocal tried
        before, tried = tried, True
        assert before
        await asyncio.Event().wait()

    with pytest.raises(StillFailing, match="last: AssertionError"):
        await eventually(check, SOON)


def test_skipped_time_passes_for_the_test_and_not_for_who_waits_for_it() -> None:
    passed = []

    @in_skipped_time
    async def an_hour() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 3600)
        passed.append(asyncio.get_running_loop().time())

    begun = time.monotonic()
    an_hour()
    assert passed == [3600]
    assert time.monotonic() - begun < 60


async def test_what_ran_beside_a_test_tells_at_its_end_what_it_had_died_of() -> None:
    async def fails() -> None:
        pytest.fail("out of order")

    fine, failing = asyncio.create_task(asyncio.Event().wait()), asyncio.create_task(fails())
    await asyncio.wait({failing})
    with pytest.raises(pytest.fail.Exception, match="out of order"):
        await end(fine, failing)
    assert fine.cancelled()


def test_no_two_workers_are_given_the_same_port() -> None:
    every = ports_of_worker({})
    mine = [
        ports_of_worker({"PYTEST_XDIST_WORKER": f"gw{number}", "PYTEST_XDIST_WORKER_COUNT": "3"})
        for number in range(3)
    ]
    assert sorted(port for ports in mine for port in ports) == sorted(every)
    assert free_port() in ports_of_worker(os.environ)
