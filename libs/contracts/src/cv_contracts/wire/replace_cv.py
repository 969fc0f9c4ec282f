"""ReplaceCV: the CV as it is sent."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from cv_contracts.wire.common import (
    COLLECTION_MAX,
    HTML_TEXT_MAX,
    JOB_TARGETS_MAX,
    PHONES_MAX,
    GYear,
    Int,
    NameType,
    NonNegative,
    Wire,
    text,
)
from cv_contracts.wire.cv_parts import (
    EducationType,
    EmailType,
    JobConditionsType,
    LanguageCodeType,
    LanguageSkillLevelType,
    OtherExperienceType,
    PhoneNumberType,
    PreviousJobExperienceType,
    WebSiteType,
)


class TypedPhoneNumberType(Wire):
    """A phone number that says which type of contact data it is; a type that is not in the list is 9153."""

    PhoneNumber: PhoneNumberType
    PersonContactDataTypeIdentifier: Int


def _phone_form(value: Any) -> str:
    return "typed" if isinstance(value, dict | TypedPhoneNumberType) else "text"


PhoneNumberItem = Annotated[
    Annotated[PhoneNumberType, Tag("text")] | Annotated[TypedPhoneNumberType, Tag("typed")],
    Discriminator(_phone_form),
]


class ReplaceContactInformationType(Wire):
    """The contact data that come with a CV. Of the phone numbers without a type the first is the mobile, the second the landline; an empty one is none."""

    Email: EmailType | None = Field(default=None, alias="E-mail")
    PhoneNumber: tuple[PhoneNumberItem, ...] = Field(default=(), max_length=PHONES_MAX)


class JobTargetType(Wire):
    """A job the citizen seeks."""

    OccupationTaxonomyReference: Int
    HasEducation: bool
    MonthsOfExperience: NonNegative
    LastExperience: GYear | None = None


class QualificationType(Wire):
    """A competence by its number in the taxonomy."""

    QualificationTaxonomyReference: Int


class DriverLicenseType(Wire):
    """A driver licence by its code."""

    Code: NameType


class LanguageSkillType(Wire):
    """A language and how well it is spoken."""

    Code: LanguageCodeType
    Level: LanguageSkillLevelType


class HTMLTextType(Wire):
    """The professional summary; its HTML is sanitised, not refused."""

    HTMLText: Annotated[str, text(HTML_TEXT_MAX)]


class CVType(Wire):
    """The CV proper."""

    PreviousJobExperienceCollection: tuple[PreviousJobExperienceType, ...] = Field(max_length=COLLECTION_MAX)
    EducationCollection: tuple[EducationType, ...] = Field(max_length=COLLECTION_MAX)
    QualificationCollection: tuple[QualificationType, ...] = Field(max_length=COLLECTION_MAX)
    DriverLicenseCollection: tuple[DriverLicenseType, ...] = Field(max_length=COLLECTION_MAX)
    LanguageSkillCollection: tuple[LanguageSkillType, ...] = Field(max_length=COLLECTION_MAX)
    OtherExperienceCollection: tuple[OtherExperienceType, ...] = Field(max_length=COLLECTION_MAX)
    ProfessionalSummaryText: HTMLTextType | None = None
    OtherCVReferenceCollection: tuple[WebSiteType, ...] = Field(max_length=1)


class ReplaceCVRequest(Wire):
    """The whole CV that takes the old one's place."""

    ContactInformation: ReplaceContactInformationType
    JobConditions: JobConditionsType
    JobTargetCollection: tuple[JobTargetType, ...] = Field(max_length=JOB_TARGETS_MAX)
    CV: CVType
