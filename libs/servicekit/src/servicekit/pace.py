"""When to go on: in rounds that share more of the work when there is much of it, or as soon as somebody says so."""

import asyncio

__all__ = ["LATE", "Gathering", "Pace", "set_within"]

LATE = 0.02
"""Seconds between two rounds where few wait. The same for rounds that follow each other: what comes out of one together is in
the next one together, and waits once."""


class Pace:
    """Lets rounds begin at least so many seconds apart: those who come in between are in the next one together."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until the next round may begin; not at all when the last one was longer ago."""
        now = asyncio.get_running_loop().time()
        begin = max(now, self._next)
        self._next = begin + self._seconds
        if begin > now:
            await asyncio.sleep(begin - now)


class Gathering:
    """Lets rounds begin at least `soon` seconds apart where enough wait for one, and `late` where few do.

    For rounds that cost nearly the same for one as for many: one alone is served at once after a rest, many are served often,
    and those who come singly but all the time do not get a round each.
    """

    def __init__(self, soon: float, late: float) -> None:
        self._soon = soon
        self._late = late
        self._begun = -late
        self._enough = asyncio.Event()

    def enough(self) -> None:
        """Say that so many wait that more are not worth waiting for."""
        self._enough.set()

    async def turn(self) -> None:
        """Wait until the next round may begin. To be called by one task only."""
        time = asyncio.get_running_loop().time
        if (left := self._begun + self._soon - time()) > 0:
            await asyncio.sleep(left)
        if (left := self._begun + self._late - time()) > 0:
            await set_within(self._enough, left)
        self._enough.clear()
        self._begun = time()


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set, but not longer than that; tells whether it is."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
