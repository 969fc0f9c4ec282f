"""When to go on: in rounds that share more of the work when there is much of it, or as soon as somebody says so."""

import asyncio
from collections import deque

__all__ = ["ENOUGH", "SELDOM", "Gathering", "set_within"]

LATE = 0.02
"""Seconds between rounds under steady traffic. Shared reads and access rows use the same value on purpose: reads answered
together reach the access log together and wait only once."""
ENOUGH = 8
"""So many that wait are worth a round that begins soon."""
SELDOM = 6
"""Where fewer than this come within the time between late rounds, none of them waits for others."""


class Gathering:
    """Lets rounds begin at least `soon` seconds apart where few come, or enough wait for one, and otherwise `late`.

    For rounds that cost nearly the same for one as for many: one who comes alone, or again and again, is served soon, many
    are served often, and those who come singly but all the time do not get a round each.
    """

    def __init__(self, soon: float, late: float = LATE) -> None:
        self._soon = soon
        self._late = late
        self._begun = -late
        self._came: deque[float] = deque(maxlen=SELDOM)
        self._enough = asyncio.Event()

    def came(self, waiting: int) -> None:
        """Say that one more has come, and how many wait now."""
        self._came.append(asyncio.get_running_loop().time())
        if waiting >= ENOUGH:
            self._enough.set()

    async def turn(self) -> None:
        """Wait until the next round may begin. To be called by one task only."""
        time = asyncio.get_running_loop().time
        if (left := self._begun + self._soon - time()) > 0:
            await asyncio.sleep(left)
        if (left := self._begun + self._late - time()) > 0 and not self._is_quiet(time()):
            await set_within(self._enough, left)
        self._enough.clear()
        self._begun = time()

    def _is_quiet(self, now: float) -> bool:
        return len(self._came) < SELDOM or self._came[0] < now - self._late


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set, but not longer than that; tells whether it is."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
