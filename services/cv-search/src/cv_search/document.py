"""From a CV, its citizen and its status, as their owners tell them, to the document that is searched; pure functions."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from cv_citizens.citizen import Citizen
from cv_contracts.codelists import CodeLists
from cv_search.port import Dimension, Document, Person

State = Mapping[str, Any]
DANISH: Final = "DK"
_DRIVING: Final = re.compile("[A-D](?![a-z])")
"""Begins the code of a driving licence (AMa, C1E), not those of other permits in the list (BusErhverv, Truck)."""


def may_be_shown(citizen: Citizen) -> bool:
    """Tell whether a citizen is alive and not protected: of any other nothing is found or shown (decision 15)."""
    return not (citizen.dead or citizen.protected)


def searchable(cv: State, citizen: Citizen, status: int | None, rejected: int) -> bool:
    """Tell whether a CV may be found (decision 15).

    It is ACTIVE, its citizen may be shown, its status not `rejected`; it names a job target, job
    conditions, and an experience or an education. `status` is None where it was never set.
    """
    content = cv["content"]
    return (
        cv["state"] == "ACTIVE"
        and may_be_shown(citizen)
        and status != rejected
        and bool(content["JobTargetCollection"])
        and any(content["JobConditions"].values())
        and bool(content["CV"]["PreviousJobExperienceCollection"] or content["CV"]["EducationCollection"])
    )


class Documents:
    """Makes documents with the names of one set of code lists."""

    def __init__(self, lists: CodeLists) -> None:
        self._lists = lists
        self._rejected = lists.status_id("REJECTED")
        self._conditions = [
            (condition.element, Dimension(condition.group), condition.name)
            for condition in lists.conditions.values()
        ]
        self._ranks = {level.code: level.rank for level in lists.education_levels.values()}

    def document(
        self, cv_id: UUID, cv: State | None, citizen: State | None, status: State | None, day: date
    ) -> Document | None:
        """Give the document of a CV on a Danish day, or None where it is not searchable.

        The states are those of the owners' internal routes; one that is erased, unknown or never set is None.
        """
        if cv is None or citizen is None:
            return None
        known = Citizen.from_state(UUID(cv["personId"]), 0, citizen)
        if not searchable(cv, known, None if status is None else status["status"], self._rejected):
            return None
        content = cv["content"]
        person = self._person(content, citizen, known, day)
        return Document(
            cv_id=cv_id,
            person=person,
            changed_at=_time(cv["revisionDate"]),
            enrolled=known.enrolled,
            organisations=frozenset(
                (relation.organisation_type, relation.code)
                for relation in known.relations
                if relation.holds(day)
            ),
            values=self._values(content, person),
            titles=tuple(_titles(content["CV"])),
            skills=tuple(_skills(content["CV"])),
            texts=tuple(_texts(content["CV"], person)),
        )

    def _person(self, content: State, citizen: State, known: Citizen, day: date) -> Person:
        address = citizen["address"]
        at_home = address["countryCode"] == DANISH
        postal = self._lists.postal_codes.get(address["postalCode"]) if at_home else None
        code, name = self._lists.municipality(known.municipality(day))
        best = max(content["CV"]["EducationCollection"], key=self._rank, default=None)
        return Person(
            municipality_code=code,
            municipality_name=name,
            cv_number=known.cv_number,
            first_name=citizen["givenName"],
            last_name=citizen["familyName"],
            postal_code=address["postalCode"] or None,
            city=(postal.city if postal else address["postalArea"]) or None,
            max_education_name=best["Title"] if best else None,
            occupation_names=_distinct(target["JobTitle"] for target in content["JobTargetCollection"]),
            latitude=postal.latitude if postal else None,
            longitude=postal.longitude if postal else None,
        )

    def _values(self, content: State, person: Person) -> dict[Dimension, tuple[str, ...]]:
        cv, targets = content["CV"], content["JobTargetCollection"]
        best = max(cv["EducationCollection"], key=self._rank, default=None)
        values = {
            Dimension.OCCUPATION: person.occupation_names,
            Dimension.COMPETENCE: _distinct(one["Name"] for one in cv["QualificationCollection"]),
            Dimension.EDUCATION_LEVEL: (best["EducationLevel"],) if best else (),
            Dimension.LANGUAGE: _distinct(one["Name"] for one in cv["LanguageSkillCollection"]),
            Dimension.LICENCE: _distinct(one["Code"] for one in cv["DriverLicenseCollection"]),
            Dimension.CITY: (person.city,) if person.city else (),
            **_qualified(targets),
        }
        for element, group, name in self._conditions:
            if content["JobConditions"].get(element):
                values[group] = (*values.get(group, ()), name)
        return {dimension: names for dimension, names in values.items() if names}

    def _rank(self, education: State) -> int:
        return self._ranks[education["EducationLevel"]]


def _qualified(targets: Iterable[State]) -> dict[Dimension, tuple[str, ...]]:
    """Tell occupations with and without education and experience; the flags are those of one and the same target."""
    found: dict[Dimension, list[str]] = {}
    for target in targets:
        learned, done = target["HasEducation"], target["MonthsOfExperience"] > 0
        education = Dimension.WITH_EDUCATION if learned else Dimension.WITHOUT_EDUCATION
        experience = Dimension.WITH_EXPERIENCE if done else Dimension.WITHOUT_EXPERIENCE
        found.setdefault(education, []).append(target["JobTitle"])
        found.setdefault(experience, []).append(target["JobTitle"])
    return {dimension: _distinct(names) for dimension, names in found.items()}


def _titles(cv: State) -> Iterable[str]:
    yield from (job["JobTitle"] for job in cv["PreviousJobExperienceCollection"])
    yield from (education["Title"] for education in cv["EducationCollection"])


def _skills(cv: State) -> Iterable[str]:
    for collection in ("QualificationCollection", "LanguageSkillCollection"):
        yield from (one["Name"] for one in cv[collection])
    for licence in cv["DriverLicenseCollection"]:
        yield licence["Name"]
        # No name says kørekort, that of CE says C/E, and that of Truck Gaffeltruck.
        yield f"Kørekort {licence['Code']}" if _DRIVING.match(licence["Code"]) else licence["Code"]


def _texts(cv: State, person: Person) -> Iterable[str]:
    for job in cv["PreviousJobExperienceCollection"]:
        yield from _present(job, "SummaryText", "CompanyName", "Place")
    for education in cv["EducationCollection"]:
        yield from _present(education, "SummaryText", "InstitutionName")
    for other in cv["OtherExperienceCollection"]:
        yield from _present(other, "Title", "SummaryText", "Place")
    if summary := cv.get("ProfessionalSummaryText"):
        yield summary["PlainText"]
    yield from (name for name in (person.city, person.municipality_name) if name)


def _present(part: State, *elements: str) -> Iterable[str]:
    return (part[element] for element in elements if part.get(element))


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _time(value: str | datetime) -> datetime:
    time = datetime.fromisoformat(value) if isinstance(value, str) else value
    return time.astimezone(UTC)
