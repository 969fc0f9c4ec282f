"""What codes and names of the lists must fit: the elements of the messages that carry them."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from cv_contracts.wire.common import INT_MAX, MunicipalityCodeType, MunicipalityNameType, NameType
from cv_contracts.wire.cv_parts import LanguageCodeType
from cv_contracts.wire.cv_profile import LanguageNameType
from cv_contracts.wire.errors import faults_of

__all__ = ["check_number", "check_text"]

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


def check_number(column: str, value: int) -> None:
    """Raise ValueError where the number is none of the wire's `int`."""
    if value > INT_MAX:
        raise ValueError(f"{column} is more than {INT_MAX}")
