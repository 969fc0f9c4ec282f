"""What all wire types share: the model, simple types and limits.

Fields are named exactly as the elements of the seeds, so a class reads like the seed's table. An element that occurs
0-1 is absent or null; answers leave it out. A collection is an array under its own name.
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

# Limits that the seeds leave open.
COLLECTION_MAX: Final = 200
"""Entries in one collection of a CV."""
JOB_TARGETS_MAX: Final = 50
PHONES_MAX: Final = 20
SUMMARY_TEXT_MAX: Final = 8_000
"""Characters of one free text about an experience or education."""
HTML_TEXT_MAX: Final = 40_000
"""Characters of the professional summary with its formatting."""
NAME_MAX: Final = 255
"""Characters of a name or a title that the seed calls just string."""
INT_MAX: Final = 2**31 - 1
"""`int` of the seeds has 32 bits."""

PERSON_NUMBER: Final = (
    "((((0[1-9]|1[0-9]|2[0-9]|3[0-1])(01|03|05|07|08|10|12))"
    "|((0[1-9]|1[0-9]|2[0-9]|30)(04|06|09|11))"
    "|((0[1-9]|1[0-9]|2[0-9])(02)))[0-9]{6})|0000000000"
)
CV_NUMBER: Final = "[0-9]{8}"
GUID: Final = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
REQUEST_ID: Final = "[!-~]([ -~]{0,44}[!-~])?"
"""At most 46 characters, of those that a header of HTTP carries unchanged; blanks at its ends are not among them."""
YEAR: Final = "^([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])$"
"""Four digits. XML Schema knows no year 0000: an answer that had it could not be read as SOAP."""
TEXT: Final = r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\uFFFE\uFFFF]*$"
"""What XML 1.0 can carry; PostgreSQL keeps no NUL either."""

_PERSON_NUMBER = re.compile(PERSON_NUMBER)
_CV_NUMBER = re.compile(CV_NUMBER)
_GUID = re.compile(GUID)
_REQUEST_ID = re.compile(REQUEST_ID)
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_DANISH = ZoneInfo("Europe/Copenhagen")
EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
LATEST: Final = datetime.max.replace(tzinfo=UTC)

PERSON_NUMBER_HEADER: Final = "x-civilregistrationidentifier"


def is_person_number(value: str) -> bool:
    """Tell whether the whole value has the seed's form; 0000000000 has, and belongs to nobody."""
    return _PERSON_NUMBER.fullmatch(value) is not None


def is_cv_number(value: str) -> bool:
    """Tell whether the whole value has the seed's form."""
    return _CV_NUMBER.fullmatch(value) is not None


def is_request_id(value: str) -> bool:
    """Tell whether the whole value can be a request id."""
    return _REQUEST_ID.fullmatch(value) is not None


class Wire(BaseModel):
    """A message or a part of one. Strict: no coercion, no unknown elements, and errors never quote the input."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        serialize_by_alias=True,
    )

    @classmethod
    def from_json(cls, body: bytes | str) -> Self:
        """Read a body; raises pydantic's ValidationError, which `read_body` turns into a fault."""
        return cls.model_validate_json(body)

    def json_bytes(self) -> bytes:
        """Give the message as it is sent: elements by their wire names, absent ones left out."""
        return self.__pydantic_serializer__.to_json(self, by_alias=True, exclude_none=True)

    def json_dict(self) -> dict[str, Any]:
        """Give the same as `json_bytes`, as a dict of plain JSON values."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _written(kind: type, pattern: re.Pattern[str], reason: str) -> BeforeValidator:
    """Check how a value is written before it is read; pydantic alone takes numbers and other forms too."""

    def check(value: Any) -> Any:
        if not (isinstance(value, kind) or (isinstance(value, str) and pattern.fullmatch(value))):
            raise PydanticCustomError("cv_form", reason)
        return value

    return BeforeValidator(check)


def _utc(value: datetime) -> datetime:
    """Read a time without a zone as Danish time. Years at the ends of the calendar keep within it."""
    aware = value if value.tzinfo else value.replace(tzinfo=_DANISH)
    try:
        return aware.astimezone(UTC)
    except OverflowError:
        return EARLIEST if value.year == 1 else LATEST


def text(maximum: int, minimum: int = 0) -> Any:
    """Make the constraints of a string of so many characters."""
    return Field(min_length=minimum, max_length=maximum, pattern=TEXT)


PersonNumber = Annotated[str, Field(pattern=f"^(?:{PERSON_NUMBER})$")]
CvNumber = Annotated[str, Field(pattern=f"^{CV_NUMBER}$")]
MunicipalityCodeType = Annotated[str, Field(pattern="^[0-9]{3}$")]
Guid = Annotated[UUID, Field(strict=False), _written(UUID, _GUID, "is not a guid")]
DateTime = Annotated[
    datetime, Field(strict=False), _written(datetime, _DATE_TIME, "is not a dateTime"), AfterValidator(_utc)
]
AwareDateTime = Annotated[
    AwareDatetime, Field(strict=False), _written(datetime, _DATE_TIME, "is not a dateTime")
]
Date = Annotated[date, Field(strict=False), _written(date, _DATE, "is not a date")]
GYear = Annotated[str, Field(pattern=YEAR)]
GMonth = Annotated[str, Field(pattern="^--(0[1-9]|1[0-2])$")]
Int = Annotated[int, Field(ge=-INT_MAX - 1, le=INT_MAX)]
NonNegative = Annotated[int, Field(ge=0, le=INT_MAX)]
NameType = Annotated[str, text(NAME_MAX)]
Text100 = Annotated[str, text(100)]
SummaryTextType = Annotated[str, text(SUMMARY_TEXT_MAX)]
MunicipalityNameType = Annotated[str, text(100, 1)]
CvCommentType = Annotated[str, text(375)]
"""CvCommentType; each method keeps its own spelling of the element."""


class MunicipalityType(Wire):
    """A municipality as GetCV and others answer it."""

    MunicipalityCode: MunicipalityCodeType
    MunicipalityName: MunicipalityNameType


class ServiceReceiptType(Wire):
    """What a write answers. MessageIdentifier is the id of the event in the log."""

    MessageIdentifier: Guid
    EventDate: DateTime


class ServiceReceiptResponse(Wire):
    """The body of a write's answer."""

    ServiceReceipt: ServiceReceiptType
