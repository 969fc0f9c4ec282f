"""The main job through the gateway: a CV is replaced, read back, and known on Kafka; and who may not is told why."""

import asyncio
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.e2e.caller import (
    FUND,
    JOBCENTER,
    JOBNET,
    MUNICIPALITY,
    STAR,
    STRANGER,
    Caller,
    cv_saying,
    fault,
    small_cv,
)
from tests.e2e.cases import case, meant, newcomer, number
from tests.e2e.load import log_records
from tests.e2e.system import System

from cvhub.synthetic import CASES, OTHER_ACTOR
from servicekit.testing import eventually

COMPANY = "24:87654321"
UNKNOWN = "0000000000"
ASYLUM = {"CVEditEndDate": "2027-03-01", "AsylumCVTransitionDate": "2027-01-01"}


async def test_a_replaced_cv_is_read_back_and_its_change_is_on_kafka_under_the_id_of_the_receipt(
    system: System, caller: Caller
) -> None:
    one, text = case("plain"), f"Skrevet {uuid4().hex}"
    vendor = caller.acting(JOBNET, client="one-system-for-both")
    written = await vendor.replace_cv(one.person_number, cv_saying(f"<p>{text}</p>", one))
    assert written.status_code == 200, written.text
    receipt = written.json()["ServiceReceipt"]
    token = written.headers["x-consistency-token"]
    another = await caller.acting(JOBCENTER).get_cv(one.person_number, x_consistency_token=token)
    assert fault(another) == (400, 1014)
    read = await vendor.acting(JOBCENTER).get_cv(one.person_number, x_consistency_token=token)
    assert read.status_code == 200
    assert text in read.json()["CVProfile"]["CV"]["ProfessionalSummaryText"]["HTMLText"]
    assert read.json()["CVProfile"]["JobnetCVId"] == int(one.cv_number)
    assert read.headers["etag"] == written.headers["etag"]
    assert read.headers["cache-control"] == "no-store"

    async def told() -> None:
        events = {str(record.event_id): record for record in await log_records(system)}
        assert f'"{events[receipt["MessageIdentifier"]].version}"' == written.headers["etag"]

    await eventually(told)


async def test_each_who_may_read_reads_the_cv_and_the_address_is_kept_from_who_may_not(
    caller: Caller,
) -> None:
    one = case("protected-address")
    for organisation in (JOBCENTER, MUNICIPALITY, FUND, STAR):
        assert (await caller.acting(organisation).get_cv(one.person_number)).status_code == 200
    shown = await caller.acting("1:73").by_number(one.cv_number)
    assert shown.status_code == 200
    assert one.citizen["address"]["addressLine"] not in shown.text


async def test_an_other_actor_reads_a_citizen_whom_the_jobcenter_has_referred_to_it(caller: Caller) -> None:
    actor = caller.acting(JOBCENTER, own=f"4:{OTHER_ACTOR}")
    assert (await actor.get_cv(number("referred-by-jobcenter"))).status_code == 200
    assert fault(await actor.get_cv(number("plain"))) == (403, 4511)


async def test_a_repeated_request_id_gets_the_first_answer_and_another_body_is_refused(
    caller: Caller,
) -> None:
    one, request = case("contact-group-2"), uuid4().hex
    body = small_cv("<p>første</p>")
    first = await caller.replace_cv(one.person_number, body, x_requestid=request)
    again = await caller.replace_cv(one.person_number, body, x_requestid=request)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert again.headers["x-idempotent-replay"] == "true"
    assert "x-idempotent-replay" not in first.headers
    other = await caller.replace_cv(one.person_number, small_cv("<p>anden</p>"), x_requestid=request)
    assert fault(other) == (412, None)
    unchanged = await caller.get_cv(one.person_number)
    assert unchanged.headers["etag"] == first.headers["etag"]


async def _trace_of(system: System, event_id: str) -> str:
    """Give the id of the trace of the call that made the event."""

    async def told() -> str:
        (trace,) = [one.trace for one in await log_records(system) if str(one.event_id) == event_id]
        assert trace is not None
        return trace

    return await eventually(told)


