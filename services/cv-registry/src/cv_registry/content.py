"""The content of a CV: from a ReplaceCV request to the JSON members that GetCV sends as they are."""

from typing import Any

import orjson

from cv_contracts.codelists import CodeLists
from cv_contracts.faults import Fault, FieldError
from cv_contracts.wire.common import HTML_TEXT_MAX
from cv_contracts.wire.replace_cv import ReplaceContactInformationType, ReplaceCVRequest
from cv_registry.html import plain_text, sanitise

_LATER = "is not taken from a file, for nobody has confirmed it: save it by SavePersonContactData when the citizen is there"

_TOO_LONG = FieldError(
    "CV.ProfessionalSummaryText.HTMLText", f"is longer than {HTML_TEXT_MAX} once its HTML is well-formed"
)


def content_json(request: ReplaceCVRequest, lists: CodeLists) -> bytes:
    """Give JobConditions, JobTargetCollection and CV as JSON members, with the names of the code lists.

    Every reference and code must be in the lists: check them first. Raises fault 1014 where escapes and end tags that were
    missing make the profile's HTML longer than readers take.
    """
    body = request.json_dict()
    return orjson.dumps(
        {
            "JobConditions": body["JobConditions"],
            "JobTargetCollection": [
                {"JobTitle": lists.occupations[target["OccupationTaxonomyReference"]].title, **target}
                for target in body["JobTargetCollection"]
            ],
            "CV": _named(body["CV"], lists),
        }
    )[1:-1]


def _named(cv: dict[str, Any], lists: CodeLists) -> dict[str, Any]:
    cv["QualificationCollection"] = [
        {"Name": lists.qualifications[reference].name, "QualificationTaxonomyReference": reference}
        for reference in (entry["QualificationTaxonomyReference"] for entry in cv["QualificationCollection"])
    ]
    cv["DriverLicenseCollection"] = [
        {"Code": code, "Name": lists.driver_licences[code]}
        for code in (entry["Code"] for entry in cv["DriverLicenseCollection"])
    ]
    cv["LanguageSkillCollection"] = [
        {"Code": skill["Code"], "Name": lists.languages[skill["Code"]], "Level": skill["Level"]}
        for skill in cv["LanguageSkillCollection"]
    ]
    if "ProfessionalSummaryText" in cv:
        text = sanitise(cv["ProfessionalSummaryText"]["HTMLText"])
        if len(text) > HTML_TEXT_MAX:
            raise Fault(1014, errors=(_TOO_LONG,))
        cv["ProfessionalSummaryText"] = {"HTMLText": text, "PlainText": plain_text(text)}
    return cv


def brings_contact(contact: ReplaceContactInformationType) -> bool:
    """Tell whether there is anything in ContactInformation."""
    phones = (phone if isinstance(phone, str) else phone.PhoneNumber for phone in contact.PhoneNumber)
    return bool(contact.Email) or any(phones)


def unsaved_contact(request: ReplaceCVRequest) -> list[FieldError]:
    """Name the contact data that an import would have to leave out; empty elements say nothing and are accepted."""
    contact = request.ContactInformation
    elements = []
    if contact.Email:
        elements.append("ContactInformation.E-mail")
    for i, phone in enumerate(contact.PhoneNumber):
        if phone if isinstance(phone, str) else phone.PhoneNumber:
            elements.append(f"ContactInformation.PhoneNumber[{i}]")
    return [FieldError(element, _LATER) for element in elements]
