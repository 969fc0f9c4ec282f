"""What may be written as contact data, by type, and the one form of it: E.164, mail addresses by their syntax. Pure functions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberType

from cv_contracts.codelists import CodeLists, ContactDataType
from cv_contracts.faults import Fault, FieldError

__all__ = ["Value", "Wanted", "find_mail", "find_mobile", "kind_of", "normalise", "value_of"]

INVALID: Final = {"MOBILE": 9156, "LANDLINE": 9157, "EMAIL": 9158}
HOME: Final = "DK"
E164_MAX: Final = 16
"""The plus and 15 digits (ITU-T E.164), which is also what the seed's PhoneNumberType holds; some countries have had longer ones."""

_MAIL: Final = re.compile(r"[^>\(\)\[\]\\,;:@\s]{0,191}@[^>\(\)\[\]\\,;:@\s]{1,64}")
_PHONE: Final = re.compile(r"\+?\(?[0-9][0-9 ()./-]{0,30}")
_MOBILE_KINDS: Final = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})
_LANDLINE_KINDS: Final = _MOBILE_KINDS | {
    PhoneNumberType.FIXED_LINE,
    PhoneNumberType.VOIP,
    PhoneNumberType.UAN,
    PhoneNumberType.PERSONAL_NUMBER,
}


@dataclass(frozen=True, slots=True)
class Value:
    """A value as it is kept and sent to, and the form in which two spellings of it are the same."""

    text: str = field(repr=False)
    form: str = field(repr=False)

    @classmethod
    def of(cls, text: str) -> Self:
        """Give the value of a text that is kept already."""
        # Not casefold(), by which two domains are one: straße.dk and strasse.dk.
        return cls(text, text.lower())


Wanted = Mapping[int, Value | None]
"""Values by type; None removes."""


def kind_of(lists: CodeLists, number: int, element: str) -> ContactDataType:
    """Give the type of contact data with this number; fault 9153 if there is none."""
    kind = lists.contact_data_types.get(number)
    if kind is None:
        element = (
            f"{element}.PersonContactDataTypeIdentifier" if element else "PersonContactDataTypeIdentifier"
        )
        raise Fault(9153, errors=(FieldError(element, "is not in the list of contact data types"),))
    return kind


def value_of(kind: ContactDataType, written: str | None, element: str) -> Value | None:
    """Read a value of this type; nothing written is None, and what is not valid is the type's fault (9156-9158)."""
    if not written:
        return None
    value = normalise(kind, written)
    if value is None:
        raise Fault(INVALID[kind.role], errors=(FieldError(element, "is not valid for its type"),))
    return value


def normalise(kind: ContactDataType, written: str) -> Value | None:
    """Read what was written for this type of contact data; None if it is not valid for the type."""
    if kind.role == "EMAIL":
        return _mail(written)
    number = _number(written)
    kinds = _MOBILE_KINDS if kind.role == "MOBILE" else _LANDLINE_KINDS
    if number is None or not phonenumbers.is_valid_number(number):
        return None
    if phonenumbers.number_type(number) not in kinds:
        return None
    phone = _phone(number)
    return phone if len(phone.text) <= E164_MAX else None


def find_mobile(written: str) -> Value | None:
    """Read a number that is looked for, as one that is saved is read. None if it is no number at all."""
    number = _number(written)
    return None if number is None else _phone(number)


def find_mail(written: str) -> Value | None:
    """Read an address that is looked for; None if nobody can have it."""
    return _mail(written)


def _number(written: str) -> PhoneNumber | None:
    stripped = written.strip()
    if not _PHONE.fullmatch(stripped):
        return None
    try:
        return phonenumbers.parse(stripped, HOME)
    except NumberParseException:
        return None


def _phone(number: PhoneNumber) -> Value:
    text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return Value.of(text)


def _mail(written: str) -> Value | None:
    stripped = written.strip()
    if not _MAIL.fullmatch(stripped):
        return None
    try:
        address = validate_email(stripped, check_deliverability=False).normalized
    except EmailNotValidError:
        return None
    return Value.of(address)
