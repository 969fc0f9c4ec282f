"""What a citizen writes is text everywhere: in GetCV, by SOAP, in the document and in the search."""

import base64
from functools import partial
from uuid import uuid4

import pytest
from lxml import etree
from tests.e2e.caller import JOBCENTER, Caller, Json, caught_up, fault, population, small_cv
from tests.e2e.contacts import MAIL, save
from tests.e2e.documents import text_of
from tests.e2e.searches import PATIENCE, numbers, search
from tests.e2e.soap import answered, post
from tests.e2e.statuses import READY, STATUS, on_benefit, set_status, status_of
from tests.e2e.system import System

from cv_gateway.soap.mapping import CITIZEN
from servicekit.testing import eventually

HOSTILE = (
    '#read("/etc/passwd") #panic()',
    '"]; #panic("x") [ ]#eval("1+1")[',
    "{{ 7*7 }} ${7*7} <%= 7*7 %> #{7*7} %s {0}",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "]]><x/><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>&b;",
    "'; drop table cvs; -- \\' or 1=1",
    "&lt;b&gt; &amp; &#x23;read",
)
HTML = (
    "<p onclick='x()'>før<script>alert(1)</script><img src=x onerror=alert(1)>"
    "<a href='javascript:alert(1)'>link</a><iframe src='//x'></iframe><style>p{}</style> efter</p>"
)
QUERIES = (
    "*:*",
    "id:[0 TO 99999999]",
    "enrolled:1 OR kind:0",
    "/.*/",
    '{"match_all": {}}',
    "' or 1=1 --",
    "\\",
    "(((",
    "<script>",
    "#read ${7+7}",
)
MAIL_ADDRESSES = (
    "borger@example.com\r\nBcc: alle@example.com",
    "borger@example.com\nSubject: x",
    "borger@example.com, alle@example.com",
    "Borger <borger@example.com>",
    "borger@example.com> SIZE=1\r\nRCPT TO:<alle@example.com",
    "bor\x00ger@example.com",
    "-oQ/tmp -X/tmp/x@example.com",
)


def _cv(text: str, html: str) -> Json:
    """Give a CV with the text in every element that takes any."""
    body, begun = small_cv(html), {"Year": "2001", "Month": "--01"}
    body["CV"] |= {
        "PreviousJobExperienceCollection": [
            {"JobTitle": text, "CompanyName": text, "Place": text, "SummaryText": text, "StartDate": begun}
        ],
        "EducationCollection": [
            {"Title": text, "EducationLevel": "Master", "InstitutionName": text, "SummaryText": text}
        ],
        "OtherExperienceCollection": [
            {"Title": text, "Place": text, "SummaryText": text, "StartDate": begun}
        ],
    }
    body["JobTargetCollection"] = [
        {"OccupationTaxonomyReference": 763, "HasEducation": False, "MonthsOfExperience": 1}
    ]
    return body


def _written(cv: Json) -> list[str]:
    [job], [education] = cv["PreviousJobExperienceCollection"], cv["EducationCollection"]
    [other] = cv["OtherExperienceCollection"]
    return [
        *(job[name] for name in ("JobTitle", "CompanyName", "Place", "SummaryText")),
        *(education[name] for name in ("Title", "InstitutionName", "SummaryText")),
        *(other[name] for name in ("Title", "Place", "SummaryText")),
    ]


def _folded(text: str) -> str:
    """Give the text without blanks and without what a line's end adds."""
    return "".join(text.replace("\u200b", "").replace("\ufffe", "-").split())


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_comes_back_as_it_was_written_and_does_nothing(caller: Caller, text: str) -> None:
    one, word = population(200)[-30], f"ord{uuid4().hex}"
    written = await caller.replace_cv(one.person_number, _cv(text, f"<p>{word}</p>{HTML}"))
    assert written.status_code == 200, written.text
    token = written.headers["x-consistency-token"]
    shown = await caught_up(partial(caller.get_cv, one.person_number, x_consistency_token=token))
    cv = shown.json()["CVProfile"]["CV"]
    assert shown.headers["content-type"] == "application/json"
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert _written(cv) == [text] * 10
    assert cv["ProfessionalSummaryText"]["HTMLText"] == f"<p>{word}</p><p>førlink efter</p>"
    by_soap = await post(caller, "GetCV", {CITIZEN: one.person_number})
    assert answered(by_soap)["CVProfile"]["CV"]["ProfessionalSummaryText"] == cv["ProfessionalSummaryText"]
    assert [found.text for found in etree.fromstring(by_soap.content).iter("{*}CompanyName")] == [text]
    element = (await caller.call("GET", "/v6/Cv/pdf", one.person_number)).json()["GetCVAsPdfResult"]
    pdf = base64.b64decode(element)
    assert not [active for active in (b"/JavaScript", b"/JS", b"/Launch", b"/OpenAction") if active in pdf]
    in_pdf = _folded(text_of(pdf))
    assert in_pdf.count(_folded(text)) == 10
    assert "root:" not in in_pdf
    assert await numbers(caller, word, token) == [one.cv_number]


@pytest.mark.parametrize("query", QUERIES)
async def test_a_search_for_something_that_looks_like_a_query_is_a_search_for_its_words(
    caller: Caller, query: str
) -> None:

    async def filled() -> int:
        total: int = (await search(caller)).json()["SearchCVTextResult"]["TotalResults"]
        assert total
        return total

    everybody = await eventually(filled, PATIENCE)
    answer = await search(caller, f"{query} intetsådantord{uuid4().hex}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["SearchCVTextResult"]["TotalResults"] < everybody


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_in_a_comment_and_in_a_case_workers_name_is_kept_as_it_is(
    system: System, caller: Caller, text: str
) -> None:
    one, user = on_benefit(), f"bruger-{uuid4().hex}"
    center = caller.acting(JOBCENTER, user=user, user_name=text)
    answer = await set_status(center, one, READY, text)
    assert answer.status_code == 200, answer.text
    assert (await status_of(center, one))["CvComment"] == text
    token = answer.headers["x-consistency-token"]
    shown = await caught_up(partial(center.get_cv, one.person_number, x_consistency_token=token))
    assert shown.json()["CVComment"] == text
    query = "select distinct user_name from access_log where user_identifier = $1"
    assert [row["user_name"] for row in await system.rows(query, user, service=STATUS)] == [text]


@pytest.mark.parametrize("address", MAIL_ADDRESSES)
async def test_a_mail_address_that_says_more_than_an_address_is_refused(caller: Caller, address: str) -> None:
    assert fault(await save(caller, population(200)[-31], {MAIL: address}))[0] == 400
