"""What the lists' codes, names and numbers must fit: the elements of the messages that carry them, and the rows that hold them."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from cv_contracts.wire.common import INT_MAX, MunicipalityCodeType, MunicipalityNameType, NameType
from cv_contracts.wire.cv_parts import LanguageCodeType
from cv_contracts.wire.cv_profile import LanguageNameType
from cv_contracts.wire.errors import faults_of

__all__ = ["ROLES", "check_number", "check_text"]

ROLES: Final = ("cv_statuses", "contact_data_types", "contact_statuses")
"""Lists whose entries code knows by their role."""
_IN_ROWS: Final = (*ROLES, "user_types", "organisation_types")
"""Lists whose numbers stand in rows, as smallint."""
SMALLINT_MAX: Final = 2**15 - 1

_ELEMENTS: Final[Mapping[tuple[str, str], Any]] = {
    ("municipalities", "code"): MunicipalityCodeType,
    ("municipalities", "name"): MunicipalityNameType,
    ("languages", "code"): LanguageCodeType,
    ("languages", "name"): LanguageNameType,
    ("driver_licences", "name"): NameType,
    ("occupations", "title"): NameType,
    ("qualifications", "name"): NameType,
    ("educations", "title"): NameType,
    ("conditions", "name"): NameType,
    ("postal_codes", "city"): NameType,
}
_FORMS: Final = {place: TypeAdapter[str](element) for place, element in _ELEMENTS.items()}


def check_text(name: str, column: str, value: str) -> None:
    """Raise ValueError where no message could carry this value of a list's column."""
    form = _FORMS.get((name, column))
    if form is None:
        return
    try:
        form.validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{column} {faults_of(error).errors[0].reason}") from None


def check_number(name: str, column: str, value: int) -> None:
    """Raise ValueError where the number is none of the wire's `int`, or no row could hold it."""
    largest = SMALLINT_MAX if name in _IN_ROWS else INT_MAX
    if value > largest:
        raise ValueError(f"{column} is more than {largest}")
