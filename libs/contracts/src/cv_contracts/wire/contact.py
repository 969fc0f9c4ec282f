"""The six methods on person contact data. Whether a type or a status is in its list is 9153 or 9193, not 1014."""

from typing import Annotated, Final

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from cv_contracts.wire.common import CvNumber, DateTime, Int, PersonNumber, Wire, text

CONTACT_VALUE_MAX: Final = 256
"""The longest mail address that the seed's pattern admits."""
ContactValue = Annotated[str, text(CONTACT_VALUE_MAX)]
"""A number or an address as it is written; whether it can exist, and a number's prefix, a library says."""
CONTACT_DATA_MAX: Final = 20
CODE_MAX: Final = 32

EmailAddress = Annotated[
    str,
    Field(pattern=r"^(?:[^>\(\)\[\]\\,;:@\s]{0,191}@[^>\(\)\[\]\\,;:@\s]{1,64})$"),
]


class PersonContactDataType(Wire):
    """One way to reach the citizen; without PersonContactData, or with an empty one, this type is removed."""

    PersonContactData: ContactValue | None = None
    PersonContactDataTypeIdentifier: Int


class SavePersonContactDataRequest(Wire):
    """Contact data to save, each type at most once."""

    PersonContactDataCollection: tuple[PersonContactDataType, ...] = Field(
        min_length=1, max_length=CONTACT_DATA_MAX
    )

    @field_validator("PersonContactDataCollection")
    @classmethod
    def _each_type_once(cls, data: tuple[PersonContactDataType, ...]) -> tuple[PersonContactDataType, ...]:
        types = {one.PersonContactDataTypeIdentifier for one in data}
        if len(types) < len(data):
            raise PydanticCustomError("cv_twice", "holds a PersonContactDataTypeIdentifier twice")
        return data


class VerifyPersonContactDataRequest(Wire):
    """A code that the citizen received; a wrong one is 9241."""

    CvCustomerIdentifier: CvNumber
    VerificationCode: Annotated[str, text(CODE_MAX)]
    PersonContactDataTypeIdentifier: Int


class RequestNewVerificationCodeRequest(Wire):
    """Whose contact data, and which."""

    CvCustomerIdentifier: CvNumber
    PersonContactDataTypeIdentifier: Int


class GetPersonByMobilePhoneNumberRequest(Wire):
    """The number, in the body and not in the URL: with its prefix, beginning with +, in any such spelling that can be saved."""

    mobiltelefon: ContactValue


class GetPersonByEmailAddressRequest(Wire):
    """The address, in the body and not in the URL."""

    email: EmailAddress


class CprType(Wire):
    """A citizen who has or had the number or address, and from when until when."""

    civilregistrationIdentifier: PersonNumber  # noqa: N815 - the seed's spelling
    RegistrationStartDate: DateTime
    RegistrationEndDate: DateTime | None = None


class GetPersonResponse(Wire):
    """What both look-ups answer; nobody is an empty collection."""

    CprCollection: tuple[CprType, ...] = ()


class SavePersonContactStatusRequest(Wire):
    """The state of one type of contact data."""

    PersonContactDataTypeIdentifier: Int
    PersonContactDataStatusTypeIdentifier: Int
