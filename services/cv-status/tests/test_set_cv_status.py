"""SetCvStatus: what it does when it is allowed, and what happens when calls meet."""

import asyncio
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from cv_citizens.testing import FUND, JOBCENTER, JOBNET, MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation
from cv_contracts.events.cv_registry import CitizenChanged, CVChanged
from cv_contracts.events.cv_status import StatusSet
from cv_contracts.wire.common import ServiceReceiptResponse
from cv_status.testing import TODAY, Person, World
from servicekit.caller import Organisation
from servicekit.data.consistency import ConsistencyToken, parse

pytestmark = pytest.mark.infra

CASE_WORKER = a_caller(MUNICIPALITY)


async def a_citizen(world: World, **more: Any) -> Person:
    return await world.citizen(relation(MUNICIPALITY), **{"contactGroup": 2, **more})


def message(answer: Any) -> UUID:
    return ServiceReceiptResponse.from_json(answer.content).ServiceReceipt.MessageIdentifier


async def test_a_status_is_set_with_its_comment_and_the_next_one_takes_its_place(world: World) -> None:
    person = await a_citizen(world)
    assert (await world.set(CASE_WORKER, person, 2, "Se på job 2")).status_code == 200
    assert (await world.get(CASE_WORKER, person)).json() == {
        "CvStatus": {
            "CvCustomerIdentifier": person.cv_number,
            "CvStatusIdentifier": 2,
            "CVAvailability": "Active",
            "CvComment": "Se på job 2",
        }
    }
    await world.set(CASE_WORKER, person, 3)
    status = (await world.get(CASE_WORKER, person)).json()["CvStatus"]
    assert status["CvStatusIdentifier"] == 3
    assert "CvComment" not in status


async def test_statuses_2_3_and_5_freeze_the_cv_and_1_does_not(world: World) -> None:
    for status in (1, 2, 3, 5):
        person = await a_citizen(world)
        assert (await world.set(CASE_WORKER, person, status, "Kommentar")).status_code == 200
        rows = await world.database.fetch(
            "select * from frozen_versions join frozen_contents using (cv_id) where cv_id = $1", person.cv_id
        )
        if status == 1:
            assert not rows
            continue
        [row] = rows
        content = orjson.dumps(world.registry.cvs[str(person.cv_id)]["content"])
        assert (row["content"], row["hash"]) == (content, sha256(content).digest())
        assert (row["content_hash"], row["cv_version"], row["municipality"]) == (row["hash"], 100, "101")
        assert (row["status"], row["comment"]) == (status, "Kommentar")


async def test_an_unchanged_cv_is_stored_once_however_often_it_is_frozen(world: World) -> None:
    person = await a_citizen(world)
    for status in (2, 3, 5, 3):
        assert (await world.set(CASE_WORKER, person, status)).status_code == 200
    world.replaced(person, 101, "Snedker")
    assert (await world.set(CASE_WORKER, person, 3)).status_code == 200
    assert (await world.rows("frozen_versions"), await world.rows("frozen_contents")) == (5, 2)


