"""GetCV, GetCVByCVNumber and GetCVAsPdf: the CV as it is answered."""

from typing import Annotated, Literal

from pydantic import Field

from cv_contracts.wire.common import (
    COLLECTION_MAX,
    HTML_TEXT_MAX,
    JOB_TARGETS_MAX,
    PHONES_MAX,
    CvCommentType,
    CvNumber,
    Date,
    GYear,
    Int,
    MunicipalityType,
    NameType,
    NonNegative,
    Wire,
    text,
)
from cv_contracts.wire.cv_parts import (
    EducationType,
    EmailType,
    Exists,
    JobConditionsType,
    LanguageCodeType,
    LanguageSkillLevelType,
    OtherExperienceType,
    PhoneNumberType,
    PreviousJobExperienceType,
    WebSiteType,
)

GenderType = Literal["Male", "Female", "Unknown"]
LanguageNameType = Annotated[str, text(50)]


class PostalAddressType(Wire):
    """An address. Where it is protected, AddressLine says so and PostalCode and PostalArea are empty."""

    CountryCode: Annotated[str, text(2)]
    AddressLine: Annotated[str, text(100)]
    PostalCode: Annotated[str, text(15)]
    PostalArea: Annotated[str, text(50)]
    COAddress: Annotated[str, text(75)] | None = None


class ContactInformationType(Wire):
    """How to reach the citizen, apart from the address: first the mobile, second the landline; a landline alone follows an empty one."""

    Email: EmailType | None = Field(default=None, alias="E-mail")
    PhoneNumber: tuple[PhoneNumberType, ...] = Field(default=(), max_length=PHONES_MAX)


class PersonalDataType(Wire):
    """Who the citizen is."""

    FamilyName: Annotated[str, text(50, 1)] | None = None
    GivenName: Annotated[str, text(70, 1)] | None = None
    MiddleName: Annotated[str, text(40)] | None = None
    DateOfBirth: Date | None = None
    Gender: GenderType | None = None
    PostalAddress: PostalAddressType
    ContactInformation: ContactInformationType


class OwnCarType(Wire):
    """Whether the citizen will use a car of their own; the seed has this element before the other conditions."""

    WillingToUseOwnCar: Exists | None = None


class ProfileJobConditionsType(JobConditionsType, OwnCarType):
    """The job conditions of ReplaceCV, and OwnCarType's element first."""


class ProfileJobTargetType(Wire):
    """A job the citizen seeks; the title is the taxonomy's."""

    JobTitle: NameType
    OccupationTaxonomyReference: Int
    HasEducation: bool
    MonthsOfExperience: NonNegative
    LastExperience: GYear | None = None


class ProfileQualificationType(Wire):
    """A competence by its name."""

    Name: NameType
    QualificationTaxonomyReference: Int | None = None


class ProfileDriverLicenseType(Wire):
    """A driver licence by its code, with the Danish name."""

    Code: NameType
    Name: NameType


class ProfileLanguageSkillType(Wire):
    """A language and how well it is spoken."""

    Code: LanguageCodeType
    Name: LanguageNameType
    Level: LanguageSkillLevelType


class FormattedTextType(Wire):
    """The professional summary, sanitised, and the plain text derived from it."""

    HTMLText: Annotated[str, text(HTML_TEXT_MAX)]
    PlainText: Annotated[str, text(HTML_TEXT_MAX)]


class ProfileCVType(Wire):
    """The CV proper."""

    PreviousJobExperienceCollection: tuple[PreviousJobExperienceType, ...] = Field(max_length=COLLECTION_MAX)
    EducationCollection: tuple[EducationType, ...] = Field(max_length=COLLECTION_MAX)
    QualificationCollection: tuple[ProfileQualificationType, ...] = Field(max_length=COLLECTION_MAX)
    DriverLicenseCollection: tuple[ProfileDriverLicenseType, ...] = Field(max_length=COLLECTION_MAX)
    LanguageSkillCollection: tuple[ProfileLanguageSkillType, ...] = Field(max_length=COLLECTION_MAX)
    OtherExperienceCollection: tuple[OtherExperienceType, ...] = Field(max_length=COLLECTION_MAX)
    ProfessionalSummaryText: FormattedTextType | None = None
    OtherCVReferenceCollection: tuple[WebSiteType, ...] = Field(max_length=COLLECTION_MAX)


class CVProfileType(Wire):
    """The citizen's profile. JobnetCVId is the CV number as an integer, so CV numbers start with 1-9."""

    JobnetCVId: Annotated[int, Field(ge=10_000_000, le=99_999_999)]
    PersonalData: PersonalDataType
    JobConditions: ProfileJobConditionsType
    JobTargetCollection: tuple[ProfileJobTargetType, ...] = Field(max_length=JOB_TARGETS_MAX)
    CV: ProfileCVType


class GetCVResponse(Wire):
    """What GetCV answers."""

    Municipality: MunicipalityType
    CVStatusIdentifier: Int | None = None
    CVComment: CvCommentType | None = None
    CVProfile: CVProfileType | None = None


class GetCVByCVNumberRequest(Wire):
    """A CV number and whether the citizen has consented (else 9192)."""

    CVNumber: CvNumber
    CitizenConsentObtained: bool


class GetCVByCVNumberResponse(Wire):
    """What GetCVByCVNumber answers."""

    CVProfile: CVProfileType


class GetCVAsPdfResponse(Wire):
    """A PDF document in base 64."""

    Municipality: MunicipalityType
    GetCVAsPdfResult: str | None = None
