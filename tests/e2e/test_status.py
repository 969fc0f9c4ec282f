"""The status through the gateway: set, seen at once, frozen, handed over, and never lost or half set, whatever is away."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.e2e.caller import FUND, JOBCENTER, JOBNET, Caller, Json, caught_up, cv_saying, fault
from tests.e2e.cases import newcomer
from tests.e2e.intake import deliver
from tests.e2e.statuses import (
    APPROVED,
    READY,
    REJECTED,
    STARTED,
    STATUS,
    authority,
    of_group,
    on_benefit,
    set_status,
    status_body,
    status_of,
)
from tests.e2e.system import REGISTRY, System

from cvhub.people import SEED
from cvhub.synthetic import SyntheticCitizen, citizen_of_case
from servicekit.testing import eventually

NEW_TOWN, NEW_JOBCENTER = "751", "75100"
STALE_ACCESS = timedelta(seconds=30)
"""So long an authority may keep access that it has lost, at the very most."""
PATIENCE = timedelta(seconds=60)


async def versions_of(caller: Caller, one: SyntheticCitizen, query: str = "") -> list[Json]:
    answer = await caller.call("GET", "/v6/Cv/versions" + query, one.person_number)
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json().get("AvailableCVStatusVersionCollection", [])
    return found


async def test_a_status_is_set_read_back_everywhere_and_its_versions_are_listed(caller: Caller) -> None:
    one, center = on_benefit(), caller.acting(JOBCENTER)
    before = len(await versions_of(center, one))
    for status in (READY, APPROVED):
        answer = await set_status(center, one, status, f"Status {status}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["ServiceReceipt"]["MessageIdentifier"]
    token = answer.headers["x-consistency-token"]
    seen = await caught_up(partial(center.get_cv, one.person_number, x_consistency_token=token))
    assert (seen.json()["CVStatusIdentifier"], seen.json()["CVComment"]) == (APPROVED, "Status 3")
    assert await status_of(center, one) == {
        "CvCustomerIdentifier": one.cv_number,
        "CvStatusIdentifier": APPROVED,
        "CVAvailability": "Active",
        "CvComment": "Status 3",
    }
    versions = await versions_of(center, one)
    assert [version["CVStatusIdentifier"] for version in versions[:2]] == [APPROVED, READY]
    assert len(versions) == before + 2
    only = await versions_of(center, one, f"?CVStatusIdentifier={READY}")
    assert {version["CVStatusIdentifier"] for version in only} == {READY}


async def test_a_status_just_set_is_in_get_cv_at_once_fifty_times_in_a_row(caller: Caller) -> None:
    one, center = on_benefit(), caller.acting(JOBCENTER)
    for number in range(50):
        status, comment = (STARTED, READY, APPROVED, REJECTED)[number % 4], f"nr. {number}"
        written = await set_status(center, one, status, comment)
        assert written.status_code == 200, written.text
        token = written.headers["x-consistency-token"]
        shown = await caught_up(partial(center.get_cv, one.person_number, x_consistency_token=token))
        assert shown.status_code == 200, shown.text
        assert (shown.json()["CVStatusIdentifier"], shown.json()["CVComment"]) == (status, comment)


async def test_an_approval_of_something_newer_than_the_case_worker_saw_is_refused(caller: Caller) -> None:
    one, vendor = on_benefit(), caller.acting(JOBNET, client="one-system-for-both")
    center = vendor.acting(JOBCENTER)
    seen = (await vendor.replace_cv(one.person_number, cv_saying("<p>Set</p>", one))).headers["etag"]
    newer = await vendor.replace_cv(one.person_number, cv_saying("<p>Nyere</p>", one))
    before = await status_of(center, one)
    refused = await set_status(center, one, APPROVED, if_match=seen)
    assert refused.status_code == 412
    assert await status_of(center, one) == before
    token = newer.headers["x-consistency-token"]
    approved = await set_status(
        center, one, APPROVED, if_match=newer.headers["etag"], x_consistency_token=token
    )
    assert approved.status_code == 200


async def test_a_repeated_request_gets_the_first_answer_and_freezes_nothing_more(caller: Caller) -> None:
    one, center, request_id = on_benefit(), caller.acting(JOBCENTER), uuid4().hex
    first = await set_status(center, one, READY, x_requestid=request_id)
    frozen = len(await versions_of(center, one))
    again = await set_status(center, one, READY, x_requestid=request_id)
    assert again.headers["x-idempotent-replay"] == "true"
    assert again.json() == first.json()
    assert len(await versions_of(center, one)) == frozen
    assert (await set_status(center, one, APPROVED, x_requestid=request_id)).status_code == 412


REFUSED = [
    (JOBCENTER, "plain", READY, None, (403, 4368)),
    (FUND, "plain", READY, "Godt", (400, 9008)),
    (FUND, "contact-group-2", READY, None, (403, 4385)),
    ("8:75100", "contact-group-2", READY, None, (403, 4575)),
    ("100:1", "plain", READY, None, (403, 8292)),
    ("101:1", "plain", APPROVED, None, (403, 4575)),
    (JOBCENTER, "contact-group-2", 4711, None, (400, 1014)),
    (JOBCENTER, "no-cv-number", READY, None, (404, 4103)),
]


@pytest.mark.parametrize(("organisation", "label", "status", "comment", "expected"), REFUSED)
async def test_set_cv_status_answers_the_faults_of_its_seed(  # noqa: PLR0917 - a row of the table
    caller: Caller, organisation: str, label: str, status: int, comment: str | None, expected: tuple[int, int]
) -> None:
    one = citizen_of_case(SEED, label)
    body = status_body(one, status, comment)
    body["CvStatusSet"]["CvCustomerIdentifier"] = one.citizen.get("cvNumber") or "99999999"
    answer = await caller.acting(organisation).call("POST", "/v6/Cv/cvstatus", None, body)
    assert fault(answer) == expected


async def test_each_answered_read_has_left_its_access_row_at_cv_status(
    system: System, http: httpx.AsyncClient
) -> None:
    center = Caller(system, http, JOBCENTER, user=f"reader-{uuid4().hex[:8]}")
    await status_of(center, on_benefit())
    await versions_of(center, on_benefit())
    rows = await system.rows(
        "select method from access_log where user_identifier = $1 order by at", center.user, service=STATUS
    )
    assert [row["method"] for row in rows] == ["GetCvStatus", "GetAvailableCVStatusVersions"]


async def test_the_old_authority_is_refused_once_a_citizen_has_been_handed_over(
    system: System, caller: Caller, http: httpx.AsyncClient
) -> None:
    one = await newcomer(system, http, "contact-group-2")
    assert (await caller.replace_cv(one.person_number, cv_saying("<p>Flytter</p>", one))).status_code == 200
    old, new = caller.acting(authority(one, 8)), caller.acting(f"8:{NEW_JOBCENTER}")
    assert (await set_status(old, one, READY)).status_code == 200
    kept = [r for r in one.citizen["relations"] if r["organisationType"] not in (7, 8)]
    moved = [
        {"organisationType": 7, "organisationCode": NEW_TOWN, "from": "2026-01-01"},
        {"organisationType": 8, "organisationCode": NEW_JOBCENTER, "from": "2026-01-01"},
    ]
    await deliver(system, http, {**one.citizen, "sourceVersion": 2, "relations": [*kept, *moved]})

    async def refused() -> None:
        assert fault(await set_status(old, one, READY)) == (403, 4575)

    await eventually(refused, STALE_ACCESS)
    assert fault(await old.call("GET", "/v6/Cv/cvstatus", one.person_number)) == (403, 4575)
    assert fault(await old.call("GET", "/v6/Cv/versions", one.person_number)) == (403, 4575)
    assert (await set_status(new, one, APPROVED)).status_code == 200
    assert (await status_of(new, one))["CvStatusIdentifier"] == APPROVED


async def test_while_cv_status_is_away_its_methods_say_so_and_get_cv_shows_the_last_status(
    system: System, caller: Caller
) -> None:
    one, center = on_benefit(), caller.acting(JOBCENTER)
    written = await set_status(center, one, APPROVED, "Før")
    token = written.headers["x-consistency-token"]
    reading = partial(center.get_cv, one.person_number, x_consistency_token=token)
    assert (await caught_up(reading)).status_code == 200
    await asyncio.to_thread(system.kill, STATUS)
    refused = [
        (await set_status(center, one, READY), 8236),
        (await center.call("GET", "/v6/Cv/cvstatus", one.person_number), 1011),
        (await center.call("GET", "/v6/Cv/versions", one.person_number), 1011),
    ]
    for answer, code in refused:
        assert fault(answer) == (503, code)
        assert int(answer.headers["retry-after"]) >= 1
    shown = (await reading()).json()
    assert (shown["CVStatusIdentifier"], shown["CVComment"]) == (APPROVED, "Før")
    await asyncio.to_thread(system.revive, STATUS)
    assert (await status_of(center, one))["CvStatusIdentifier"] == APPROVED


async def test_statuses_set_while_the_registry_is_away_are_shown_once_it_is_back(
    system: System, caller: Caller
) -> None:
    """Status 1 freezes nothing, so cv-status needs no registry for it."""
    persons = of_group(1)[8:12]
    await asyncio.to_thread(system.kill, REGISTRY)
    written = [await set_status(caller, one, STARTED, f"Mens {one.cv_number}") for one in persons]
    assert [answer.status_code for answer in written] == [200] * len(persons)
    await asyncio.to_thread(system.revive, REGISTRY)
    for one, answer in zip(persons, written, strict=True):
        token = answer.headers["x-consistency-token"]
        await eventually(partial(shows, caller, one, token), PATIENCE)


async def shows(caller: Caller, one: SyntheticCitizen, token: str) -> None:
    """Check that GetCV shows the status of the test above: with its token there may be no answer yet, but no older status."""
    answer = await caller.get_cv(one.person_number, x_consistency_token=token)
    assert answer.status_code == 200, answer.text
    if answer.json().get("CVComment") != f"Mens {one.cv_number}":
        pytest.fail("an older status was shown to who had seen a newer one")


async def test_while_the_registry_is_away_nothing_is_approved_and_nothing_is_changed(
    system: System, caller: Caller
) -> None:
    one, center = on_benefit(), caller.acting(JOBCENTER)
    assert (await set_status(center, one, READY)).status_code == 200

    async def rows() -> list[Any]:
        tables = ("statuses", "frozen_versions", "frozen_contents")
        return [await system.value(f"select jsonb_agg(t) from {t} t", service=STATUS) for t in tables]

    before = await rows()
    await asyncio.to_thread(system.kill, REGISTRY)
    refused = await set_status(center, one, APPROVED)
    assert fault(refused) == (503, 8236)
    assert int(refused.headers["retry-after"]) >= 1
    assert await rows() == before
    await asyncio.to_thread(system.revive, REGISTRY)
    assert (await set_status(center, one, APPROVED)).status_code == 200
