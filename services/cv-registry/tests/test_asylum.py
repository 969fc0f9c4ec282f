"""CreateAsylumCVTransition and UpdateAsylumCVTransition: each fault and their order; on a real PostgreSQL."""

import asyncio
from datetime import UTC, date, datetime
from typing import Any

import pytest

from cv_citizens.testing import (
    ACTOR,
    COMPANY,
    FUND,
    JOBCENTER,
    JOBNET,
    MUNICIPALITY,
    OTHER_JOBCENTER,
    STAR,
    a_caller,
)
from cv_registry.testing import RegistryClient, SettableClock, a_citizen, a_person_number
from servicekit.caller import Caller
from servicekit.data.postgres import Database

pytestmark = pytest.mark.infra

CALLER = a_caller(JOBCENTER)
DATES = {"AsylumCVTransitionDate": "2026-11-20", "CVEditEndDate": "2026-12-20"}


async def registered(registry: RegistryClient, **changes: Any) -> str:
    citizen = a_citizen(**changes)
    await registry.register(citizen)
    return str(citizen["personNumber"])


async def with_dates(registry: RegistryClient, **changes: Any) -> str:
    number = await registered(registry, **changes)
    assert (await registry.asylum("POST", number, DATES, caller=CALLER)).status_code == 200
    return number


async def code(
    registry: RegistryClient, verb: str, number: str, body: Any, caller: Caller = CALLER, **more: Any
) -> int | None:
    answer = (await registry.asylum(verb, number, body, caller=caller, **more)).json()
    found: int | None = answer.get("code")
    return found


async def test_dates_are_registered_and_published_under_the_receipts_id(
    registry: RegistryClient, database: Database
) -> None:
    number = await registered(registry)
    response = await registry.asylum("POST", number, DATES, caller=CALLER)
    row = await database.fetchrow("SELECT * FROM outbox WHERE aggregatetype LIKE '%asylum%'")
    stored = await database.fetchrow("SELECT * FROM asylum_transitions")
    assert row is not None
    assert stored is not None
    assert str(row["id"]) == response.json()["ServiceReceipt"]["MessageIdentifier"]
    assert b'"change":"created"' in row["payload"]
    assert row["version"] == stored["version"]
    assert (stored["transition_date"], stored["edit_end_date"]) == (date(2026, 11, 20), date(2026, 12, 20))


@pytest.mark.parametrize("verb", ["POST", "PUT"])
async def test_a_malformed_body_is_1014(registry: RegistryClient, verb: str) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"CVEditEndDate": "2026-12-20"}, "AsylumCVTransitionDate"),
        ({**DATES, "CVEditEndDate": "20-12-2026"}, "CVEditEndDate"),
        ({**DATES, "CVEditEndDate": "2026-02-30"}, "CVEditEndDate"),
        ({**DATES, "More": 1}, "body"),
    ]
    told = []
    for body, _ in wrong:
        response = await registry.asylum(verb, a_person_number(), body, caller=CALLER)
        problem = response.json()
        elements = [error["element"] for error in problem.get("errors", ())]
        told.append((response.status_code, problem.get("code"), elements[:1]))
    assert told == [(400, 1014, [element]) for _, element in wrong]


@pytest.mark.parametrize("verb", ["POST", "PUT"])
async def test_only_jobcenters_set_dates(registry: RegistryClient, verb: str) -> None:
    others = [a_caller(one) for one in (FUND, MUNICIPALITY, STAR, JOBNET, COMPANY)]
    told = {
        by: await code(registry, verb, a_person_number(), DATES, by)
        for by in (*others, a_caller(JOBCENTER, ACTOR))
    }
    assert told == dict.fromkeys(told, 8292)


@pytest.mark.parametrize("verb", ["POST", "PUT"])
async def test_an_unknown_citizen_is_1010_and_another_jobcenters_6005(
    registry: RegistryClient, verb: str
) -> None:
    assert await code(registry, verb, a_person_number(), DATES) == 1010
    number = await registered(registry)
    assert await code(registry, verb, number, DATES, a_caller(OTHER_JOBCENTER)) == 6005


@pytest.mark.parametrize("verb", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("period", "group", "expected"),
    [
        (("2026-11-21", "2026-11-20"), 2, 9196),
        (("2026-11-20", "2027-05-20"), 2, 9197),
        (("2026-11-20", "2026-11-20"), 2, 9198),
        (("2026-11-20", "2026-11-20"), None, 9198),
    ],
)
async def test_the_dates_are_checked_in_the_order_of_the_seed(
    registry: RegistryClient, verb: str, period: tuple[str, str], group: int | None, expected: int
) -> None:
    number = await registered(registry, contactGroup=group)
    body = {"AsylumCVTransitionDate": period[0], "CVEditEndDate": period[1]}
    assert await code(registry, verb, number, body) == expected


