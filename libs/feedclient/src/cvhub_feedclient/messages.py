"""What the feed says, as it says it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one CV or its citizen.

    `id` is the position, `event_id` the same in every repetition and equal to the MessageIdentifier of the write that made it.
    `change` says what happened where the kind alone does not; `left`: you have lost the citizen, `came`: you have got the
    citizen. `version` is that of what the kind is about, so compare it with earlier ones of the same subject and kind only.
    `cv_number` is the number as of now, None where it was withdrawn or the citizen is erased; a `cv-changed` of `deleted` and
    `left` have the former one where it was withdrawn. `deleted` asks you to delete what you have.
    """

    id: str
    event_id: str
    type: str
    subject: str
    time: str
    deleted: bool
    change: str | None
    version: int | None
    cv_number: str | None

    @property
    def kind(self) -> str:
        """Give the short name, such as `cv-changed`."""
        return self.type.split(".")[3]

    @property
    def is_goodbye(self) -> bool:
        """Tell whether you may keep nothing of the subject: erased, or no longer yours."""
        return self.deleted or (self.kind == "citizen-handed-over" and self.change == "left")

    @property
    def has_come(self) -> bool:
        """Tell whether the citizen is yours from now on: fetch the CV, for nothing that was before comes here."""
        return self.kind == "citizen-handed-over" and self.change == "came"

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        data: Mapping[str, Any] = raw.get("data") or {}
        return cls(
            id=raw["id"],
            event_id=raw["eventid"],
            type=raw["type"],
            subject=raw["subject"],
            time=raw["time"],
            deleted=raw.get("method") == "DELETE",
            change=data.get("change"),
            version=data.get("version"),
            cv_number=data.get("cvNumber"),
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Events, and the range `(start, end]` in which there are no others that you may see.

    `more` says that the feed has more after it already, though perhaps nothing that you see or asked for.
    """

    events: Sequence[Event]
    start: str
    end: str
    more: bool


@dataclass(frozen=True, slots=True)
class Present:
    """A CV of a snapshot, at its version as of the snapshot's position, which is comparable with those of `cv-changed`."""

    subject: str
    cv_number: str | None
    version: int
    change: str | None


@dataclass(frozen=True, slots=True)
class SnapshotPage:
    """CVs by key order; `following` is where to go on, None after the last. `position` is where to follow from."""

    items: Sequence[Present]
    position: str
    following: str | None
