"""SetCvStatus, GetCvStatus, GetCVOnStatus and GetAvailableCVStatusVersions."""

from typing import Literal

from pydantic import Field

from cv_contracts.wire.common import (
    CvCommentType,
    CvNumber,
    DateTime,
    Guid,
    Int,
    MunicipalityType,
    PersonNumber,
    Wire,
)
from cv_contracts.wire.query import AllowedCVStatusIdentifier, Query

CVAvailabilityType = Literal["Active", "Inactive"]


class CvStatusSetType(Wire):
    """The status to set; CvStatusIdentifier is one of the code list of CV statuses."""

    PersonCivilRegistrationIdentifier: PersonNumber
    CvCustomerIdentifier: CvNumber
    CvStatusIdentifier: Int
    CvComment: CvCommentType | None = None


class SetCvStatusRequest(Wire):
    """The body of SetCvStatus."""

    CvStatusSet: CvStatusSetType


class CvStatusType(Wire):
    """The status as it is now. CVAvailability is Inactive only when the citizen is dead."""

    CvCustomerIdentifier: CvNumber
    CvStatusIdentifier: Int
    CVAvailability: CVAvailabilityType
    CvComment: CvCommentType | None = None


class GetCvStatusResponse(Wire):
    """What GetCvStatus answers."""

    CvStatus: CvStatusType


class GetCVOnStatusQuery(Query):
    """Which frozen version; neither is 9113."""

    CVStatusIdentifier: AllowedCVStatusIdentifier | None = None
    CVVersionIdentifier: Guid | None = None


class CVOnStatusItemType(Wire):
    """A frozen version of a CV. The PDF is in base 64."""

    CompleteCVAsPdfResult: str
    Municipality: MunicipalityType
    CVStatusIdentifier: Int
    CVComment: CvCommentType | None = None
    CVVersionIdentifier: Guid
    CVVersionTime: DateTime


class GetCVOnStatusResponse(Wire):
    """What GetCVOnStatus answers."""

    CVOnStatusItem: CVOnStatusItemType


class GetAvailableCVStatusVersionsQuery(Query):
    """Only versions with this status, or all."""

    CVStatusIdentifier: AllowedCVStatusIdentifier | None = None


class CVStatusVersionItemType(Wire):
    """One frozen version."""

    CVStatusIdentifier: Int
    CVVersionIdentifier: Guid
    CVVersionTime: DateTime


class GetAvailableCVStatusVersionsResponse(Wire):
    """What GetAvailableCVStatusVersions answers; without versions the collection is absent."""

    AvailableCVStatusVersionCollection: tuple[CVStatusVersionItemType, ...] | None = Field(
        default=None, min_length=1
    )
