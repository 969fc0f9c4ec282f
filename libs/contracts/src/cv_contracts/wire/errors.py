"""From pydantic's errors to fault 1014: the element as it is spelled on the wire and a reason, never the input."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from cv_contracts.faults import Fault, FieldError
from cv_contracts.wire.common import Wire
from cv_contracts.wire.query import TWICE, Query
from cv_contracts.wire.repeats import repeated

M = TypeVar("M", bound=Wire)
Q = TypeVar("Q", bound=Query)

NOT_VALID: Final = 1014
BODY: Final = "body"
QUERY: Final = "query"
"""Stand for the whole message where no element can be named."""
ERRORS_MAX: Final = 50
_UNION_TAGS: Final = frozenset({"text", "typed"})

_REASONS: Final[dict[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "holds an element that is not known here",
    "string_type": "is not a string",
    "string_too_short": "is shorter than {min_length}",
    "string_too_long": "is longer than {max_length}",
    "string_pattern_mismatch": "does not have the form required",
    "too_short": "holds fewer than {min_length}",
    "too_long": "holds more than {max_length}",
    "literal_error": "is not one of {expected}",
    "int_type": "is not an integer",
    "int_parsing": "is not an integer",
    "int_parsing_size": "is out of range",
    "int_from_float": "is not an integer",
    "float_type": "is not a number",
    "float_parsing": "is not a number",
    "finite_number": "is not a number",
    "bool_type": "is not true or false",
    "bool_parsing": "is not true or false",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
    "tuple_type": "is not an array",
    "model_type": "is not an object",
    "model_attributes_type": "is not an object",
    "date_from_datetime_inexact": "is not a date",
    "date_from_datetime_parsing": "is not a date",
    "date_parsing": "is not a date",
    "datetime_from_date_parsing": "is not a dateTime",
    "datetime_parsing": "is not a dateTime",
    "json_invalid": "is not valid JSON",
}


def bad_form(element: str, value: str | None) -> FieldError:
    """Say of a header that its value has not the form required, or that there is none."""
    return FieldError(element, _REASONS["string_pattern_mismatch" if value else "missing"])


def read_body(model: type[M], body: bytes) -> M:
    """Read a body; raises fault 1014 with what is wrong about it, which an element that is there twice is too."""
    if not body:
        raise Fault(NOT_VALID, (FieldError(BODY, "is empty"),))
    try:
        message = model.from_json(body)
    except ValidationError as error:
        raise faults_of(error) from None
    if twice := repeated(body)[:ERRORS_MAX]:
        raise Fault(NOT_VALID, tuple(FieldError(element(place), TWICE) for place in twice))
    return message


def read_query(model: type[Q], pairs: Iterable[tuple[str, str]]) -> Q:
    """Read decoded query parameters; raises fault 1014 with what is wrong about them."""
    try:
        return model.from_query(pairs)
    except ValidationError as error:
        raise faults_of(error, QUERY) from None


def faults_of(error: ValidationError, whole: str = BODY) -> Fault:
    """Give fault 1014 with what was wrong, at most `ERRORS_MAX` elements of it."""
    return fault_of_details(error.errors(include_url=False, include_input=False), whole)


def fault_of_details(found: Sequence[Any], whole: str = BODY) -> Fault:
    """Do the same for a list of pydantic's error details, such as a web framework gives."""
    told = [one for one in found if not _only_follows(one, found)]
    return Fault(NOT_VALID, errors=tuple(_field_error(one, whole) for one in told[:ERRORS_MAX]))


def _only_follows(one: Any, found: Sequence[Any]) -> bool:
    """Tell whether a collection is called too short only because entries of it are refused, which are told themselves."""
    place = one["loc"]
    return one["type"] == "too_short" and any(
        other["loc"][: len(place)] == place != other["loc"] for other in found
    )


def _field_error(one: Any, whole: str) -> FieldError:
    """Describe one error. The name of an unknown element is the caller's own text, so its parent is named."""
    kind = one["type"]
    loc = one["loc"][:-1] if kind == "extra_forbidden" else one["loc"]
    if kind.startswith("cv_"):
        return FieldError(element(loc, whole), one["msg"])
    reason = _REASONS.get(kind, "is not valid")
    return FieldError(element(loc, whole), reason.format_map(one.get("ctx", {})))


def element(loc: tuple[int | str, ...], whole: str = BODY) -> str:
    """Spell a path as on the wire: CV.EducationCollection[0].Title."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _UNION_TAGS:
            path += f".{part}" if path else part
    return path or whole
