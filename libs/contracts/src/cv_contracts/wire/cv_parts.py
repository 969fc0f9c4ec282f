"""The parts of a CV that GetCV and ReplaceCV spell alike."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from cv_contracts.wire.common import GMonth, GYear, Int, SummaryTextType, Text100, Wire, text

EducationLevelEnum = Literal[
    "Unknown",
    "PrimarySchoolLastLevel",
    "LaborMarketCourses",
    "SecondarySchool",
    "Vocational",
    "OtherCourses",
    "PrimarySchoolFoundation",
    "ShortTertiaryEducation",
    "Bachelor",
    "Master",
    "PhdOrPostdoc",
]
LanguageSkillLevelType = Literal["Novice", "AdvancedBeginner", "Competent", "Proficient", "Expert"]
DriverLicenseEnum = Literal[
    "A1", "B", "C", "D", "BE", "CE", "DE", "A", "A10", "AMa", "AMb", "A2", "C1", "D1", "C1E", "D1E",
    "Taxi", "Traktor", "Truck", "BusErhverv", "DigitalFartskriver", "EUGodsErhverv", "EUBusErhverv",
]  # fmt: skip
WebSiteType = Annotated[str, text(255)]
LanguageCodeType = Annotated[str, text(4)]


def _true(value: bool) -> bool:
    if not value:
        raise PydanticCustomError("cv_form", "is false; leave the element out instead")
    return value


Exists = Annotated[bool, AfterValidator(_true), Field(json_schema_extra={"const": True})]
"""An element of JobConditions is there, and true, or it is absent."""
JANUARY: Final = "--01"
DECEMBER: Final = "--12"


class PartialDate(Wire):
    """A year, or a year and a month."""

    Year: GYear
    Month: GMonth | None = None

    def is_before(self, other: "PartialDate") -> bool:
        """Tell whether this lies before the other for certain; a year alone may be any month of it."""
        return (self.Year, self.Month or DECEMBER) < (other.Year, other.Month or JANUARY)


class PreviousJobExperienceType(Wire):
    """A job the citizen has had; without EndDate it goes on."""

    JobTitle: Text100
    OccupationTaxonomyReference: Int | None = None
    CompanyName: Text100 | None = None
    Place: Text100 | None = None
    SummaryText: SummaryTextType | None = None
    StartDate: PartialDate
    EndDate: PartialDate | None = None

    @field_validator("EndDate")
    @classmethod
    def _not_before_start(cls, end: PartialDate | None, info: ValidationInfo) -> PartialDate | None:
        start = info.data.get("StartDate")
        if end is not None and start is not None and end.is_before(start):
            raise PydanticCustomError("cv_end_before_start", "is before StartDate")
        return end


class EducationType(Wire):
    """An education, a course or a certificate."""

    Title: Text100
    EducationTaxonomyReference: Int | None = None
    EducationLevel: EducationLevelEnum
    InstitutionName: Text100 | None = None
    SummaryText: SummaryTextType | None = None
    StartDate: PartialDate | None = None
    EndDate: PartialDate | None = None


class OtherExperienceType(Wire):
    """Experience from elsewhere than a job."""

    Title: Text100
    Place: Text100
    SummaryText: SummaryTextType
    StartDate: PartialDate
    EndDate: PartialDate | None = None


class JobConditionsType(Wire):
    """On what conditions the citizen seeks work."""

    FullTimeEmployment: Exists | None = None
    PartTimeEmployment: Exists | None = None
    StartAsSoonAsPossible: Exists | None = None
    StartAsAgreedOn: Exists | None = None
    PermanentJobPosition: Exists | None = None
    TemporaryJobPosition: Exists | None = None
    StandardJobConditions: Exists | None = None
    EarlyRetirementConditions: Exists | None = None
    DisabilityPensionerConditions: Exists | None = None


EmailType = Annotated[str, text(255)]
PhoneNumberType = Annotated[str, text(16)]
