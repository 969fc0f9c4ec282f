"""What every event has: a fact about one subject, thin enough that it tells nothing about a person."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt

from cv_contracts.wire.common import AwareDateTime, Guid


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of range") from None


Version = Annotated[StrictInt, Field(ge=0, lt=2**63)]
"""Microseconds since 1970, or one more than the subject's previous version: it rises per subject, also after a restore."""


class Event(BaseModel):
    """A fact, in the past tense. It says that a subject changed; what it is now is asked of its owner.

    `id` is random and the same in every repeated delivery. `subject` is a person id or a CV id and the key of the
    record. Fields that a reader does not know are ignored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    TYPE: ClassVar[str]

    id: Guid
    subject: Guid
    version: Version
    time: Annotated[AwareDateTime, AfterValidator(_in_utc)]


ENVELOPE_FIELDS = frozenset({"id", "subject", "time"})
"""Travel as CloudEvents attributes; every other field is data."""
