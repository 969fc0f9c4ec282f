"""Inputs of GET methods: query parameters with the seeds' names."""

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from cv_contracts.wire.common import Wire

FROZEN_STATUSES = (2, 3, 5)
MOST_DIGITS = 9
"""As many as a page needs, and one fewer than a person number has: zeros in front count too."""
TWICE = "is there twice"
_TWICE = PydanticCustomError("cv_twice", TWICE)


class Query(Wire):
    """Query parameters; each at most once, an unknown one is refused."""

    @classmethod
    def from_query(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """Read decoded parameters; raises pydantic's ValidationError, which `read_query` turns into a fault."""
        values: dict[str, str] = {}
        for name, value in pairs:
            if name in values:
                loc = (name,) if name in cls.model_fields else ()
                twice = InitErrorDetails(type=_TWICE, loc=loc, input=None)
                raise ValidationError.from_exception_data(cls.__name__, [twice], hide_input=True)
            values[name] = value
        return cls.model_validate_strings(values)


def _digits(value: object) -> object:
    if not isinstance(value, int) and not (isinstance(value, str) and value.isascii() and value.isdigit()):
        raise PydanticCustomError("cv_form", "is not a whole number")
    return value


def _few(value: object) -> object:
    if isinstance(value, str) and len(value) > MOST_DIGITS:
        raise PydanticCustomError("cv_form", "has more than nine digits")
    return value


def _frozen(value: int) -> int:
    if value not in FROZEN_STATUSES:
        raise PydanticCustomError("cv_form", "is not one of 2, 3 and 5")
    return value


AllowedCVStatusIdentifier = Annotated[
    int,
    Field(strict=False, json_schema_extra={"enum": list(FROZEN_STATUSES)}),
    BeforeValidator(_digits),
    AfterValidator(_frozen),
]
PageNumber = Annotated[
    int,
    Field(strict=False, ge=1, le=10**MOST_DIGITS - 1),
    BeforeValidator(_few),
    BeforeValidator(_digits),
]
