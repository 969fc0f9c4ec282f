"""When to go on: in rounds that share more of the work when there is much of it, or as soon as somebody says so."""

import asyncio

__all__ = ["Pace", "set_within"]


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


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set, but not longer than that; tells whether it is."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
