"""What the decisions say about the messages, beyond single elements, and how errors are told."""

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cv_contracts import wire
from cv_contracts.codelists import default
from cv_contracts.faults import Fault, FieldError
from cv_contracts.wire.errors import element, read_body, read_query

EXAMPLES: dict[str, Any] = json.loads(
    Path(__file__).with_name("wire_examples.json").read_text(encoding="utf-8")
)
START, MAY, DECEMBER = {"Year": "2015"}, {"Year": "2015", "Month": "--05"}, {"Year": "2015", "Month": "--12"}


def replace_cv(**cv: Any) -> dict[str, Any]:
    body = deepcopy(EXAMPLES["ReplaceCVRequest"])
    body["CV"].update(cv)
    return body  # type: ignore[no-any-return]


def errors_of(body: Any, message: str = "ReplaceCVRequest") -> dict[str, str]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ValidationError) as caught:
        getattr(wire, message).from_json(text)
    fault = wire.faults_of(caught.value)
    assert fault.code == 1014
    return {error.element: error.reason for error in fault.errors}


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (MAY, {"Year": "2014"}),
        (MAY, {"Year": "2015", "Month": "--04"}),
        (START, {"Year": "2014", "Month": "--12"}),
    ],
)
def test_an_end_before_the_start_is_named_for_a_former_job_and_taken_where_the_seed_has_no_such_rule(
    start: Any, end: Any
) -> None:
    def ending(collection: str) -> dict[str, Any]:
        item = EXAMPLES["ReplaceCVRequest"]["CV"][collection][0]
        return replace_cv(**{collection: [item, {**item, "StartDate": start, "EndDate": end}]})

    job = "PreviousJobExperienceCollection"
    assert errors_of(ending(job)) == {f"CV.{job}[1].EndDate": "is before StartDate"}
    for collection in ("EducationCollection", "OtherExperienceCollection"):
        taken = wire.ReplaceCVRequest.from_json(json.dumps(ending(collection))).json_dict()
        assert taken["CV"][collection][1]["EndDate"] == end


def test_a_collection_whose_entries_are_refused_is_not_called_too_short_too() -> None:
    collection, message = "PersonContactDataCollection", "SavePersonContactDataRequest"
    bad = {"PersonContactDataTypeIdentifier": "1"}
    assert errors_of({collection: [bad]}, message) == {
        f"{collection}[0].PersonContactDataTypeIdentifier": "is not an integer"
    }
    assert errors_of({collection: []}, message) == {collection: "holds fewer than 1"}


@pytest.mark.parametrize(
    ("start", "end"), [(MAY, MAY), (MAY, START), (DECEMBER, START), (START, START), (MAY, DECEMBER)]
)
def test_an_end_that_may_lie_after_the_start_is_accepted(start: Any, end: Any) -> None:
    item = EXAMPLES["ReplaceCVRequest"]["CV"]["PreviousJobExperienceCollection"][0]
    body = replace_cv(PreviousJobExperienceCollection=[{**item, "StartDate": start, "EndDate": end}])
    wire.ReplaceCVRequest.from_json(json.dumps(body))


def test_a_job_condition_is_true_or_absent() -> None:
    body = replace_cv()
    body["JobConditions"] = {}
    assert json.loads(wire.ReplaceCVRequest.from_json(json.dumps(body)).json_bytes())["JobConditions"] == {}
    body["JobConditions"] = {"FullTimeEmployment": False}
    assert list(errors_of(body)) == ["JobConditions.FullTimeEmployment"]


def test_replace_cv_cannot_say_that_the_citizen_uses_a_car() -> None:
    body = replace_cv()
    body["JobConditions"] = {"WillingToUseOwnCar": True}
    assert list(errors_of(body)) == ["JobConditions"]


def test_a_person_contact_data_type_may_come_once() -> None:
    twice = {"PersonContactDataCollection": [{"PersonContactDataTypeIdentifier": 1}] * 2}
    assert list(errors_of(twice, "SavePersonContactDataRequest")) == ["PersonContactDataCollection"]


