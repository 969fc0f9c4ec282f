"""When the writer looks for changes again: as often as commits are wanted, together with the batches that bring the changes."""

import asyncio
from typing import Final

from servicekit.pace import set_within

__all__ = ["CommitPace"]

MOMENT: Final = 0.15
"""So long a commit that is due waits for what is about to come: each batch of the follower has one of its own then."""


class CommitPace:
    """Counts from the begin of one turn of work to that of the next."""

    def __init__(self, every: float, moment: float = MOMENT) -> None:
        self._every = every
        self._moment = moment
        self._hurry = asyncio.Event()
        self._news = asyncio.Event()

    def hurry(self) -> None:
        """Let the next turn begin now: somebody waits for it."""
        self._hurry.set()
        self._news.set()

    def look(self) -> None:
        """Let the next turn begin as soon as it is due: there is something new."""
        self._news.set()

    async def rest(self, worked: float, *, found: bool) -> None:
        """Wait for the next turn after one that took so many seconds; rest as long as it worked, for others work too.

        After one that `found` nothing the next one is due as soon as there is something new.
        """
        if not found:
            await set_within(self._news, self._every)
        elif not await set_within(self._hurry, max(self._every - worked, min(worked, self._every))):
            await set_within(self._news, self._moment)
        self._hurry.clear()
        self._news.clear()
