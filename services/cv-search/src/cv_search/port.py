"""The port between the service and a search engine: plain data in, plain data out, in no engine's own language.

All calls are synchronous and made off the event loop. One thread writes; any thread reads. Errors:

EngineError       the engine cannot do it now: no disk space, its files gone, the server down
├── IndexBroken   what lies there is no whole index of this format: build it anew
└── TooCostly     a search that would cost more than its budget; nothing of it is left running
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

BUDGET_SECONDS: Final = 2.0
"""What one search may cost."""


class EngineError(Exception):
    """The engine cannot do what it was asked."""


class IndexBroken(EngineError):  # noqa: N818 - a state of the index, told apart from errors of calls
    """The index is torn, or made by another format or other code lists."""


class TooCostly(EngineError):  # noqa: N818 - a refusal, not an error of the program
    """The search was given up at its budget."""


class Dimension(StrEnum):
    """What filters name values of. The first twelve are the groups of a result, by their wire names."""

    OCCUPATION = "OccupationNames"
    COMPETENCE = "Competences"
    EDUCATION_LEVEL = "MaxEducationLevelIds"
    LANGUAGE = "Languages"
    LICENCE = "DriversLicenseIds"
    CONDITION = "Jobconditions"
    CITY = "Cities"
    EMPLOYMENT = "EmploymentType"
    WORK_TIME = "WorkTime"
    WORK_START = "WorkStart"
    WITH_EXPERIENCE = "OccupationNamesWithExperience"
    WITH_EDUCATION = "OccupationNamesWithEducation"
    WITHOUT_EXPERIENCE = "OccupationNamesWithOutExperience"
    WITHOUT_EDUCATION = "OccupationNamesWithOutEducation"


GROUPS: Final = tuple(Dimension)[:12]
"""The twelve groups of a result, in the order of the wire."""

Organisation = tuple[int, str]
"""Type and code."""

ID_BYTES: Final = 16


def cvs_of(ids: bytes) -> list[UUID]:
    """Read ids that stand one after the other."""
    return [UUID(bytes=ids[at : at + ID_BYTES]) for at in range(0, len(ids), ID_BYTES)]


@dataclass(frozen=True, slots=True)
class Person:
    """What a result shows of a citizen (CVPerson)."""

    municipality_code: str
    municipality_name: str
    cv_number: str | None = field(repr=False)
    first_name: str = field(repr=False)
    last_name: str = field(repr=False)
    postal_code: str | None = field(repr=False)
    city: str | None
    max_education_name: str | None
    occupation_names: tuple[str, ...]
    latitude: float | None
    longitude: float | None


@dataclass(frozen=True, slots=True)
class Document:
    """One searchable CV as the index keeps it. The texts are as written; what is made of them is the engine room's."""

    cv_id: UUID
    person: Person
    changed_at: datetime
    """When the CV was last replaced (UTC)."""
    enrolled: bool
    organisations: frozenset[Organisation]
    """Those the citizen belongs to on the day the document was made."""
    values: Mapping[Dimension, tuple[str, ...]]
    """The distinct values of each dimension; one without any may be absent."""
    titles: tuple[str, ...] = field(repr=False)
    """Titles of jobs and educations: they weigh most, together with the job targets, which the person shows."""
    skills: tuple[str, ...] = field(repr=False)
    """Competences, languages, licences: they weigh less."""
    texts: tuple[str, ...] = field(repr=False)
    """Everything written freely, employers and places: it weighs least."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One part of a text that must be found: words as the index keeps them (see danish), or what they stand for."""

    words: tuple[str, ...] = field(repr=False)
    """Words that all occur in one CV; next to each other where it is a phrase."""
    phrase: bool = False
    prefix: bool = False
    """Whether the one word is only the beginning of one."""
    titled: bool = False
    """Whether titles alone are looked in: short words like the før of kranfører are in every free text."""
    typed: str | None = field(default=None, repr=False)
    """The one word as it was typed, where that is another: a typo may lie in what the stem leaves out."""
    head: str | None = field(default=None, repr=False)
    """The known word that the one word ends with, as a compound does: it is looked for where the whole is not found."""
    known: bool = False
    """Whether the words are a name of the reference data: it is no typo of another."""
    apart: tuple["Clause", ...] = field(default=(), repr=False)
    """Each of several words alone, or a word without its number: they are looked for where nothing holds the whole."""
    synonym_of: frozenset[str] = field(default=frozenset(), repr=False)
    """Titles of the occupations that the words are another name of."""
    broader_than: frozenset[str] = field(default=frozenset(), repr=False)
    """Titles of the occupations that lie below the one the words name."""


