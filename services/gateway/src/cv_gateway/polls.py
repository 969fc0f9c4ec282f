"""Polls of the feed, which wait for something to happen, and what becomes of them when this process is about to leave."""

import asyncio
import random
from typing import Final

from servicekit.web.connection import Answer
from servicekit.web.health import LEAVING_SECONDS
from servicekit.web.upstream import Forward, Owner

__all__ = ["Polls"]

LAST_LOOK_SECONDS: Final = 2.0
"""The feed keeps a second of the time it is given for its answer, and so waits for one at most."""


class Polls:
    """Polls under way. Once the process is about to leave, the feed is asked anew for each, for what it has now."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Timeout] = set()
        self._leaving = False

    async def send(self, owner: Owner, poll: Forward, deadline: float) -> Answer:
        """Give the feed's answer; raises an UpstreamError. `deadline` is in loop time."""
        if not self._leaving:
            try:
                async with asyncio.timeout(None) as waiting:
                    self._waiting.add(waiting)
                    return await owner.send(poll, deadline)
            except TimeoutError:
                pass
            finally:
                self._waiting.discard(waiting)
        now = asyncio.get_running_loop().time()
        return await owner.send(poll, min(deadline, now + LAST_LOOK_SECONDS))

    def leave(self) -> None:
        """Answer those who wait, one after the other: all of them ask somebody else at once."""
        self._leaving = True
        now = asyncio.get_running_loop().time()
        for waiting in self._waiting:
            waiting.reschedule(now + random.uniform(0, LEAVING_SECONDS))  # noqa: S311 - spreads load only
