"""Which CVs are searchable (decision 15), and what of them is found, counted and shown."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from cv_contracts.codelists import default
from cv_search.document import Documents
from cv_search.documents_testing import MadeUp, cv_id
from cv_search.port import Dimension, Document
from cvhub.synthetic import CASES, citizen_of_case

DAY = date(2026, 11, 22)
Json = dict[str, Any]


def states() -> tuple[Json, Json]:
    """Give the state of a CV and its citizen that may be found."""
    one = citizen_of_case(7, next(iter(CASES)), today=DAY)
    assert one.cv is not None
    cv = MadeUp(default()).cv(1, one.cv, changed=datetime(2026, 5, 1, 12, 30, tzinfo=UTC))
    citizen: Json = {
        "cvId": str(cv_id(1)),
        "cvNumber": "12345678",
        "givenName": "Asta",
        "familyName": "Holm",
        "address": {
            "countryCode": "DK",
            "addressLine": "Vej 1",
            "postalCode": "5000",
            "postalArea": "Odense",
        },
        "relations": [
            {"organisationType": 7, "organisationCode": "461", "from": "2026-01-01", "to": "2026-11-30"},
            {"organisationType": 7, "organisationCode": "751", "from": "2026-12-01"},
        ],
        "enrolled": True,
    }
    return cv, citizen


def document(
    cv: Json | None, citizen: Json | None, status: Json | None = None, day: date = DAY
) -> Document | None:
    return Documents(default()).document(cv_id(1), cv, citizen, status, day)


def test_a_cv_that_holds_the_least_is_found() -> None:
    cv, citizen = states()
    assert document(cv, citizen) is not None
    for status in (1, 2, 3):
        assert document(cv, citizen, {"status": status}) is not None
    cv["content"]["CV"]["PreviousJobExperienceCollection"] = []
    cv["content"]["CV"]["EducationCollection"] = [{"Title": "Kok", "EducationLevel": "Vocational"}]
    assert document(cv, citizen) is not None
    assert document(cv, {**citizen, "enrolled": False}) is not None


def _content(name: str, value: Any) -> Callable[[Json, Json], None]:
    return lambda cv, _: cv["content"].__setitem__(name, value)


def _nothing_done(cv: Json, _: Json) -> None:
    cv["content"]["CV"]["PreviousJobExperienceCollection"] = []
    cv["content"]["CV"]["EducationCollection"] = []


@pytest.mark.parametrize(
    "change",
    [
        *(
            lambda cv, _, state=state: cv.update(state=state)
            for state in ("ARCHIVED", "DISABLED", "LOCKED", "DELETED")
        ),
        lambda _, citizen: citizen.update(dead=True),
        lambda _, citizen: citizen.update(nameProtected=True),
        lambda _, citizen: citizen.update(addressProtected=True),
        _content("JobTargetCollection", []),
        _content("JobConditions", {}),
        _nothing_done,
    ],
)
def test_a_cv_is_not_found_where_anything_is_missing(change: Callable[[Json, Json], None]) -> None:
    cv, citizen = states()
    change(cv, citizen)
    assert document(cv, citizen) is None


def test_a_rejected_or_erased_cv_is_not_found() -> None:
    cv, citizen = states()
    assert document(cv, citizen, {"status": 5}) is None
    assert document(None, citizen) is None
    assert document(cv, None) is None


def test_who_moves_is_shown_under_the_municipality_of_the_day() -> None:
    cv, citizen = states()
    before, after = document(cv, citizen), document(cv, citizen, day=date(2026, 12, 1))
    assert before is not None
    assert after is not None
    assert (before.person.municipality_name, before.organisations) == ("Odense", frozenset({(7, "461")}))
    assert (after.person.municipality_name, after.organisations) == ("Aarhus", frozenset({(7, "751")}))


def test_who_belongs_to_no_municipality_is_shown_under_one_that_is_unknown() -> None:
    cv, citizen = states()
    found = document(cv, {**citizen, "relations": []})
    assert found is not None
    assert (found.person.municipality_code, found.person.municipality_name) == ("000", "Ukendt")


def test_who_lives_abroad_is_at_no_danish_place_whatever_the_postal_code() -> None:
    cv, citizen = states()
    citizen["address"] = {"countryCode": "NO", "postalCode": "5000", "postalArea": "Bergen"}
    found = document(cv, citizen)
    assert found is not None
    person = found.person
    assert (person.postal_code, person.city, person.latitude, person.longitude) == (
        "5000",
        "Bergen",
        None,
        None,
    )
    assert found.values[Dimension.CITY] == ("Bergen",)


def test_a_relation_until_the_end_of_the_calendar_holds() -> None:
    cv, citizen = states()
    citizen["relations"] = [
        {"organisationType": 7, "organisationCode": "461", "from": "0001-01-01", "to": "9999-12-31"}
    ]
    found = document(cv, citizen)
    assert found is not None
    assert found.organisations == frozenset({(7, "461")})


def test_all_that_is_shown_counted_and_searched_is_taken_from_the_cv() -> None:
    cv, citizen = states()
    cv["content"]["JobTargetCollection"] = [
        {"JobTitle": "Kok", "HasEducation": True, "MonthsOfExperience": 0},
        {"JobTitle": "Smed", "HasEducation": False, "MonthsOfExperience": 7},
        {"JobTitle": "Kok", "HasEducation": True, "MonthsOfExperience": 1},
    ]
    cv["content"]["JobConditions"] = {
        "FullTimeEmployment": True,
        "PartTimeEmployment": True,
        "StartAsAgreedOn": True,
        "TemporaryJobPosition": True,
        "DisabilityPensionerConditions": True,
    }
    cv["content"]["CV"] = {
        "PreviousJobExperienceCollection": [
            {
                "JobTitle": "Kantinekok",
                "CompanyName": "Fyrtårnet",
                "Place": "Assens",
                "SummaryText": "Lavede mad",
            }
        ],
        "EducationCollection": [
            {"Title": "Hygiejne", "EducationLevel": "LaborMarketCourses"},
            {"Title": "Ernæring", "EducationLevel": "Bachelor", "InstitutionName": "Skolen"},
            {"Title": "Gastronom", "EducationLevel": "Vocational"},
        ],
        "QualificationCollection": [{"Name": "Bagning"}, {"Name": "Bagning"}, {"Name": "Grill"}],
        "DriverLicenseCollection": [{"Code": "B", "Name": "Almindelig bil (B)"}],
        "LanguageSkillCollection": [{"Code": "da", "Name": "Dansk", "Level": "Expert"}],
        "OtherExperienceCollection": [{"Title": "Formand", "Place": "Klubben", "SummaryText": "Holdt møder"}],
        "ProfessionalSummaryText": {"HTMLText": "<p>Rolig</p>", "PlainText": "Rolig"},
        "OtherCVReferenceCollection": [],
    }
    found = document(cv, citizen)
    assert found is not None
    person = found.person
    assert (person.first_name, person.last_name, person.cv_number) == ("Asta", "Holm", "12345678")
    assert (person.postal_code, person.city, person.max_education_name) == ("5000", "Odense C", "Ernæring")
    assert (round(person.latitude or 0), round(person.longitude or 0)) == (55, 10)
    assert found.changed_at == datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
    assert dict(found.values) == {
        Dimension.OCCUPATION: ("Kok", "Smed"),
        Dimension.COMPETENCE: ("Bagning", "Grill"),
        Dimension.EDUCATION_LEVEL: ("Bachelor",),
        Dimension.LANGUAGE: ("Dansk",),
        Dimension.LICENCE: ("B",),
        Dimension.CONDITION: ("Førtidspensionist",),
        Dimension.CITY: ("Odense C",),
        Dimension.EMPLOYMENT: ("Tidsbegrænset",),
        Dimension.WORK_TIME: ("Fuldtid", "Deltid"),
        Dimension.WORK_START: ("Efter aftale",),
        Dimension.WITH_EXPERIENCE: ("Smed", "Kok"),
        Dimension.WITH_EDUCATION: ("Kok",),
        Dimension.WITHOUT_EXPERIENCE: ("Kok",),
        Dimension.WITHOUT_EDUCATION: ("Smed",),
    }
    assert found.titles == ("Kantinekok", "Hygiejne", "Ernæring", "Gastronom")
    assert found.skills == ("Bagning", "Bagning", "Grill", "Dansk", "Almindelig bil (B)", "Kørekort B")
    licences = [{"Code": code, "Name": name} for code, name in default().driver_licences.items()]
    cv["content"]["CV"]["DriverLicenseCollection"] = licences
    held = document(cv, citizen)
    assert held is not None
    said = {skill.removeprefix("Kørekort ") for skill in held.skills if skill.startswith("Kørekort ")}
    codes = "A A1 A2 A10 AMa AMb B BE C C1 C1E CE D D1 D1E DE"
    assert sorted(said) == sorted(codes.split())
    assert "Truck" in held.skills
    for text in (
        "Lavede mad",
        "Fyrtårnet",
        "Assens",
        "Skolen",
        "Formand",
        "Holdt møder",
        "Rolig",
        "Odense C",
    ):
        assert text in found.texts
    everything = " ".join((*found.titles, *found.skills, *found.texts))
    assert not {"Asta", "Holm", "12345678", "Vej"} & set(everything.split())
