"""How many requests are worked on at once, and how those are refused that there is no room for."""

from dataclasses import dataclass
from types import TracebackType

from cv_contracts.faults import Fault, Unavailable
from cv_contracts.methods import Method
from servicekit.observe import metrics


class Shed(Unavailable):
    """More requests at once than there is room for; refused before any work."""

    def __init__(self) -> None:
        metrics.count("requests.shed")
        super().__init__()


class Busy(Fault):
    """More calls at once than their owner answers soon; refused before any work, as if the owner were away."""

    def __init__(self, method: Method) -> None:
        metrics.count("requests.shed")
        super().__init__(method.unreachable_fault)


@dataclass(slots=True)
class Lane:
    """Requests of one sort that are worked on, and how many there may be: those that wait take nothing from the others."""

    room: int
    busy: int = 0

    def __enter__(self) -> None:
        """Take a place; raises Shed when there is none."""
        if self.busy >= self.room:
            raise Shed
        self.busy += 1

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.busy -= 1
