"""Reads that many want at the same moment, as those do who were waiting for the same arrival."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["Shared"]

K = TypeVar("K")
T = TypeVar("T")


class Shared(Generic[K, T]):
    """Callers that arrive before the read starts share it, later ones start a new one: nobody gets data older than their call."""

    def __init__(self, read: Callable[[K], Awaitable[T]]) -> None:
        self._read = read
        self._coming: dict[K, asyncio.Task[T]] = {}

    async def get(self, key: K) -> T:
        """Give what is read for the key, which nobody may change; raises what the read raised."""
        coming = self._coming.get(key)
        if coming is None:
            coming = self._coming[key] = asyncio.create_task(self._begin(key))
        return await asyncio.shield(coming)

    async def _begin(self, key: K) -> T:
        del self._coming[key]
        return await self._read(key)
