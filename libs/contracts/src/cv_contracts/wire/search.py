"""SearchCVText."""

from typing import Annotated, Final

from pydantic import Field

from cv_contracts.wire.common import (
    INT_MAX,
    DateTime,
    Guid,
    Int,
    MunicipalityType,
    NameType,
    NonNegative,
    Wire,
    text,
)
from cv_contracts.wire.cv_parts import DriverLicenseEnum, EducationLevelEnum

SEARCH_TEXT_MAX: Final = 1_000
FILTER_VALUES_MAX: Final = 200
GROUP_LIMIT_MAX: Final = 1_000
"""So many values of a group are given at most, however many are asked for."""
PAGE_SIZE_MAX: Final = 100

ArrayOfString = Annotated[tuple[NameType, ...], Field(max_length=FILTER_VALUES_MAX)]
ArrayOfEducationLevelEnum = Annotated[tuple[EducationLevelEnum, ...], Field(max_length=FILTER_VALUES_MAX)]
ArrayOfDriverLicenseEnum = Annotated[tuple[DriverLicenseEnum, ...], Field(max_length=FILTER_VALUES_MAX)]
SearchText = Annotated[str, text(SEARCH_TEXT_MAX)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]


class SearchInputType(Wire):
    """What to search for. A first search has the Id of zeros; a later page the Id that was answered."""

    Id: Guid
    GroupLimit: NonNegative
    SearchString: SearchText | None = Field(
        default=None,
        description="Words, all of which a CV must hold. In quotes: next to each other (8 at most). With an asterisk: "
        "words that begin so (at least 3 letters; 4 asterisks at most). 32 words at most. There is no minus, NOT or OR. "
        "Typos are forgiven, and less is looked for, where nobody is found.",
    )
    SearchStringSecondary: SearchText | None = Field(
        default=None,
        description="As SearchString; finds those who hold any of it too, and weighs less. Nothing is forgiven.",
    )
    CloseToPostalCode: NameType | None = None
    CloseToCity: NameType | None = None
    OccupationNames: ArrayOfString | None = None
    Competences: ArrayOfString | None = None
    EducationLevels: ArrayOfEducationLevelEnum | None = None
    Languages: ArrayOfString | None = None
    DriversLicenses: ArrayOfDriverLicenseEnum | None = None
    TermsOfEmployments: ArrayOfString | None = None
    Cities: ArrayOfString | None = None
    ShowOnlyEnrolled: bool
    PageNumber: Annotated[int, Field(ge=1, le=INT_MAX)]
    ResultsPerPage: Annotated[int, Field(ge=1, le=PAGE_SIZE_MAX)]
    OrganisationCode: Int
    OrganisationTypeIdentifier: Int
    IsDateIntervalSpecified: bool
    UpdatedBefore: DateTime
    UpdatedLaterThan: DateTime
    WorkStart: ArrayOfString | None = None
    WorkTime: ArrayOfString | None = None
    EmploymentType: ArrayOfString | None = None
    OccupationNamesWithEducation: ArrayOfString | None = None
    OccupationNamesWithExperience: ArrayOfString | None = None
    SearchFromGeoPointLat: Latitude | None = None
    SearchFromGeoPointLon: Longitude | None = None
    SearchInGeoDistance: NonNegative | None = None
    OccupationNamesWithOutEducation: ArrayOfString | None = None
    OccupationNamesWithOutExperience: ArrayOfString | None = None


class SearchCVTextRequest(Wire):
    """The body of SearchCVText; without searchInput there is no result."""

    searchInput: SearchInputType | None = None  # noqa: N815 - the seed's spelling


class CVPersonType(Wire):
    """One citizen found."""

    Municipality: MunicipalityType
    CVNumber: str | None = None
    FirstName: str | None = None
    LastName: str | None = None
    PostalCode: str | None = None
    City: str | None = None
    MaxEducationName: str | None = None
    OccupationNames: tuple[str, ...] | None = None
    GeoPointLat: Latitude | None = None
    GeoPointLon: Longitude | None = None


class GroupSummationType(Wire):
    """How many of the whole result have this value."""

    Name: str | None = None
    Count: Int


ArrayOfGroupSummation = tuple[GroupSummationType, ...]


class SearchResultType(Wire):
    """One page of persons, and twelve groups over the whole result."""

    Id: Guid
    PageNumber: Int
    TotalResults: Int
    CVPersons: tuple[CVPersonType, ...] | None = None
    OccupationNames: ArrayOfGroupSummation | None = None
    Competences: ArrayOfGroupSummation | None = None
    MaxEducationLevelIds: ArrayOfGroupSummation | None = None
    Languages: ArrayOfGroupSummation | None = None
    DriversLicenseIds: ArrayOfGroupSummation | None = None
    Jobconditions: ArrayOfGroupSummation | None = None
    Cities: ArrayOfGroupSummation | None = None
    EmploymentType: ArrayOfGroupSummation | None = None
    WorkTime: ArrayOfGroupSummation | None = None
    WorkStart: ArrayOfGroupSummation | None = None
    OccupationNamesWithExperience: ArrayOfGroupSummation | None = None
    OccupationNamesWithEducation: ArrayOfGroupSummation | None = None


class SearchCVTextResponse(Wire):
    """What SearchCVText answers."""

    SearchCVTextResult: SearchResultType | None = None
