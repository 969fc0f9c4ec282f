"""What one entry of each code list says."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

BenefitFamily = Literal[
    "dagpenge",
    "arbejdsmarkedsydelse",
    "kontanthjælp",
    "uddannelseshjælp",
    "kontanthjælp-integration",
    "integrationsydelse",
    "none",
]


@dataclass(frozen=True, slots=True)
class Municipality:
    """A municipality by its three digits; the coordinates are a point inside it (WGS84)."""

    code: str
    name: str
    region_code: str
    region_name: str
    latitude: float
    longitude: float


@dataclass(frozen=True)
class OrganisationType:
    """A kind of organisation. `open`: any code of the right form is accepted, none are listed (CVR numbers)."""

    id: int
    name: str
    code_pattern: str
    open: bool
    assumed: bool

    @cached_property
    def code_form(self) -> re.Pattern[str]:
        return re.compile(self.code_pattern)


@dataclass(frozen=True, slots=True)
class UserType:
    """What kind of user stands behind a call (RequestUserTypeIdentifier)."""

    id: int
    name: str
    assumed: bool


@dataclass(frozen=True, slots=True)
class Organisation:
    """An authority that is known by name: an a-kasse, a municipality, a jobcenter, STAR or Jobnet."""

    type: int
    code: str
    name: str
    short_name: str
    assumed: bool


@dataclass(frozen=True, slots=True)
class ContactGroup:
    """A contact group (kontaktgruppe) and what may be done for citizens in it."""

    number: int
    name: str
    benefit_family: BenefitFamily
    assumed: bool
    fund_may_set_status: bool
    asylum_dates: bool
    replace_cv: bool


@dataclass(frozen=True, slots=True)
class CvStatus:
    """A CV status. `role` is the name that code speaks of; `frozen`: setting it stores a version of the CV."""

    id: int
    role: Literal["STARTED", "READY", "APPROVED", "RESERVED", "REJECTED"]
    name: str
    frozen: bool


@dataclass(frozen=True, slots=True)
class ContactDataType:
    """A way to reach a citizen."""

    id: int
    role: Literal["MOBILE", "LANDLINE", "EMAIL"]
    name: str
    verifiable: bool


@dataclass(frozen=True, slots=True)
class ContactStatus:
    """The state of one way to reach a citizen."""

    id: int
    role: Literal["NOT_VERIFIED", "VERIFIED", "UNDELIVERABLE", "BLOCKED"]
    name: str


@dataclass(frozen=True, slots=True)
class RankedName:
    """A level (of a language skill) with its place in the order."""

    code: str
    rank: int
    name: str


@dataclass(frozen=True, slots=True)
class EducationLevel:
    """A value of EducationLevelEnum; the highest rank is the highest education."""

    code: str
    rank: int
    name: str


@dataclass(frozen=True, slots=True)
class Occupation:
    """A job title of the taxonomy. `isco08` has four digits, or fewer where only a group is known."""

    id: int
    title: str
    isco08: str
    synonyms: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Qualification:
    """A competence of the taxonomy; `group` is an ESCO skill group or a trade."""

    id: int
    name: str
    kind: str
    group: str


@dataclass(frozen=True, slots=True)
class Education:
    """An education of the taxonomy with its level (EducationLevelEnum)."""

    id: int
    title: str
    level: str


@dataclass(frozen=True, slots=True)
class Condition:
    """The Danish word that search uses for one element of JobConditions, and the facet group it counts in."""

    element: str
    group: Literal["WorkTime", "WorkStart", "EmploymentType", "Jobconditions"]
    name: str


@dataclass(frozen=True, slots=True)
class PostalCode:
    """A Danish postal code: its town, the town's coordinates (WGS84) and the municipality of most of its land.

    `box` marks codes of post boxes: accepted, but nobody lives there.
    """

    code: str
    city: str
    latitude: float
    longitude: float
    municipality_code: str
    box: bool
