"""ReplaceCV sent again, and many at once: request ids, and versions in the order of the outbox."""

import asyncio
from datetime import UTC, datetime

import pytest

from cv_citizens.testing import JOBCENTER, JOBNET, a_caller
from cv_registry.testing import (
    RegistryClient,
    SettableClock,
    a_citizen,
    a_cv,
    a_person_number,
    in_window,
    with_cv,
)
from servicekit.data.postgres import Database

pytestmark = pytest.mark.infra

AT_THE_JOBCENTER = a_caller(JOBCENTER)


async def test_the_same_request_again_gets_the_first_answer_again(
    registry: RegistryClient, database: Database, clock: SettableClock
) -> None:
    citizen = await in_window(registry)
    number, body = citizen["personNumber"], a_cv()
    first = await registry.replace(number, body, x_requestid="abc", caller=AT_THE_JOBCENTER)
    clock.now = datetime(2027, 1, 1, tzinfo=UTC)
    again = await registry.replace(number, body, x_requestid="abc", caller=AT_THE_JOBCENTER)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["x-idempotent-replay"] == "true"
    assert "x-idempotent-replay" not in first.headers
    assert await database.fetchval("SELECT count(*) FROM cv_revisions") == 1


async def test_a_request_id_used_for_another_body_is_412(registry: RegistryClient) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    await registry.replace(citizen["personNumber"], x_requestid="abc")
    other = a_cv(JobConditions={"FullTimeEmployment": True})
    assert (await registry.replace(citizen["personNumber"], other, x_requestid="abc")).status_code == 412


async def test_request_ids_of_other_citizens_clients_and_organisations_are_other_ids(
    registry: RegistryClient, database: Database
) -> None:
    one, two = a_citizen(), a_citizen()
    await registry.register(one, two)
    for citizen, client in ((one, "a"), (two, "a"), (one, "b")):
        response = await registry.replace(
            citizen["personNumber"], x_requestid="same", caller=a_caller(JOBNET, client=client)
        )
        assert "x-idempotent-replay" not in response.headers
    assert await database.fetchval("SELECT count(*) FROM cv_revisions") == 3


@pytest.mark.parametrize("request_id", ["", "x" * 47])
async def test_a_request_id_has_1_to_46_characters(registry: RegistryClient, request_id: str) -> None:
    assert (await registry.replace(a_person_number(), x_requestid=request_id)).json()["code"] == 1014


async def test_fifty_identical_requests_at_once_run_once_and_all_get_the_same_answer(
    registry: RegistryClient, database: Database
) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    body = a_cv()
    answers = await asyncio.gather(
        *(registry.replace(citizen["personNumber"], body, x_requestid="fifty") for _ in range(50))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sum("x-idempotent-replay" not in answer.headers for answer in answers) == 1
    assert await database.fetchval("SELECT count(*) FROM cv_revisions") == 1
    assert await database.fetchval("SELECT count(*) FROM outbox WHERE aggregateid = $1", ids["cvId"]) == 1


async def test_sixteen_writers_leave_versions_in_the_order_of_the_outbox(
    registry: RegistryClient, database: Database
) -> None:
    citizen = await with_cv(registry)
    answers = await asyncio.gather(*(registry.replace(citizen["personNumber"]) for _ in range(160)))
    done = [answer for answer in answers if answer.status_code == 200]
    assert {a.json()["code"] for a in answers if a.status_code != 200} <= {4823}
    rows = await database.fetch(
        "SELECT version FROM outbox WHERE aggregateid = $1 ORDER BY seq", citizen["cvId"]
    )
    versions = [row["version"] for row in rows]
    assert versions == sorted(set(versions))
    assert len(versions) == len(done) + 1
