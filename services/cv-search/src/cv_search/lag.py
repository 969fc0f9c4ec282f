"""How old the oldest change is that an index does not hold, as far as was seen."""

from time import monotonic

from cv_search.store import Edge

__all__ = ["Lag"]


class Lag:
    """How long one change has been awaited; once it is reached, the newest is awaited next. New changes alone never make the lag grow."""

    def __init__(self) -> None:
        self._awaited: int | None = None
        self._since = 0.0

    @property
    def seconds(self) -> float:
        """For how long the change is awaited by now; 0 where nothing is behind."""
        return 0.0 if self._awaited is None else monotonic() - self._since

    def measure(self, position: int | None, edge: Edge) -> None:
        """Look how far an index is that holds all changes up to a position; None where there is none."""
        if edge.made_from is None or (position is not None and position >= edge.change):
            self._awaited = None
        elif self._awaited is None or (position is not None and position >= self._awaited):
            self._awaited, self._since = edge.change, monotonic()