def test_contact_data_may_be_null_to_remove_it() -> None:
    body = {
        "PersonContactDataCollection": [{"PersonContactData": None, "PersonContactDataTypeIdentifier": 1}]
    }
    read = wire.SavePersonContactDataRequest.from_json(json.dumps(body))
    assert read.PersonContactDataCollection[0].PersonContactData is None


@pytest.mark.parametrize("character", ["\x00", "\x08", "\x0b", "\x1f", "\ufffe", "\uffff"])
def test_a_character_that_xml_cannot_carry_is_refused(character: str) -> None:
    body = replace_cv(ProfessionalSummaryText={"HTMLText": f"a{character}b"})
    assert list(errors_of(body)) == ["CV.ProfessionalSummaryText.HTMLText"]


def test_lines_and_tabs_are_kept() -> None:
    body = replace_cv(ProfessionalSummaryText={"HTMLText": "a\tb\r\nc 😀"})
    read = wire.ReplaceCVRequest.from_json(json.dumps(body))
    assert read.CV.ProfessionalSummaryText is not None
    assert read.CV.ProfessionalSummaryText.HTMLText == "a\tb\r\nc 😀"


@pytest.mark.parametrize("body", [b"", b"{", b'"\\ud800"', b"\xff", b"{} {}", b'{"CV":' * 400])
def test_a_body_that_is_not_json_is_told_as_the_body(body: bytes) -> None:
    assert errors_of(body) == {"body": "is not valid JSON"}


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"'])
def test_a_body_that_is_not_an_object_is_told_as_the_body(body: bytes) -> None:
    assert errors_of(body) == {"body": "is not an object"}


def test_errors_never_hold_what_was_sent() -> None:
    secret = "0101010000"
    body = replace_cv(
        EducationCollection=[{"Title": secret * 20, "EducationLevel": secret, secret: secret}],
        OtherCVReferenceCollection=[secret] * 2,
        LanguageSkillCollection=secret,
    )
    body["ContactInformation"]["PhoneNumber"] = [secret * 2, {"PhoneNumber": 101010000}]
    body[secret] = 1
    told = errors_of(body)
    assert secret not in str(told)
    assert "101010000" not in str(told)
    assert told == {
        "ContactInformation.PhoneNumber[0]": "is longer than 16",
        "ContactInformation.PhoneNumber[1].PhoneNumber": "is not a string",
        "ContactInformation.PhoneNumber[1].PersonContactDataTypeIdentifier": "is missing",
        "CV.EducationCollection[0].Title": "is longer than 100",
        "CV.EducationCollection[0].EducationLevel": told["CV.EducationCollection[0].EducationLevel"],
        "CV.EducationCollection[0]": "holds an element that is not known here",
        "CV.LanguageSkillCollection": "is not an array",
        "CV.OtherCVReferenceCollection": "holds more than 1",
        "body": "holds an element that is not known here",
    }


def test_the_number_of_errors_told_is_bounded() -> None:
    body = replace_cv(QualificationCollection=[{}] * 200)
    assert len(errors_of(body)) == 50


def test_the_text_of_an_exception_does_not_quote_a_value() -> None:
    with pytest.raises(ValidationError) as caught:
        wire.GetCVByCVNumberRequest.from_json(
            '{"CVNumber": "hemmelig", "CitizenConsentObtained": "hemmelig"}'
        )
    assert "hemmelig" not in str(caught.value)


def test_a_time_without_a_zone_is_danish() -> None:
    query = wire.GetCVUpdateListQuery.from_query([("CVChangeStartTime", "2017-07-01T12:00:00")])
    assert query.CVChangeStartTime == datetime(2017, 7, 1, 10, tzinfo=UTC)


