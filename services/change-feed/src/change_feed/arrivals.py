"""Wakes those who wait for entries of their scope, and nobody else, however many wait."""

import asyncio
import random
from datetime import timedelta
from typing import Final

import structlog

from change_feed.store import FeedStore
from change_feed.writing import now_position
from servicekit.data.postgres import passing_trouble
from servicekit.pace import set_within
from servicekit.web.health import LEAVING_SECONDS

__all__ = ["Arrivals"]

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = timedelta(milliseconds=100)
"""How soon a process hears of what another one wrote; its own writes it hears of at once."""


class Arrivals:
    """The waiting of one process. `run` looks what has arrived for whom; take a ticket before you look yourself."""

    def __init__(self, store: FeedStore) -> None:
        self._store = store
        self._moved = asyncio.Event()
        self._waiting: dict[int, asyncio.Event] = {}
        self._seen: int | None = None
        self._begun = now_position()
        self.leaving = False
        """Whether the process is about to leave: from then on nobody waits."""

    @property
    def edge_age(self) -> float:
        """Seconds since the moment up to which everything has arrived, as last looked; while there is no feed, since the start."""
        return (now_position() - (self._seen or self._begun)) / 1e6

    def moved(self) -> None:
        """Tell that this process has written."""
        self._moved.set()

    async def wait(self, ticket: asyncio.Event) -> None:
        """Wait until something arrives, or the process is about to leave: then not all at once, as all ask anew."""
        await ticket.wait()
        if self.leaving:
            await asyncio.sleep(random.uniform(0, LEAVING_SECONDS))  # noqa: S311 - spreads load only

    def leave(self) -> None:
        """Wake everybody, as the process is about to leave."""
        self.leaving = True
        for ticket in self._waiting.values():
            ticket.set()

    def ticket(self, scope: int) -> asyncio.Event:
        """Give an event that is set once something arrives for the scope. Scope 0, which nobody knows yet, hears of everything."""
        return self._waiting.setdefault(scope, asyncio.Event())

    async def run(self) -> None:
        """Wake whoever waits, until cancelled."""
        while True:
            await set_within(self._moved, LOOK_EVERY.total_seconds())
            self._moved.clear()
            try:
                await self._look()
            except Exception as error:
                if passing_trouble(error) is None:
                    raise
                log.warning("arrivals_wait", error_type=type(error).__name__)

    async def _look(self) -> None:
        now = await self._store.edge()
        if now is None:
            return
        if self._seen is not None and self._waiting and now.edge > self._seen:
            scopes = await self._store.arrived(self._seen, now.edge)
            for scope in [*scopes, 0] if scopes else ():
                ticket = self._waiting.pop(scope, None)
                if ticket is not None:
                    ticket.set()
        self._seen = now.edge