async def test_the_database_refuses_to_change_what_was_frozen(world: World) -> None:
    await world.set(CASE_WORKER, await a_citizen(world), 3)
    for statement in (
        "update frozen_contents set content = 'x'",
        "update frozen_contents set hash = sha256('x')",
        "delete from frozen_contents",
        "truncate frozen_contents cascade",
        "update frozen_versions set status = 5",
        "update frozen_versions set comment = 'andet'",
        "delete from frozen_versions",
        "truncate frozen_versions",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            await world.database.execute(statement)


async def test_without_an_active_cv_nothing_can_be_frozen_but_status_1_can_be_set(world: World) -> None:
    for state in (None, "ARCHIVED", "DISABLED", "LOCKED", "DELETED"):
        person = await a_citizen(world, cv=state)
        for status in (2, 3, 5):
            assert (await world.set(CASE_WORKER, person, status)).json()["code"] == 4103
        assert (await world.set(CASE_WORKER, person, 1)).status_code == 200
    assert await world.rows("frozen_versions") == 0


async def test_a_dead_citizens_cv_cannot_be_frozen(world: World) -> None:
    person = await a_citizen(world, dead=True)
    assert (await world.set(CASE_WORKER, person, 3)).json()["code"] == 4103


async def test_fifty_identical_requests_at_once_set_the_status_once_and_get_one_answer(world: World) -> None:
    person = await a_citizen(world)
    answers = await asyncio.gather(
        *(world.set(CASE_WORKER, person, 3, x_requestid="request-1") for _ in range(50))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({message(answer) for answer in answers}) == 1
    assert len({answer.headers["x-consistency-token"] for answer in answers}) == 1
    assert sum("x-idempotent-replay" not in answer.headers for answer in answers) == 1
    assert await world.rows("frozen_versions") == 1


async def test_a_repeated_request_is_answered_without_the_registry(world: World) -> None:
    person = await a_citizen(world)
    first = await world.set(CASE_WORKER, person, 3, x_requestid="r")
    world.registry.mode = "error"
    again = await world.set(CASE_WORKER, person, 3, x_requestid="r")
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["x-idempotent-replay"] == "true"


async def test_a_request_id_used_again_with_another_body_is_412_and_by_another_client_it_is_new(
    world: World,
) -> None:
    person = await a_citizen(world)
    await world.set(CASE_WORKER, person, 1, x_requestid="r")
    assert (await world.set(CASE_WORKER, person, 1, "andet", x_requestid="r")).status_code == 412
    other = await world.set(a_caller(MUNICIPALITY, client="client-2"), person, 1, "andet", x_requestid="r")
    assert other.status_code == 200
    assert "x-idempotent-replay" not in other.headers


async def test_concurrent_different_calls_for_one_cv_are_serialised(world: World) -> None:
    person = await a_citizen(world)
    answers = await asyncio.gather(*(world.set(CASE_WORKER, person, (2, 3, 5)[i % 3]) for i in range(30)))
    assert {answer.status_code for answer in answers} == {200}
    rows = await world.database.fetch(
        "select version, status, frozen_at from frozen_versions order by version"
    )
    assert len({row["version"] for row in rows}) == 30
    assert [row["frozen_at"] for row in rows] == sorted(row["frozen_at"] for row in rows)
    newest = await world.database.fetchrow("select version, status from statuses")
    assert newest is not None
    assert (newest["version"], newest["status"]) == (rows[-1]["version"], rows[-1]["status"])


async def test_if_match_refuses_to_approve_something_newer_than_the_case_worker_saw(world: World) -> None:
    person = await a_citizen(world)
    world.replaced(person, 101, "Snedker")
    assert (await world.set(CASE_WORKER, person, 3, if_match='"100"')).status_code == 412
    assert (await world.set(CASE_WORKER, person, 1, if_match='"100"')).status_code == 412
    assert (await world.set(CASE_WORKER, person, 3, if_match='W/"101"')).status_code == 412
    assert await world.rows("statuses") == 0
    assert (await world.set(CASE_WORKER, person, 3, if_match='"100", "101"')).status_code == 200
    assert (await world.set(CASE_WORKER, person, 3, if_match="*")).status_code == 200


async def test_if_match_of_a_cv_that_never_existed_does_not_hold(world: World) -> None:
    person = await a_citizen(world, cv=None)
    assert (await world.set(CASE_WORKER, person, 1, if_match="*")).status_code == 412


async def test_without_an_answer_of_the_registry_it_is_8236_and_nothing_is_changed(world: World) -> None:
    for mode in ("error", "slow", "garbage", "down"):
        person = await a_citizen(world)
        await world.set(CASE_WORKER, person, 2)
        world.registry.mode = mode
        if mode == "down":
            await world.registry.stop()
        before = [await world.rows(table) for table in ("frozen_versions", "frozen_contents", "request_log")]
        answer = await world.set(CASE_WORKER, person, 3, x_requestid="r")
        assert (answer.status_code, answer.json()["code"]) == (503, 8236)
        assert int(answer.headers["retry-after"]) > 0
        after = [await world.rows(table) for table in ("frozen_versions", "frozen_contents", "request_log")]
        assert after == before
        assert (await world.get(CASE_WORKER, person)).json()["CvStatus"]["CvStatusIdentifier"] == 2
        assert (await world.set(CASE_WORKER, person, 1)).status_code == 200
        if mode == "down":
            await world.registry.start()
        world.registry.mode = "ok"
        assert (await world.set(CASE_WORKER, person, 3, x_requestid="r")).status_code == 200


async def test_an_answer_that_is_no_cv_is_never_frozen(world: World) -> None:
    person = await a_citizen(world)
    garbage: list[Any] = [
        {},
        [],
        {"version": "100", "state": "ACTIVE", "content": {}},
        {"version": 100, "state": "ACTIVE", "content": {"JobnetCVId": 10000000}},
        {"version": 100, "state": "ACTIVE", "content": []},
    ]
    for answer in garbage:
        world.registry.cvs[str(person.cv_id)] = answer
        assert (await world.set(CASE_WORKER, person, 3)).json()["code"] == 8236
    assert await world.rows("frozen_versions") == 0


async def test_a_citizen_handed_over_while_the_cv_is_fetched_is_refused(world: World) -> None:
    person = await a_citizen(world)

    async def hand_over() -> None:
        await world.change(person, 2, relations=[relation(OTHER_MUNICIPALITY)])

    world.registry.before_content = hand_over
    assert (await world.set(CASE_WORKER, person, 3)).json()["code"] == 4575
    assert await world.rows("statuses") == 0


async def test_a_hand_over_waits_for_a_write_that_was_allowed_before_it(world: World) -> None:
    """Either the write is in before the hand-over is applied, or it is refused: never decided by one, written after the other."""
    person = await a_citizen(world)
    answers = asyncio.gather(*(world.set(CASE_WORKER, person, 3) for _ in range(20)))
    await asyncio.sleep(0)
    async with world.database.pool.acquire() as conn, conn.transaction():
        await conn.execute("select 1 from citizens where person_id = $1 for update", person.person_id)
        before = await conn.fetchval("select count(*) from frozen_versions")
        await conn.execute(
            "update citizens set version = 2, state = jsonb_set(state, '{relations}', '[]') where person_id = $1",
            person.person_id,
        )
    done = await answers
    allowed = [answer for answer in done if answer.status_code == 200]
    assert len(allowed) == before == await world.rows("frozen_versions")
    assert {a.json()["code"] for a in done if a.status_code != 200} <= {4575}


async def test_a_contact_group_that_changed_while_the_cv_is_fetched_counts(world: World) -> None:
    person = await a_citizen(world)

    async def changes() -> None:
        await world.change(person, 2, contactGroup=1)

    world.registry.before_content = changes
    assert (await world.set(CASE_WORKER, person, 3)).json()["code"] == 4368


async def test_a_citizen_who_got_another_cv_by_a_merger_meanwhile_is_to_be_tried_again(world: World) -> None:
    person = await a_citizen(world)

    async def merged() -> None:
        await world.change(person, 2, cvId=str(uuid4()))

    world.registry.before_content = merged
    assert (await world.set(CASE_WORKER, person, 3)).json()["code"] == 8236
    assert await world.rows("statuses") == 0


async def test_the_answer_carries_a_token_of_the_event_that_it_names(world: World) -> None:
    person = await a_citizen(world)
    answer = await world.set(CASE_WORKER, person, 3)
    row = await world.database.fetchrow("select version, set_at from statuses")
    assert row is not None
    event = StatusSet(id=message(answer), subject=person.cv_id, version=row["version"], time=row["set_at"])
    assert parse(answer.headers["x-consistency-token"]) == ConsistencyToken.of(event)


async def test_a_cv_older_than_the_caller_has_seen_is_not_frozen(world: World) -> None:
    person = await a_citizen(world)
    seen = CVChanged(id=uuid4(), subject=person.cv_id, version=101, time=TODAY, change="replaced")
    token = ConsistencyToken.of(seen).encode()
    assert (await world.set(CASE_WORKER, person, 3, x_consistency_token=token)).json()["code"] == 8236
    world.replaced(person, 101, "Snedker")
    assert (await world.set(CASE_WORKER, person, 3, x_consistency_token=token)).status_code == 200
    assert await world.database.fetchval("select cv_version from frozen_versions") == 101


async def test_a_cv_that_the_caller_has_seen_and_the_registry_knows_nothing_of_is_to_be_tried_again(
    world: World,
) -> None:
    person = await a_citizen(world, cv=None)
    seen = CVChanged(id=uuid4(), subject=person.cv_id, version=1, time=TODAY, change="created")
    token = ConsistencyToken.of(seen).encode()
    assert (await world.set(CASE_WORKER, person, 3, x_consistency_token=token)).json()["code"] == 8236


async def test_a_citizen_change_that_the_caller_has_seen_is_waited_for(world: World) -> None:
    person = await a_citizen(world)
    seen = CitizenChanged(id=uuid4(), subject=person.person_id, version=2, time=TODAY, change="changed")
    answer = await world.set(CASE_WORKER, person, 1, x_consistency_token=ConsistencyToken.of(seen).encode())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_an_empty_comment_is_no_comment(world: World) -> None:
    person = await world.citizen(relation(FUND), contactGroup=1)
    assert (await world.set(a_caller(FUND), person, 3, "")).status_code == 200
    assert (await world.set(a_caller(FUND), person, 3, "x")).json()["code"] == 9008


async def test_jobnet_is_bound_by_no_rule_but_its_two_statuses(world: World) -> None:
    person = await world.citizen(contactGroup=1)
    assert (await world.set(a_caller(JOBNET), person, 2, "Klar")).status_code == 200
    assert (await world.set(a_caller(JOBNET), person, 3)).json()["code"] == 4575


@pytest.mark.parametrize(
    ("relations", "who", "status", "code"),
    [([relation(JOBCENTER)], JOBCENTER, 3, "101"), ([], JOBNET, 2, "000")],
)
async def test_the_frozen_municipality_is_that_of_the_jobcenter_where_there_is_no_other_and_000_without(
    world: World, relations: list[Any], who: Organisation, status: int, code: str
) -> None:
    person = await world.citizen(*relations, contactGroup=2)
    await world.set(a_caller(who), person, status)
    assert await world.database.fetchval("select municipality from frozen_versions") == code
