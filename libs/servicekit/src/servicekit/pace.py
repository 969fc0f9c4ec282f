"""Rounds that begin at once when there is little to do, and share more of the work when there is much."""

import asyncio

__all__ = ["Pace"]


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
