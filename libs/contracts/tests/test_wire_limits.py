"""Lengths, patterns, enums and cardinalities of the seeds: the limit is accepted, one past it refused with 1014."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cv_contracts import wire
from cv_contracts.wire import common, search

EXAMPLES: dict[str, Any] = json.loads(
    Path(__file__).with_name("wire_examples.json").read_text(encoding="utf-8")
)
PROFILE = "CVProfile."
JOB = "CV.PreviousJobExperienceCollection.0."
EDUCATION = "CV.EducationCollection.0."
OTHER = "CV.OtherExperienceCollection.0."
PERSON = "CVProfile.PersonalData."
ADDRESS = PERSON + "PostalAddress."
SEARCH = "searchInput."
MISSING = object()

LENGTHS = [
    ("GetCVResponse", "Municipality.MunicipalityName", 1, 100),
    ("GetCVResponse", "CVComment", 0, 375),
    ("GetCVResponse", PERSON + "FamilyName", 1, 50),
    ("GetCVResponse", PERSON + "GivenName", 1, 70),
    ("GetCVResponse", PERSON + "MiddleName", 0, 40),
    ("GetCVResponse", ADDRESS + "CountryCode", 0, 2),
    ("GetCVResponse", ADDRESS + "AddressLine", 0, 100),
    ("GetCVResponse", ADDRESS + "PostalCode", 0, 15),
    ("GetCVResponse", ADDRESS + "PostalArea", 0, 50),
    ("GetCVResponse", ADDRESS + "COAddress", 0, 75),
    ("GetCVResponse", PERSON + "ContactInformation.E-mail", 0, 255),
    ("GetCVResponse", PERSON + "ContactInformation.PhoneNumber.0", 0, 16),
    ("GetCVResponse", PROFILE + "CV.LanguageSkillCollection.0.Code", 0, 4),
    ("GetCVResponse", PROFILE + "CV.LanguageSkillCollection.0.Name", 0, 50),
    ("GetCVResponse", PROFILE + OTHER + "Title", 0, 100),
    ("GetCVResponse", PROFILE + OTHER + "Place", 0, 100),
    ("GetCVResponse", PROFILE + "CV.OtherCVReferenceCollection.0", 0, 255),
    ("ReplaceCVRequest", "ContactInformation.E-mail", 0, 255),
    ("ReplaceCVRequest", "ContactInformation.PhoneNumber.0", 0, 16),
    ("ReplaceCVRequest", "ContactInformation.PhoneNumber.1.PhoneNumber", 0, 16),
    ("ReplaceCVRequest", JOB + "JobTitle", 0, 100),
    ("ReplaceCVRequest", JOB + "CompanyName", 0, 100),
    ("ReplaceCVRequest", JOB + "Place", 0, 100),
    ("ReplaceCVRequest", JOB + "SummaryText", 0, common.SUMMARY_TEXT_MAX),
    ("ReplaceCVRequest", EDUCATION + "Title", 0, 100),
    ("ReplaceCVRequest", EDUCATION + "InstitutionName", 0, 100),
    ("ReplaceCVRequest", EDUCATION + "SummaryText", 0, common.SUMMARY_TEXT_MAX),
    ("ReplaceCVRequest", OTHER + "Title", 0, 100),
    ("ReplaceCVRequest", OTHER + "Place", 0, 100),
    ("ReplaceCVRequest", OTHER + "SummaryText", 0, common.SUMMARY_TEXT_MAX),
    ("ReplaceCVRequest", "CV.ProfessionalSummaryText.HTMLText", 0, common.HTML_TEXT_MAX),
    ("ReplaceCVRequest", "CV.LanguageSkillCollection.0.Code", 0, 4),
    ("ReplaceCVRequest", "CV.OtherCVReferenceCollection.0", 0, 255),
    ("SetCvStatusRequest", "CvStatusSet.CvComment", 0, 375),
    ("GetCvStatusResponse", "CvStatus.CvComment", 0, 375),
    ("GetCVOnStatusResponse", "CVOnStatusItem.CVComment", 0, 375),
    ("UpdateAsylumCVTransitionRequest", "CorrectionComment", 0, 1500),
    ("SearchCVTextRequest", SEARCH + "SearchString", 0, search.SEARCH_TEXT_MAX),
    ("SavePersonContactDataRequest", "PersonContactDataCollection.0.PersonContactData", 0, 256),
    ("GetPersonByMobilePhoneNumberRequest", "mobiltelefon", 0, 256),
]

COUNTS = [
    ("ReplaceCVRequest", "ContactInformation.PhoneNumber", 0, common.PHONES_MAX),
    ("ReplaceCVRequest", "JobTargetCollection", 0, common.JOB_TARGETS_MAX),
    ("ReplaceCVRequest", "CV.PreviousJobExperienceCollection", 0, common.COLLECTION_MAX),
    ("ReplaceCVRequest", "CV.EducationCollection", 0, common.COLLECTION_MAX),
    ("ReplaceCVRequest", "CV.QualificationCollection", 0, common.COLLECTION_MAX),
    ("ReplaceCVRequest", "CV.DriverLicenseCollection", 0, common.COLLECTION_MAX),
    ("ReplaceCVRequest", "CV.LanguageSkillCollection", 0, common.COLLECTION_MAX),
    ("ReplaceCVRequest", "CV.OtherExperienceCollection", 0, common.COLLECTION_MAX),
    ("ReplaceCVRequest", "CV.OtherCVReferenceCollection", 0, 1),
    ("SearchCVTextRequest", SEARCH + "OccupationNames", 0, search.FILTER_VALUES_MAX),
    ("SavePersonContactDataRequest", "PersonContactDataCollection", 1, None),
    ("GetCVUpdateListResponse", "CVUpdateList", 1, None),
    ("GetAvailableCVStatusVersionsResponse", "AvailableCVStatusVersionCollection", 1, None),
]

RANGES = [
    ("GetCVResponse", PROFILE + "JobnetCVId", 10_000_000, 99_999_999),
    ("ReplaceCVRequest", "JobTargetCollection.0.MonthsOfExperience", 0, 2**31 - 1),
    ("ReplaceCVRequest", "JobTargetCollection.0.OccupationTaxonomyReference", -(2**31), 2**31 - 1),
    ("SearchCVTextRequest", SEARCH + "ResultsPerPage", 1, 100),
    ("SearchCVTextRequest", SEARCH + "PageNumber", 1, 2**31 - 1),
    ("SearchCVTextRequest", SEARCH + "GroupLimit", 0, 2**31 - 1),
    ("SearchCVTextRequest", SEARCH + "SearchInGeoDistance", 0, 2**31 - 1),
    ("SearchCVTextRequest", SEARCH + "SearchFromGeoPointLat", -90, 90),
    ("SearchCVTextRequest", SEARCH + "SearchFromGeoPointLon", -180, 180),
    ("SearchCVTextRequest", SEARCH + "OrganisationCode", -(2**31), 2**31 - 1),
]

LEVELS = [
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
LICENCES = [
    "A1",
    "B",
    "C",
    "D",
    "BE",
    "CE",
    "DE",
    "A",
    "A10",
    "AMa",
    "AMb",
    "A2",
    "C1",
    "D1",
    "C1E",
    "D1E",
    "Taxi",
    "Traktor",
    "Truck",
    "BusErhverv",
    "DigitalFartskriver",
    "EUGodsErhverv",
    "EUBusErhverv",
]
SKILLS = ["Novice", "AdvancedBeginner", "Competent", "Proficient", "Expert"]
ENUMS = [
    ("GetCVResponse", PERSON + "Gender", ["Male", "Female", "Unknown"]),
    ("GetCVResponse", PROFILE + "CV.LanguageSkillCollection.0.Level", SKILLS),
    ("ReplaceCVRequest", "CV.LanguageSkillCollection.0.Level", SKILLS),
    ("ReplaceCVRequest", EDUCATION + "EducationLevel", LEVELS),
    ("SearchCVTextRequest", SEARCH + "EducationLevels.0", LEVELS),
    ("SearchCVTextRequest", SEARCH + "DriversLicenses.0", LICENCES),
    ("GetCvStatusResponse", "CvStatus.CVAvailability", ["Active", "Inactive"]),
]

GUID = "0B1DCB00-0000-4000-8000-00000000000f"
FORMS: list[tuple[str, str, list[str], list[Any]]] = [
    ("GetCVResponse", "Municipality.MunicipalityCode", ["000", "999"], ["99", "1000", "10a", "१०१", "101\n"]),
    ("GetCVByCVNumberRequest", "CVNumber", ["00000000"], ["1234567", "123456789", "1234567a", 12345678]),
    ("SetCvStatusRequest", "CvStatusSet.CvCustomerIdentifier", ["12345678"], ["12345678 ", "", "x2345678"]),
    ("ReplaceCVRequest", JOB + "StartDate.Year", ["2017", "1950"], ["17", "20170", "-2017", "2017Z", 2017]),
    ("ReplaceCVRequest", JOB + "StartDate.Month", ["--01", "--12"], ["--00", "--13", "05", "-05", "--5", 5]),
    ("ReplaceCVRequest", "JobTargetCollection.0.LastExperience", ["2017"], ["", "201x", 2017]),
    ("SearchCVTextRequest", SEARCH + "Id", [GUID], [GUID[:-1], "{" + GUID + "}", GUID.replace("-", ""), "urn:uuid:" + GUID]),
    ("CreateAsylumCVTransitionRequest", "CVEditEndDate", ["2024-02-29"], ["2023-02-29", "29-02-2024", "2024-2-9", "2024-02-29T00:00:00", "1500000000", 1500000000]),
    ("SearchCVTextRequest", SEARCH + "UpdatedBefore", ["0001-01-01T00:00:00", "2017-05-31T12:00:00", "2017-05-31T12:00:00.1234567+02:00", "9999-12-31T23:59:59Z"], ["2017-05-31", "2017-05-31 12:00:00", "1500000000", 1500000000, "2017-02-30T12:00:00Z"]),
    ("GetPersonByEmailAddressRequest", "email", ["a@b", "@b", "a" * 191 + "@" + "b" * 64, "ø@ø.dk"], ["a", "a@", "a@b@c", "a b@c", "a>@b", "a(@b", "a[@b", "a\\@b", "a,@b", "a;@b", "a:@b", "a" * 192 + "@b", "a@" + "b" * 65, "a@b\n"]),
]  # fmt: skip

PERSON_NUMBERS = ["0101010000", "3112999999", "2902000000", "3004001234", "3101000000", "0000000000"]
NOT_PERSON_NUMBERS = ["", "010101000", "01010100000", "3104000000", "3002000000", "3201000000", "0113000000", "0001000000", "010101-0000", "0101010000\n", " 0101010000", "00000000000", "०१०१०१००००"]  # fmt: skip


def changed(message: str, path: str, value: Any) -> bytes:
    body = deepcopy(EXAMPLES[message])
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    node = body
    for part in parents:
        node = node[part]
    if value is MISSING:
        del node[last]
    else:
        node[last] = value
    return json.dumps(body).encode()


def accepts(message: str, path: str, value: Any) -> bool:
    try:
        getattr(wire, message).from_json(changed(message, path, value))
    except ValidationError as error:
        fault = wire.faults_of(error)
        assert fault.code == 1014
        assert fault.errors
        return False
    return True


def elements(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield f"{path}{name}", value
            yield from elements(value, f"{path}{name}.")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from elements(value, f"{path}{index}.")


@pytest.mark.parametrize("message", EXAMPLES)
def test_a_full_message_comes_back_as_it_was_sent(message: str) -> None:
    body = EXAMPLES[message]
    read = getattr(wire, message).from_json(json.dumps(body))
    assert json.loads(read.json_bytes()) == body
    assert read.json_dict() == body


@pytest.mark.parametrize(("message", "path", "least", "most"), LENGTHS)
def test_a_string_keeps_its_length(message: str, path: str, least: int, most: int) -> None:
    assert accepts(message, path, "æ" * most)
    assert not accepts(message, path, "æ" * (most + 1))
    assert accepts(message, path, "æ" * least)
    if least:
        assert not accepts(message, path, "æ" * (least - 1))


@pytest.mark.parametrize(("message", "path", "least", "most"), COUNTS)
def test_a_collection_keeps_its_size(message: str, path: str, least: int, most: int | None) -> None:
    item = dict(elements(EXAMPLES[message]))[path][0]
    assert accepts(message, path, [item] * least)
    if least:
        assert not accepts(message, path, [item] * (least - 1))
    if most is not None:
        assert accepts(message, path, [item] * most)
        assert not accepts(message, path, [item] * (most + 1))


@pytest.mark.parametrize(("message", "path", "least", "most"), RANGES)
def test_a_number_keeps_its_range(message: str, path: str, least: int, most: int | None) -> None:
    assert accepts(message, path, least)
    assert not accepts(message, path, least - 1)
    if most is not None:
        assert accepts(message, path, most)
        assert not accepts(message, path, most + 1)


@pytest.mark.parametrize(("message", "path", "values"), ENUMS)
def test_an_enum_takes_its_values_and_no_other(message: str, path: str, values: list[str]) -> None:
    assert all(accepts(message, path, value) for value in values)
    assert not any(accepts(message, path, value.swapcase()) for value in values)
    assert not any(accepts(message, path, value) for value in ("", 1, True, ["Unknown"]))


@pytest.mark.parametrize(("message", "path", "good", "bad"), FORMS)
def test_a_form_is_matched_in_full(message: str, path: str, good: list[str], bad: list[Any]) -> None:
    assert [value for value in good if not accepts(message, path, value)] == []
    assert [value for value in bad if accepts(message, path, value)] == []


def test_a_person_number_matches_the_seeds_pattern_in_full() -> None:
    path = "CvStatusSet.PersonCivilRegistrationIdentifier"
    assert all(accepts("SetCvStatusRequest", path, number) for number in PERSON_NUMBERS)
    assert not any(accepts("SetCvStatusRequest", path, number) for number in NOT_PERSON_NUMBERS)
    assert all(wire.is_person_number(number) for number in PERSON_NUMBERS)
    assert not any(wire.is_person_number(number) for number in NOT_PERSON_NUMBERS)


def _all_elements() -> list[tuple[str, str]]:
    return [(message, path) for message, body in EXAMPLES.items() for path, _ in elements(body)]


@pytest.mark.parametrize(("message", "path"), _all_elements())
def test_an_element_may_be_left_out_only_where_the_seed_says_so(message: str, path: str) -> None:
    name = path.rsplit(".", maxsplit=1)[-1]
    outline = Path(__file__).with_name("wire_elements.txt").read_text(encoding="utf-8")
    lines = outline.split(f"## {message}\n")[1].split("## ")[0].splitlines()
    assert accepts(message, path, MISSING) == ("0-1" in _line_of(lines, path, name))


def _line_of(lines: list[str], path: str, name: str) -> str:
    names = [part for part in path.split(".") if not part.isdigit()]
    trail: list[str] = []
    for line in lines:
        depth = (len(line) - len(line.lstrip())) // 2
        trail = [*trail[:depth], line.split()[0]]
        if trail == names:
            return line
    # The object form of a phone number is decision 9's, not the seed's.
    return f"{name} 1"


@pytest.mark.parametrize(("message", "path"), _all_elements())
def test_no_element_is_coerced_from_another_type(message: str, path: str) -> None:
    value = dict(elements(EXAMPLES[message]))[path]
    wrong: list[Any] = [{"x": 1}, [[]]]
    if isinstance(value, bool):
        wrong += ["true", 1, "1"]
    elif isinstance(value, int):
        wrong += [str(value), value + 0.5, True]
    elif isinstance(value, float):
        wrong += [str(value), True]
    elif isinstance(value, str):
        wrong += [1, True]
    else:
        wrong += ["", 1]
    assert [one for one in wrong if accepts(message, path, one)] == []


@pytest.mark.parametrize(("message", "path"), _all_elements())
def test_an_unknown_element_is_refused_beside_every_element(message: str, path: str) -> None:
    assert not accepts(message, path + "X", "?")
