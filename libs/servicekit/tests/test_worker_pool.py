"""Worker processes: each piece of work is answered, refused, or costs its own process and nobody else's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest

from servicekit.testing import eventually
from servicekit.worker_pool import TooSlow, WorkCrowded, WorkerDied, Workers, WorkersPlan, WorkRefused

pytestmark = pytest.mark.slow

PROGRAM = """
import os, time
from servicekit.worker_process import FAILED, WORKED, serve

def work(frame):
    said = frame.decode()
    if said == "die":
        os._exit(3)
    if said == "spin":
        while True:
            pass
    if said == "sleep":
        time.sleep(60)
    return (FAILED, b"no") if said == "refuse" else (WORKED, frame.upper())

serve(work, 0.3)
"""


@asynccontextmanager
async def workers(**options: Any) -> AsyncIterator[Workers]:
    plan = {"processes": 1, "timeout": 5.0, "pieces": 1_000, "waiting": 10, **options}
    async with Workers(WorkersPlan(program=("-c", PROGRAM), **plan)) as pool:
        await eventually(lambda: len(pool.pids) == plan["processes"])
        yield pool


async def test_work_is_answered_and_a_refusal_costs_nothing() -> None:
    async with workers() as pool:
        before = pool.pids
        assert await pool.work(b"et ord") == b"ET ORD"
        with pytest.raises(WorkRefused) as refused:
            await pool.work(b"refuse")
        assert refused.value.said == b"no"
        assert await pool.work(b"to") == b"TO"
        assert pool.pids == before


async def test_what_takes_too_much_of_a_processor_is_ended_by_the_kernel_and_nothing_goes_on() -> None:
    async with workers() as pool:
        [pid] = pool.pids
        with pytest.raises(TooSlow):
            await pool.work(b"spin")
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        assert await pool.work(b"igen") == b"IGEN"


async def test_what_takes_too_long_by_the_clock_is_killed() -> None:
    async with workers(timeout=1.5) as pool:
        with pytest.raises(TooSlow):
            await pool.work(b"sleep")
        assert await pool.work(b"igen") == b"IGEN"


async def test_work_that_kills_its_process_is_tried_once_more_and_then_given_up() -> None:
    async with workers() as pool:
        with pytest.raises(WorkerDied):
            await pool.work(b"die")
        assert await pool.work(b"igen") == b"IGEN"


async def test_more_than_may_wait_is_refused_at_once() -> None:
    async with workers(timeout=1.5, waiting=1) as pool:
        slow = asyncio.gather(*(pool.work(b"sleep") for _ in range(2)), return_exceptions=True)
        await asyncio.sleep(0)
        with pytest.raises(WorkCrowded):
            await pool.work(b"en til")
        assert [type(outcome) for outcome in await slow] == [TooSlow, TooSlow]


async def test_a_process_is_replaced_when_it_is_worn_out_and_none_is_left_at_the_end() -> None:
    async with workers(pieces=1) as pool:
        first = pool.pids
        await pool.work(b"en")
        await eventually(lambda: pool.pids not in ([], first))
        last = pool.pids
    assert not any(psutil.pid_exists(pid) for pid in (*first, *last))


async def test_whoever_stops_waiting_leaves_nothing_running() -> None:
    async with workers() as pool:
        [pid] = pool.pids
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.work(b"sleep"), 0.2)
        await eventually(lambda: not psutil.pid_exists(pid))