@pytest.mark.parametrize("group", [3, 26, 27, 28, 29])
async def test_the_period_may_last_180_days_in_the_groups_with_the_flag(
    registry: RegistryClient, group: int
) -> None:
    number = await registered(registry, contactGroup=group)
    body = {"AsylumCVTransitionDate": "2026-01-01", "CVEditEndDate": "2026-06-30"}
    assert await code(registry, "POST", number, body) is None


async def test_a_second_create_is_1014_after_the_last_day_too(
    registry: RegistryClient, clock: SettableClock
) -> None:
    number = await with_dates(registry)
    assert await code(registry, "POST", number, DATES) == 1014
    clock.now = datetime(2027, 1, 1, tzinfo=UTC)
    later = {"AsylumCVTransitionDate": "2027-01-01", "CVEditEndDate": "2027-01-20"}
    assert await code(registry, "POST", number, later) == 1014


async def test_an_update_without_a_create_is_9201(registry: RegistryClient) -> None:
    assert await code(registry, "PUT", await registered(registry), DATES) == 9201


@pytest.mark.parametrize(
    ("moment", "expected"),
    [("2026-12-20T22:59:59+00:00", None), ("2026-12-20T23:00:00+00:00", 9200)],
)
async def test_an_update_comes_too_late_after_the_last_danish_day(
    registry: RegistryClient, clock: SettableClock, moment: str, expected: int | None
) -> None:
    number = await with_dates(registry)
    clock.now = datetime.fromisoformat(moment).astimezone(UTC)
    body = {**DATES, "CVEditEndDate": "2027-01-20"}
    assert await code(registry, "PUT", number, body) == expected


@pytest.mark.parametrize(("comment", "expected"), [(None, 9202), ("", 9202), ("  ", 9202), ("flyttet", None)])
async def test_a_moved_transition_date_needs_a_comment(
    registry: RegistryClient, database: Database, comment: str | None, expected: int | None
) -> None:
    number = await with_dates(registry)
    body: dict[str, Any] = {**DATES, "AsylumCVTransitionDate": "2026-11-21"}
    if comment is not None:
        body["CorrectionComment"] = comment
    assert await code(registry, "PUT", number, body) == expected
    rows = await database.fetchval("SELECT count(*) FROM asylum_transitions")
    assert rows == (1 if expected else 2)


async def test_a_comment_has_1500_characters_at_most(registry: RegistryClient) -> None:
    number = await with_dates(registry)
    assert await code(registry, "PUT", number, {**DATES, "CorrectionComment": "x" * 1501}) == 1014
    assert await code(registry, "PUT", number, {**DATES, "CorrectionComment": "x" * 1500}) is None


async def test_if_match_refuses_an_update_of_newer_dates(
    registry: RegistryClient, database: Database
) -> None:
    number = await registered(registry)
    seen = (await registry.asylum("POST", number, DATES, caller=CALLER)).headers["etag"]

    async def update(if_match: str, day: str, **more: Any) -> int:
        body = {**DATES, "CVEditEndDate": day}
        answer = await registry.asylum("PUT", number, body, caller=CALLER, if_match=if_match, **more)
        return answer.status_code

    assert await update(seen, "2026-12-21", x_requestid="one") == 200
    assert await update(seen, "2026-12-22") == 412
    assert await update(seen, "2026-12-21", x_requestid="one") == 200, "the first answer again"
    assert await database.fetchval("SELECT max(edit_end_date) FROM asylum_transitions") == date(2026, 12, 21)
    assert await update("*", "2026-12-22") == 200


async def test_a_fault_comes_before_an_if_match_that_does_not_hold(registry: RegistryClient) -> None:
    number = await registered(registry)
    assert await code(registry, "PUT", number, DATES, if_match='"1"') == 9201


async def test_the_newest_dates_count(registry: RegistryClient) -> None:
    number = await with_dates(registry)
    body = {"AsylumCVTransitionDate": "2026-11-23", "CVEditEndDate": "2026-12-20", "CorrectionComment": "x"}
    assert await code(registry, "PUT", number, body) is None
    assert (await registry.replace(number, caller=CALLER)).json()["code"] == 9231


async def test_fifty_identical_creates_at_once_all_get_the_first_answer(
    registry: RegistryClient, database: Database
) -> None:
    number = await registered(registry)
    answers = await asyncio.gather(
        *(registry.asylum("POST", number, DATES, caller=CALLER, x_requestid="same") for _ in range(50))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert await database.fetchval("SELECT count(*) FROM asylum_transitions") == 1
    assert (
        await code(registry, "POST", number, {**DATES, "CVEditEndDate": "2026-12-21"}, x_requestid="x")
        == 1014
    )
    other = await registry.asylum(
        "POST", number, {**DATES, "CVEditEndDate": "2026-12-21"}, caller=CALLER, x_requestid="same"
    )
    assert other.status_code == 412
