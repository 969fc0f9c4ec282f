"""A dictionary that cannot grow without end."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """Remembers at most `size` entries; the one put first leaves first, so that a lookup is a dictionary's lookup.

    An entry that takes more memory than others may be put with a `weight`: it takes the place of so many of them.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: dict[K, V] = {}
        self._heavy: dict[K, int] = {}
        self._weight = 0
        self.get = self._entries.get

    def put(self, key: K, value: V, weight: int = 1) -> None:
        if key in self._entries:
            self._forget(key)
        self._entries[key] = value
        self._weight += weight
        if weight > 1:
            self._heavy[key] = weight
        while self._weight > self._size:
            self._forget(next(iter(self._entries)))

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        self._entries.clear()
        self._heavy.clear()
        self._weight = 0

    def _forget(self, key: K) -> None:
        del self._entries[key]
        self._weight -= self._heavy.pop(key, 1)
