"""A caller who hangs up ends the work for that call, as long as it is looked after, and nothing else."""

import asyncio
from typing import Any

import pytest

from cv_gateway.departure import LOOK_AFTER_SECONDS, Departure


class Caller:
    """Sends a body and hangs up when a test says so; `looked` tells that somebody waits for it."""

    def __init__(self) -> None:
        self.looked = 0
        self.hung_up = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        self.looked += 1
        if self.looked == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.hung_up.wait()
        return {"type": "http.disconnect"}


async def test_who_hangs_up_cancels_the_work() -> None:
    caller = Caller()
    caller.hung_up.set()
    departure = Departure(caller.receive)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(20 * LOOK_AFTER_SECONDS)
    assert departure.gone


@pytest.mark.parametrize(("worked", "looked"), [(0.0, 0), (2 * LOOK_AFTER_SECONDS, 2)])
async def test_after_the_work_nobody_looks_and_nothing_is_cancelled(worked: float, looked: int) -> None:
    caller = Caller()
    departure = Departure(caller.receive)
    await asyncio.sleep(worked)
    departure.stop()
    caller.hung_up.set()
    await asyncio.sleep(2 * LOOK_AFTER_SECONDS)
    assert (departure.gone, caller.looked) == (False, looked)