async def test_fifty_identical_requests_at_once_run_once(system: System, caller: Caller) -> None:
    """All but the one that ran are replays. Where that one was answered 503 when its time was up, it asks again: one more."""
    one, request = case("contact-group-12"), uuid4().hex
    body = small_cv(f"<p>{request}</p>")
    turned_away: set[str] = set()

    async def replaced() -> httpx.Response:
        while True:
            answer = await caller.replace_cv(one.person_number, body, x_requestid=request)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return answer
            assert int(answer.headers["retry-after"]) >= 1
            turned_away.add(answer.headers["x-trace-id"])

    answers = await asyncio.gather(*(replaced() for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    ran = await _trace_of(system, answers[0].json()["ServiceReceipt"]["MessageIdentifier"])
    first = [a.headers["x-trace-id"] for a in answers if "x-idempotent-replay" not in a.headers]
    assert first == ([] if ran in turned_away else [ran])
    holding = "select count(*) from cv_revisions where convert_from(content, 'utf8') like '%' || $1 || '%'"
    assert await system.value(holding, request) == 1


async def test_if_match_lets_only_him_write_who_has_seen_the_newest_version(caller: Caller) -> None:
    one = case("contact-group-8")
    seen = (await caller.get_cv(one.person_number)).headers["etag"]
    first = await caller.replace_cv(one.person_number, small_cv("<p>a</p>"), if_match=seen)
    assert first.status_code == 200
    late = await caller.replace_cv(one.person_number, small_cv("<p>b</p>"), if_match=seen)
    assert fault(late) == (412, None)
    now = await caller.get_cv(one.person_number)
    assert now.headers["etag"] == first.headers["etag"] != seen


async def test_a_cv_that_never_existed_is_created(system: System, caller: Caller) -> None:
    person = (await newcomer(system, caller.http, "no-cv")).person_number
    assert fault(await caller.get_cv(person)) == (404, 4755)
    assert (await caller.replace_cv(person, small_cv("<p>ny</p>"))).status_code == 200
    assert (await caller.get_cv(person)).status_code == 200


async def test_an_asylum_window_is_registered_corrected_and_used(system: System, caller: Caller) -> None:
    person = (await newcomer(system, caller.http, "asylum-no-dates")).person_number
    today = date.today()  # noqa: DTZ011 - either side of midnight will do
    center = caller.acting(JOBCENTER)
    assert fault(await center.replace_cv(person, small_cv("<p>x</p>"))) == (409, 9231)
    ahead, end = (today + timedelta(days=9)).isoformat(), (today + timedelta(days=90)).isoformat()
    early = (today - timedelta(days=9)).isoformat()
    body = {"CVEditEndDate": end, "AsylumCVTransitionDate": ahead}
    assert (await center.asylum("POST", person, body)).status_code == 200
    assert fault(await center.asylum("POST", person, body)) == (400, 1014)
    assert fault(await center.replace_cv(person, small_cv("<p>x</p>"))) == (409, 9231)
    moved = {"CVEditEndDate": end, "AsylumCVTransitionDate": early}
    assert fault(await center.asylum("PUT", person, moved)) == (400, 9202)
    assert (await center.asylum("PUT", person, {**moved, "CorrectionComment": "rettet"})).status_code == 200
    assert (await center.replace_cv(person, small_cv("<p>x</p>"))).status_code == 200


TOKEN_FAULTS: list[tuple[dict[str, str | None], int, int]] = [
    ({"authorization": None}, 401, 1012),
    ({"authorization": "Bearer x.y.z"}, 401, 1012),
    ({"x_activeorganisation_type": None}, 400, 8232),
    ({"x_requestuser_name": None}, 400, 8233),
    ({"x_activeorganisation_type": "eight"}, 400, 8234),
    ({"x_requestuser_name": "%ff%fe"}, 400, 8235),
    ({"x_activeorganisation_type": "9"}, 400, 8173),
    ({"x_requestuser_type": "9"}, 400, 8174),
    ({"x_activeorganisation_type": "8", "x_activeorganisation_code": "75100"}, 403, 4575),
]
ROUTES = [("GET", "/v6/Cv"), ("PUT", "/v6/Cv"), ("POST", "/v6/Cv/bynumber"), ("POST", "/v6/AsylumTransition")]


@pytest.mark.parametrize(("verb", "path"), ROUTES)
async def test_faults_of_the_token_and_the_headers_come_before_all_others(
    caller: Caller, verb: str, path: str
) -> None:
    for headers, status, code in TOKEN_FAULTS:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await caller.acting(caller.organisation, headers=sent).call(verb, path, UNKNOWN)
        assert fault(answer) == (status, code), headers
    narrow = caller.acting(caller.organisation, scopes="contact.lookup")
    assert fault(await narrow.call(verb, path, UNKNOWN)) == (403, 1013)


READ_FAULTS = [
    (JOBCENTER, "abc", 400, 1014),
    (COMPANY, UNKNOWN, 403, 8292),
    (JOBCENTER, UNKNOWN, 404, 1010),
    (STRANGER, "plain", 403, 4575),
    (MUNICIPALITY, "moved-away", 403, 4575),
    (FUND, "no-a-kasse", 403, 4385),
    (FUND, "other-a-kasse", 403, 8291),
    (FUND, "previous-a-kasse-past-120-days", 403, 4385),
    (JOBCENTER, "no-cv-number", 404, 4103),
    (JOBCENTER, "archived", 409, 4753),
    (JOBCENTER, "disabled", 409, 4754),
    (JOBCENTER, "dead", 409, 4754),
    (JOBCENTER, "deleted", 404, 4755),
]


@pytest.mark.parametrize(("organisation", "person", "status", "code"), READ_FAULTS)
async def test_get_cv_answers_the_faults_of_its_seed(
    caller: Caller, organisation: str, person: str, status: int, code: int
) -> None:
    assert fault(await caller.acting(organisation).get_cv(meant(person))) == (status, code)


BY_NUMBER_FAULTS: list[tuple[Any, int, int]] = [
    (b"{", 400, 1014),
    ({"CVNumber": "1", "CitizenConsentObtained": True}, 400, 1014),
    ({"CVNumber": "99999999", "CitizenConsentObtained": False}, 400, 9192),
    ({"CVNumber": "99999999", "CitizenConsentObtained": True}, 404, 4400),
    ({"CVNumber": "disabled", "CitizenConsentObtained": True}, 404, 4103),
]


@pytest.mark.parametrize(("body", "status", "code"), BY_NUMBER_FAULTS)
async def test_get_cv_by_cv_number_answers_the_faults_of_its_seed(
    caller: Caller, body: Any, status: int, code: int
) -> None:
    if isinstance(body, dict) and body["CVNumber"] in CASES:
        body = {**body, "CVNumber": case(body["CVNumber"]).cv_number}
    assert fault(await caller.call("POST", "/v6/Cv/bynumber", None, body)) == (status, code)


ASYLUM_FAULTS: list[tuple[str, str, str, Any, tuple[int, int]]] = [
    ("POST", JOBCENTER, "asylum-no-dates", {}, (400, 1014)),
    ("POST", MUNICIPALITY, UNKNOWN, ASYLUM, (403, 8292)),
    ("POST", JOBCENTER, UNKNOWN, ASYLUM, (404, 1010)),
    ("POST", STRANGER, "contact-group-26", ASYLUM, (403, 6005)),
    ("POST", JOBCENTER, "plain", ASYLUM, (403, 9198)),
    ("POST", JOBCENTER, "contact-group-26", {**ASYLUM, "CVEditEndDate": "2026-12-31"}, (400, 9196)),
    ("POST", JOBCENTER, "contact-group-26", {**ASYLUM, "CVEditEndDate": "2027-12-31"}, (400, 9197)),
    ("PUT", JOBCENTER, "contact-group-26", ASYLUM, (404, 9201)),
    ("PUT", JOBCENTER, "asylum-past", ASYLUM, (409, 9200)),
    ("PUT", JOBCENTER, "asylum-present", {**ASYLUM, "CorrectionComment": " "}, (400, 9202)),
]


@pytest.mark.parametrize(("verb", "organisation", "person", "body", "expected"), ASYLUM_FAULTS)
async def test_asylum_transitions_answer_the_faults_of_their_seed(  # noqa: PLR0917 - a row of the table
    caller: Caller, verb: str, organisation: str, person: str, body: Any, expected: tuple[int, int]
) -> None:
    assert fault(await caller.acting(organisation).asylum(verb, meant(person), body)) == expected


BAD_MAIL = {**small_cv("<p>x</p>"), "ContactInformation": {"E-mail": "en example.org"}}
UNKNOWN_OCCUPATION = {
    **small_cv("<p>x</p>"),
    "JobTargetCollection": [
        {"OccupationTaxonomyReference": 2_000_000_000, "HasEducation": False, "MonthsOfExperience": 0}
    ],
}
REPLACE_FAULTS: list[tuple[str, str, Any, tuple[int, int]]] = [
    (JOBNET, UNKNOWN, {}, (400, 1014)),
    (JOBNET, "3213131234", small_cv("x"), (400, 1014)),
    (MUNICIPALITY, "plain", small_cv("x"), (403, 8292)),
    (JOBNET, UNKNOWN, small_cv("x"), (404, 4103)),
    (STRANGER, "asylum-present", small_cv("x"), (403, 6005)),
    (JOBNET, "no-cv-number", small_cv("x"), (404, 4103)),
    (JOBNET, "dead", small_cv("x"), (409, 4405)),
    (JOBNET, "archived", small_cv("x"), (409, 4753)),
    (JOBNET, "disabled", small_cv("x"), (409, 4754)),
    (JOBNET, "deleted", small_cv("x"), (404, 4755)),
    (JOBNET, "locked", small_cv("x"), (409, 4823)),
    (JOBCENTER, "asylum-past", small_cv("x"), (409, 9230)),
    (JOBCENTER, "asylum-future", small_cv("x"), (409, 9231)),
    (JOBCENTER, "plain", small_cv("x"), (403, 9232)),
    (JOBNET, "plain", UNKNOWN_OCCUPATION, (422, 9233)),
    (JOBNET, "plain", BAD_MAIL, (400, 9158)),
]


@pytest.mark.parametrize(("organisation", "person", "body", "expected"), REPLACE_FAULTS)
async def test_replace_cv_answers_the_faults_of_its_seed(
    caller: Caller, organisation: str, person: str, body: Any, expected: tuple[int, int]
) -> None:
    assert fault(await caller.acting(organisation).replace_cv(meant(person), body)) == expected


async def test_the_elements_at_fault_are_named_without_their_content(caller: Caller) -> None:
    secret = "0101010000-hemmelig"
    answer = await caller.replace_cv(number("plain"), {**small_cv("x"), "JobConditions": {secret: secret}})
    assert fault(answer) == (400, 1014)
    assert answer.json()["errors"]
    assert secret not in answer.text


async def test_an_owner_that_is_down_is_4430_with_retry_after_and_back_by_itself(
    system: System, caller: Caller
) -> None:
    one = case("plain")
    await asyncio.to_thread(system.kill, "cv-registry")
    down = await caller.get_cv(one.person_number)
    assert fault(down) == (503, 4430)
    assert int(down.headers["retry-after"]) >= 1
    other = await caller.replace_cv(one.person_number, small_cv("x"))
    assert other.status_code == 503
    assert int(other.headers["retry-after"]) >= 1
    await asyncio.to_thread(system.revive, "cv-registry")
    assert (await caller.get_cv(one.person_number)).status_code == 200


async def test_callers_are_served_while_the_identity_provider_is_down(
    system: System, caller: Caller, http: httpx.AsyncClient
) -> None:
    one = case("plain")
    assert (await caller.get_cv(one.person_number)).status_code == 200
    await asyncio.to_thread(system.kill, "idp")
    assert (
        await caller.acting(caller.organisation, user="en-anden").get_cv(one.person_number)
    ).status_code == 200
    await asyncio.to_thread(system.revive, "idp")