@dataclass(frozen=True, slots=True)
class Circle:
    """A place (WGS84) and a radius in km."""

    latitude: float
    longitude: float
    radius_km: float


@dataclass(frozen=True, slots=True)
class Query:
    """What to search for, checked. Equal queries have equal results on the same snapshot, whatever their group limit.

    All that is given must hold. The result is ordered by relevance, then distance to the first circle, then newest
    change, then CV number.
    """

    text: tuple[Clause, ...] = field(default=(), repr=False)
    secondary: tuple[Clause, ...] = field(default=(), repr=False)
    """Finds too, and weighs less than the text."""
    circles: tuple[Circle, ...] = ()
    filters: tuple[tuple[Dimension, frozenset[str]], ...] = ()
    """Of each dimension named, at least one of the values."""
    organisation: Organisation | None = None
    enrolled_only: bool = False
    changed_after: datetime | None = None
    changed_before: datetime | None = None
    """Both ends are outside the interval."""
    group_limit: int = field(default=64, compare=False)


@dataclass(frozen=True, slots=True)
class Count:
    """How many of the whole result have this value."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Found:
    """A result: its number, the 16 bytes of each id of its first CVs, and the twelve groups over all of it.

    Groups are ordered by count, then name, and cut at the group limit.
    """

    total: int
    ids: bytes = field(repr=False)
    groups: Mapping[Dimension, tuple[Count, ...]]


class Snapshot(Protocol):
    """One moment of the index. Searches on it repeat exactly, however the index goes on, until it is released."""

    @property
    def generation(self) -> int:
        """The commit it shows; it rises with each commit of one index."""
        ...

    @property
    def position(self) -> int:
        """The position that was committed with it."""
        ...

    def search(self, query: Query, first: int, budget: float = BUDGET_SECONDS) -> Found:
        """Search, and name the first so many CVs; raises TooCostly once the budget (seconds) is spent.

        The service keeps them for the later pages of the search, so that no moment is held for 15 minutes.
        """
        ...

    def count(self) -> int:
        """Count the CVs."""
        ...

    def release(self) -> None:
        """Let the moment go; calling it again does nothing."""
        ...


class Reader(Protocol):
    """The reading side. There may be many, in several processes."""

    def snapshot(self) -> Snapshot:
        """Pin the newest committed moment; raises EngineError where there is none."""
        ...

    def close(self) -> None: ...


class Engine(Protocol):
    """The writing side: one at a time. What was applied is seen, and kept, only after the next commit."""

    digest: str
    """Of the reference data that the index is made with."""

    def position(self) -> int | None:
        """Give the position of the newest commit; None while nothing was committed."""
        ...

    def apply(self, upserts: Sequence[Document], deletes: Sequence[UUID]) -> None:
        """Put documents in the place of those with the same cv_id, and take others out."""
        ...

    def append(self, documents: Sequence[Document]) -> None:
        """Add documents of CVs that the index does not have: several times faster, for building anew."""
        ...

    def commit(self, position: int) -> None:
        """Keep all that was applied, and the position with it: either both or, after a crash, neither."""
        ...

    def reader(self) -> Reader:
        """Give a reader of this index."""
        ...

    def close(self) -> None:
        """Stop writing; what was applied since the last commit is lost."""
        ...
