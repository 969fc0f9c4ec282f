"""What an owner says about a subject: its state, that it is erased, or that it knows nothing of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

__all__ = ["BadState", "Erased", "Known", "SubjectState", "Unknown", "from_wire"]


class BadState(ValueError):  # noqa: N818 - says what the answer is
    """An owner's answer that is none of the three. The text quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Known:
    """The subject as it is at its owner at `version`."""

    subject: UUID
    version: int
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Erased:
    """The owner has erased the subject, and says so: to be applied as an erasure."""

    subject: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """The owner knows nothing of the subject (restored, or behind). A passing fault, never an erasure."""

    subject: UUID


SubjectState = Known | Erased | Unknown


def from_wire(answer: object) -> SubjectState:
    """Read one state of an owner's answer; anything that is not exactly one of the three raises BadState."""
    if not isinstance(answer, Mapping):
        raise BadState("an answer is no object")
    subject = _subject(answer.get("subject"))
    state, erased, unknown = answer.get("state"), answer.get("erased"), answer.get("unknown")
    match (state, erased, unknown):
        case (None, None, True):
            return Unknown(subject)
        case (None, True, None):
            return Erased(subject, _version(answer.get("version")))
        case (dict(), None, None):
            return Known(subject, _version(answer.get("version")), state)
    raise BadState("an answer is neither a state, nor erased, nor unknown")


def _version(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    raise BadState("an answer has no version")


def _subject(value: object) -> UUID:
    try:
        return UUID(str(value))
    except ValueError:
        raise BadState("an answer has no subject") from None
