"""Reads by key that share their round trips: those who come while a read is under way are in the next one together."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import asyncpg

from servicekit.data.postgres import Database
from servicekit.pace import Gathering

K = TypeVar("K", str, int)

LANES = 2
MOST = 64
SOON = 0.002
"""Seconds between two trips where many wait: a trip of one costs both sides nearly as much as a trip of many."""
PLANNED_FOR = 10
"""So many keys the server plans for where it does not know their number. Told fewer, it would plan each trip anew."""

Waiting = tuple[K, "asyncio.Future[asyncpg.Record | None]"]


class SharedReads(Generic[K]):
    """Gives one row by its key, from a query whose `$1` is an array of keys and whose column `key` says which row is whose.

    With `beside`, `$2` is an array of what that gives for each of the keys, at the same places.
    A read that nobody else wants begins at once. With many at the same time a round trip serves all that wait, so that
    the database and this process work per trip and not per read. What is answered was read after it was asked for.
    """

    def __init__(
        self,
        database: Database,
        query: str,
        key: str,
        *,
        beside: Callable[[K], object] | None = None,
        lanes: int = LANES,
    ) -> None:
        self._database = database
        self._query = query
        self._key = key
        self._beside: Callable[[K], object] | None = beside
        self._lanes = asyncio.Semaphore(lanes)
        self._pace = Gathering(SOON)
        self._waiting: list[Waiting[K]] = []
        self._gathering: asyncio.Task[None] | None = None
        self._trips: set[asyncio.Task[None]] = set()

    async def row(self, key: K) -> asyncpg.Record | None:
        """Give the row of this key, None if there is none; raises what the database raised for the whole trip."""
        answer: asyncio.Future[asyncpg.Record | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, answer))
        self._pace.came(len(self._waiting))
        if self._gathering is None:
            self._gathering = asyncio.create_task(self._gather())
        return await answer

    async def _gather(self) -> None:
        try:
            while self._waiting:
                await self._lanes.acquire()
                await self._pace.turn()
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                trip = asyncio.create_task(self._trip(batch))
                self._trips.add(trip)
                trip.add_done_callback(self._arrived)
        finally:
            self._gathering = None

    def _arrived(self, trip: asyncio.Task[None]) -> None:
        self._trips.discard(trip)
        self._lanes.release()

    async def _trip(self, batch: Sequence[Waiting[K]]) -> None:
        try:
            keys = list({key for key, _ in batch})
            keys += keys[:1] * (PLANNED_FOR - len(keys))
            given = [keys] if self._beside is None else [keys, [self._beside(key) for key in keys]]
            rows = await self._database.fetch(self._query, *given)
        except Exception as error:  # noqa: BLE001 - those who wait are told, whatever it was
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        found = {row[self._key]: row for row in rows}
        for key, answer in batch:
            if not answer.done():
                answer.set_result(found.get(key))