def test_times_at_the_ends_of_the_calendar_can_be_read() -> None:
    for written in ("0001-01-01T00:00:00", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"):
        query = wire.GetCVUpdateListQuery.from_query([("CVChangeStartTime", written)])
        assert query.CVChangeStartTime.tzinfo is UTC


def test_query_parameters_are_read_by_the_seeds_names() -> None:
    version = "0b1dcb00-0000-4000-8000-00000000000f"
    query = wire.GetCVOnStatusQuery.from_query(
        [("CVStatusIdentifier", "5"), ("CVVersionIdentifier", version)]
    )
    assert query.CVStatusIdentifier == 5
    assert str(query.CVVersionIdentifier) == version


@pytest.mark.parametrize("status", ["2", "3", "5"])
def test_a_frozen_status_may_be_asked_for(status: str) -> None:
    query = wire.GetAvailableCVStatusVersionsQuery.from_query([("CVStatusIdentifier", status)])
    assert query.CVStatusIdentifier == int(status)


@pytest.mark.parametrize(
    "pairs",
    [
        *([("CVStatusIdentifier", bad)] for bad in ("1", "4", "6", "", " 2", "2.0", "+2", "٢", "2_0")),
        [("CVStatusIdentifier", "2"), ("CVStatusIdentifier", "2")],
        [("cvstatusidentifier", "2")],
        [("CVVersionIdentifier", "0" * 32)],
    ],
)
def test_other_query_parameters_are_refused(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(ValidationError) as caught:
        wire.GetCVOnStatusQuery.from_query(pairs)
    assert wire.faults_of(caught.value).code == 1014


def test_an_unknown_parameter_is_said_of_the_query_and_an_empty_body_is_called_empty() -> None:
    with pytest.raises(Fault) as caught:
        read_query(wire.GetCVOnStatusQuery, [("cvstatusidentifier", "2")])
    assert caught.value.errors == (FieldError("query", "holds an element that is not known here"),)
    with pytest.raises(Fault) as caught:
        read_body(wire.GetCVByCVNumberRequest, b"")
    assert caught.value.errors == (FieldError("body", "is empty"),)


def spoiled(value: Any, colon: str, place: tuple[int | str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Write the message once for each of its elements, with that one twice; and give how the second is named."""
    if isinstance(value, dict):
        written = [f'"{name}"{colon}{json.dumps(inner)}' for name, inner in value.items()]
        for number, (name, inner) in enumerate(value.items()):
            yield (
                "{" + ",".join((*written, f'"{name}"{colon}{json.dumps(inner)}')) + "}",
                element((*place, name)),
            )
            for text, told in spoiled(inner, colon, (*place, name)):
                others = (*written[:number], f'"{name}"{colon}{text}', *written[number + 1 :])
                yield "{" + ",".join(others) + "}", told
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            for text, told in spoiled(inner, colon, (*place, number)):
                written = [json.dumps(one) for one in value]
                yield "[" + ",".join((*written[:number], text, *written[number + 1 :])) + "]", told


@pytest.mark.parametrize("colon", [":", " \t\n: "])
@pytest.mark.parametrize("message", [name for name in EXAMPLES if name.endswith("Request")])
def test_an_element_that_is_there_twice_is_refused_wherever_it_is(message: str, colon: str) -> None:
    for text, told in spoiled(EXAMPLES[message], colon):
        with pytest.raises(Fault) as caught:
            read_body(getattr(wire, message), text.encode())
        assert (caught.value.code, caught.value.errors) == (1014, (FieldError(told, "is there twice"),))


def test_quotes_colons_and_escapes_in_a_text_are_no_element() -> None:
    job = EXAMPLES["ReplaceCVRequest"]["CV"]["PreviousJobExperienceCollection"][0]
    texts = ('":', '"SummaryText":', "\\", '\\":', '\\"', "\\u0022", '"\\u0022" :', "\n\t/æ€\U0001f600")
    jobs = [{**job, "SummaryText": text.replace('"', "¤")} for text in texts]
    marked = replace_cv(PreviousJobExperienceCollection=jobs)
    for written in (json.dumps(marked, ensure_ascii=False), json.dumps(marked, ensure_ascii=False, indent=2)):
        for quote in ('\\"', "\\u0022"):
            read = read_body(wire.ReplaceCVRequest, written.replace("¤", quote).encode())
            found = read.CV.PreviousJobExperienceCollection
            assert tuple(one.SummaryText for one in found or ()) == texts


def test_an_element_is_there_twice_however_its_name_is_written_and_whatever_a_text_holds() -> None:
    names = ("CitizenConsentObtained", "CitizenConsentObt\\u0061ined")
    for name in names:
        body = f'{{"CVNumber": "12345678", "CitizenConsentObtained": false, "{name}": true}}'
        with pytest.raises(Fault) as caught:
            read_body(wire.GetCVByCVNumberRequest, body.encode())
        assert caught.value.errors == (FieldError("CitizenConsentObtained", "is there twice"),)
    for dropped in (
        "NaN",
        "-Infinity",
        "1e999",
        "1" * 4000,
        "[" * 190 + "]" * 190,
        '{"a": {"a": 1, "b": 2}}',
    ):
        body = (
            f'{{"CVNumber": "12345678", "CitizenConsentObtained": {dropped}, "CitizenConsentObtained": true}}'
        )
        with pytest.raises(Fault) as caught:
            read_body(wire.GetCVByCVNumberRequest, body.encode())
        assert caught.value.errors == (FieldError("CitizenConsentObtained", "is there twice"),)
    for dropped in ('{"0101011234": 1, "0101011234": 2}', '[{"0101011234": [1], "0101011234": []}]'):
        body = f'{{"CVNumber": {dropped}, "CVNumber": "12345678", "CitizenConsentObtained": true}}'
        with pytest.raises(Fault) as caught:
            read_body(wire.GetCVByCVNumberRequest, body.encode())
        assert caught.value.errors == (FieldError("CVNumber", "is there twice"),), (
            "no name of the caller's own"
        )
    body = json.dumps(replace_cv())[:-1] + ', "JobTargetCollection": []}'
    with_quotes = body.replace('"SummaryText": "', '"SummaryText": "\\u0022\\u0022')
    assert with_quotes != body
    with pytest.raises(Fault) as caught:
        read_body(wire.ReplaceCVRequest, with_quotes.encode())
    assert caught.value.errors == (FieldError("JobTargetCollection", "is there twice"),)


@pytest.mark.parametrize("page", ["0", "-1", "1.5", "2147483648", "1000000000", "0000000001", "0101901234"])
def test_a_page_of_the_change_list_starts_at_one_and_is_shorter_than_a_person_number(page: str) -> None:
    with pytest.raises(ValidationError):
        wire.GetCVUpdateListQuery.from_query(
            [("CVChangeStartTime", "2017-07-01T12:00:00Z"), ("CVListPage", page)]
        )


def test_unknown_languages_and_licences_are_named_for_1014() -> None:
    body = replace_cv(
        DriverLicenseCollection=[{"Code": "B"}, {"Code": "b"}],
        LanguageSkillCollection=[{"Code": "xx", "Level": "Expert"}, {"Code": "da", "Level": "Expert"}],
    )
    request = wire.ReplaceCVRequest.from_json(json.dumps(body))
    assert wire.check_code_lists(request, default()) == [
        FieldError("CV.DriverLicenseCollection[1].Code", "is not in the code list"),
        FieldError("CV.LanguageSkillCollection[0].Code", "is not in the code list"),
    ]
    assert wire.unknown_taxonomy(request, default()) == []


def test_unknown_taxonomy_references_are_named_for_9233() -> None:
    cv = EXAMPLES["ReplaceCVRequest"]["CV"]
    job, education = cv["PreviousJobExperienceCollection"][0], cv["EducationCollection"][0]
    without = {name: value for name, value in job.items() if name != "OccupationTaxonomyReference"}
    body = replace_cv(
        PreviousJobExperienceCollection=[without, {**job, "OccupationTaxonomyReference": -1}],
        EducationCollection=[{**education, "EducationTaxonomyReference": 999_999}],
        QualificationCollection=[
            {"QualificationTaxonomyReference": 3},
            {"QualificationTaxonomyReference": 0},
        ],
    )
    body["JobTargetCollection"][0]["OccupationTaxonomyReference"] = 99_999
    request = wire.ReplaceCVRequest.from_json(json.dumps(body))
    assert [error.element for error in wire.unknown_taxonomy(request, default())] == [
        "JobTargetCollection[0].OccupationTaxonomyReference",
        "CV.PreviousJobExperienceCollection[1].OccupationTaxonomyReference",
        "CV.EducationCollection[0].EducationTaxonomyReference",
        "CV.QualificationCollection[1].QualificationTaxonomyReference",
    ]
    assert wire.check_code_lists(request, default()) == []
