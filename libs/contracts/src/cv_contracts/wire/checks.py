"""What of a ReplaceCV request only the code lists can tell."""

from collections.abc import Container
from typing import TYPE_CHECKING

from cv_contracts.faults import FieldError
from cv_contracts.wire.replace_cv import ReplaceCVRequest

if TYPE_CHECKING:
    from cv_contracts.codelists import CodeLists

UNKNOWN = "is not in the code list"


def check_code_lists(request: ReplaceCVRequest, lists: "CodeLists") -> list[FieldError]:
    """Name the languages and driver licences that no list knows (fault 1014)."""
    cv = request.CV
    unknown = [
        f"CV.DriverLicenseCollection[{i}].Code"
        for i, licence in enumerate(cv.DriverLicenseCollection)
        if licence.Code not in lists.driver_licences
    ]
    unknown += [
        f"CV.LanguageSkillCollection[{i}].Code"
        for i, skill in enumerate(cv.LanguageSkillCollection)
        if skill.Code not in lists.languages
    ]
    return [FieldError(element, UNKNOWN) for element in unknown]


def unknown_taxonomy(request: ReplaceCVRequest, lists: "CodeLists") -> list[FieldError]:
    """Name the taxonomy references that lead nowhere (fault 9233)."""
    cv = request.CV
    occupation = "OccupationTaxonomyReference"
    unknown = [
        f"JobTargetCollection[{i}].{occupation}"
        for i, target in enumerate(request.JobTargetCollection)
        if target.OccupationTaxonomyReference not in lists.occupations
    ]
    unknown += [
        f"CV.PreviousJobExperienceCollection[{i}].{occupation}"
        for i, job in enumerate(cv.PreviousJobExperienceCollection)
        if _leads_nowhere(job.OccupationTaxonomyReference, lists.occupations)
    ]
    unknown += [
        f"CV.EducationCollection[{i}].EducationTaxonomyReference"
        for i, education in enumerate(cv.EducationCollection)
        if _leads_nowhere(education.EducationTaxonomyReference, lists.educations)
    ]
    unknown += [
        f"CV.QualificationCollection[{i}].QualificationTaxonomyReference"
        for i, qualification in enumerate(cv.QualificationCollection)
        if qualification.QualificationTaxonomyReference not in lists.qualifications
    ]
    return [FieldError(element, UNKNOWN) for element in unknown]


def _leads_nowhere(reference: int | None, known: Container[int]) -> bool:
    return reference is not None and reference not in known
