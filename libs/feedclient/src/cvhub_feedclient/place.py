"""How far a copy is, and what whoever keeps the copy has to do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from cvhub_feedclient.messages import Event, Present

__all__ = ["Copy", "Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """How far a copy is. Keep it as it is, with the copy, in one transaction; `to_dict` gives plain JSON.

    `position` is where to follow from. While `building` a snapshot is read, up to `mark`. `repeats` is true after the feed was
    restored from a back-up: events may then come that you had before, under the same event ids. They bring the copy on from a
    snapshot that is older; what you do besides must not be done again.
    """

    position: str | None = None
    building: bool = True
    mark: str | None = None
    repeats: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {
            "position": self.position,
            "building": self.building,
            "mark": self.mark,
            "repeats": self.repeats,
        }

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Self:
        return cls(**kept)

    def at(self, position: str) -> "Place":
        return replace(self, position=position, building=False, mark=None)


class Copy(Protocol):
    """Your copy of the feed's citizens. Each method is one transaction of yours: the effect and the place, or neither.

    The place goes from `former` to `place`. If the one kept is another than `former` by then, the transaction must fail by
    Overtaken: another process keeps the same copy in step, and what this one has read is not what comes next.
    """

    async def place(self) -> Place:
        """Give the place kept with the copy; `Place()` for a copy that is empty and new."""
        ...

    async def begin(self, former: Place, place: Place) -> None:
        """Empty the copy, for the first page of a snapshot is there, and keep the place."""
        ...

    async def present(self, items: Sequence[Present], former: Place, place: Place) -> None:
        """Put a page of the snapshot into the copy, and keep the place."""
        ...

    async def happened(self, events: Sequence[Event], former: Place, place: Place) -> None:
        """Apply events in their order, and keep the place.

        With `place.repeats` they may be events that you know by their id: apply them to the copy, and do nothing else by them.
        """
        ...
