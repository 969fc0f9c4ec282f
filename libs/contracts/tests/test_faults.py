"""The faults against the seed documents' own lists and the table of HTTP statuses."""

import csv
from pathlib import Path

import pytest

from cv_contracts.faults import (
    FAULTS,
    Fault,
    FieldError,
    Precondition,
    Problem,
    TooMany,
    Unavailable,
    Unexpected,
)

SEED = list(
    csv.DictReader((Path(__file__).parent / "data" / "seed-faults.csv").read_text("utf-8").splitlines())
)
BEYOND_THE_SEEDS = {1011, 8173, 8174, 8232, 8233, 8234, 8235}
STATUSES = {
    400: "1001 1014 9008 9113 9153 9156 9157 9158 9192 9193 9196 9197 9202 4985 4986 8173 8174 8232 8233 8234 8235",
    401: "1012",
    403: "1013 4575 4385 4511 8291 8292 6005 4368 4369 4370 9009 9198 9232",
    404: "1010 4102 4103 4400 4755 9110 9111 9159 9201 9242",
    409: "4405 4753 4754 4823 9112 9154 9155 9200 9230 9231 9240 9241 9247",
    422: "9233",
    502: "9234 1002 4431",
    503: "4430 8236 1011",
}


@pytest.mark.parametrize("row", SEED, ids=lambda row: f"{row['method']}-{row['code']}")
def test_a_fault_has_the_texts_of_its_seed(row: dict[str, str]) -> None:
    text = FAULTS[int(row["code"])]
    assert row["text"] in (text.title + text.detail, f"{text.title} {text.detail}")
    assert row["title"] in ("", text.title)


@pytest.mark.parametrize(
    ("code", "title"),
    [
        (1002, "Error converting response message"),
        (4102, "Client not registered with this CvCustomerNumber"),
        (4103, "Client not registered with CvCustomerNumber"),
        (4369, "CV Status update not allowed"),
        (4430, "Operation failed. No connection to Jobnet could be established. Try again later"),
    ],
)
def test_a_title_ends_where_the_description_begins(code: int, title: str) -> None:
    assert FAULTS[code].title == title


def test_there_are_the_faults_of_the_seeds_and_those_of_the_headers_and_no_others() -> None:
    assert set(FAULTS) == {int(row["code"]) for row in SEED} | BEYOND_THE_SEEDS


def test_every_fault_has_the_http_status_of_the_specification() -> None:
    expected = {int(code): status for status, codes in STATUSES.items() for code in codes.split()}
    assert {code: text.status for code, text in FAULTS.items()} == expected


def test_a_fault_is_a_problem_document() -> None:
    fault = Fault(4103)
    assert fault.status == 404
    assert fault.body("4bf92f3577b34da6a3ce929d0e0e4736") == {
        "type": "urn:cvhub:fault:4103",
        "title": "Client not registered with CvCustomerNumber",
        "status": 404,
        "detail": "The client is not registered with a CvCustomerNumber",
        "code": 4103,
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
    }
    assert fault.headers() == {"content-type": "application/problem+json"}


def test_refused_elements_are_named_with_the_reason() -> None:
    fault = Fault(
        1014, errors=(FieldError("CVProfile.CV.LanguageSkillCollection.0.Code", "unknown language"),)
    )
    assert fault.body()["errors"] == [
        {"element": "CVProfile.CV.LanguageSkillCollection.0.Code", "reason": "unknown language"}
    ]


@pytest.mark.parametrize(
    ("problem", "status", "code", "retry_after"),
    [
        (Precondition(), 412, None, None),
        (TooMany(retry_after=60), 429, None, "60"),
        (Unavailable(retry_after=1), 503, 1011, "1"),
        (Unexpected(), 500, 1011, None),
        (Fault(4430, retry_after=30), 503, 4430, "30"),
        (Fault(8236), 503, 8236, "5"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_passing_refusal_says_when_to_come_back(
    problem: Problem, status: int, code: int | None, retry_after: str | None
) -> None:
    assert problem.status == problem.body()["status"] == status
    assert problem.body().get("code") == code
    assert problem.headers().get("retry-after") == retry_after


@pytest.mark.parametrize("problem", [Precondition(), TooMany(), Unavailable(), Unexpected(), Fault(9192)])
def test_every_problem_has_a_type_a_title_and_a_detail(problem: Problem) -> None:
    body = problem.body()
    assert body["type"].startswith("urn:cvhub:")
    assert body["title"]
    assert body["detail"]


def test_the_text_of_a_raised_fault_holds_no_element_and_no_reason() -> None:
    assert str(Fault(1014, errors=(FieldError("E-mail", "too long"),))) == "400 fault:1014"
