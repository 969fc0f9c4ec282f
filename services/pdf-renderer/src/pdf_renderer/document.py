"""What is asked for: a document's kind, its content and what stands at its foot. Checked here, before anything else sees it."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
)

from cv_contracts.wire.cv_profile import CVProfileType, PostalAddressType
from cv_contracts.wire.errors import faults_of

__all__ = [
    "CvDocument",
    "FrozenDocument",
    "LetterDocument",
    "Municipality",
    "StatedDocument",
    "Status",
    "read",
]

Kind = Literal["cv", "frozen", "letter"]
_Utc = AfterValidator(lambda time: time.astimezone(UTC))
Timestamp = Annotated[AwareDatetime, _Utc]
"""When the content became what it is: part of the document, so never the time of the call."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Status(_Part):
    """The status a version was frozen with, and its name then."""

    id: Annotated[int, Field(ge=0, le=999)]
    name: Annotated[str, Field(min_length=1, max_length=100)]


class Municipality(_Part):
    """The municipality a version was frozen for, and its name then."""

    code: Annotated[str, Field(pattern="^[0-9]{3}$")]
    name: Annotated[str, Field(min_length=1, max_length=100)]


class _AboutCv(_Part):
    """What documents of a CV share. The ids are random; an erasure finds the documents by them."""

    timestamp: Timestamp
    personId: UUID  # noqa: N815 - the name on the wire
    cvId: UUID  # noqa: N815 - the name on the wire
    content: CVProfileType


class CvDocument(_AboutCv):
    """Method 2: the CV as it is now, for employers too. `timestamp` is when it was last changed."""

    kind: Literal["cv"]

    def shown(self) -> dict[str, Any]:
        """Give what the document depends on; what it does not show has no part in its hash."""
        profile = _profile(self.content)
        profile.pop("JobTargetCollection")
        return {"kind": self.kind, "time": _text(self.timestamp), "profile": profile}

    def identity(self) -> dict[str, Any]:
        """Give what makes it this document and no other."""
        return self.shown()


class FrozenDocument(_AboutCv):
    """Method 7: a frozen version. `timestamp` is when it was frozen; the content is what its reader may see of it."""

    kind: Literal["frozen"]
    status: Status
    municipality: Municipality

    def shown(self) -> dict[str, Any]:
        footer = {"status": self.status.model_dump(), "municipality": self.municipality.model_dump()}
        return {
            "kind": self.kind,
            "time": _text(self.timestamp),
            "profile": _profile(self.content),
            **footer,
        }

    def identity(self) -> dict[str, Any]:
        """Give what makes it this version and no other: names of the code lists may change, what was frozen may not."""
        return {**self.shown(), "status": self.status.id, "municipality": self.municipality.code}


class LetterContent(_Part):
    """The account letter: to whom, and the login. The password stands nowhere but on the letter."""

    name: Annotated[str, Field(min_length=1, max_length=165)] = Field(repr=False)
    postalAddress: PostalAddressType = Field(repr=False)  # noqa: N815 - the name on the wire
    userName: Annotated[str, Field(min_length=1, max_length=40)] = Field(repr=False)  # noqa: N815 - the name on the wire
    password: Annotated[SecretStr, Field(min_length=1, max_length=40)]


class LetterDocument(_Part):
    """Method 3. `timestamp` gives the date on the letter. It is never stored, nor is its hash."""

    kind: Literal["letter"]
    timestamp: Timestamp
    content: LetterContent

    def shown(self) -> dict[str, Any]:
        content = self.content
        return {
            "kind": self.kind,
            "time": _text(self.timestamp),
            "name": content.name,
            "address": content.postalAddress.json_dict(),
            "user_name": content.userName,
            "password": content.password.get_secret_value(),
        }


StatedDocument = CvDocument | FrozenDocument
"""A document of a citizen's CV, which is stored."""
_Request = Annotated[CvDocument | FrozenDocument | LetterDocument, Field(discriminator="kind")]


_READER: TypeAdapter[CvDocument | FrozenDocument | LetterDocument] = TypeAdapter(
    _Request, config=ConfigDict(hide_input_in_errors=True)
)


def read(body: bytes) -> CvDocument | FrozenDocument | LetterDocument:
    """Read a request; raises fault 1014."""
    try:
        return _READER.validate_json(body)
    except ValidationError as error:
        raise faults_of(error) from None


# Nobody who reads a CV needs these of its citizen; the CV number would be a key to everything else.
_NOT_SHOWN = ("DateOfBirth", "Gender")


def _profile(content: CVProfileType) -> dict[str, Any]:
    profile = content.json_dict()
    profile.pop("JobnetCVId")
    for element in _NOT_SHOWN:
        profile["PersonalData"].pop(element, None)
    return profile


def _text(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")
