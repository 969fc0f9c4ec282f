"""How many requests one owner is given at once, by how soon it answers: what waits inside a busy owner only makes all of it late."""

from typing import Final

__all__ = ["LEAST", "Room"]

LEAST: Final = 16
WHEN_SLOW: Final = 0.98
WHEN_SWIFT: Final = 0.5


class Room:
    """Shrinks by a share with each slow answer, down to `least`, and grows by about half a place per round of swift ones, up to `most`."""

    def __init__(self, most: int, least: int = LEAST) -> None:
        self._most = float(most)
        self._least = float(min(least, most))
        self._size = self._most

    @property
    def size(self) -> int:
        return int(self._size)

    def answered(self, *, swiftly: bool) -> None:
        """Learn from an answer."""
        if swiftly:
            self._size = min(self._most, self._size + WHEN_SWIFT / self._size)
        else:
            self._size = max(self._least, self._size * WHEN_SLOW)
