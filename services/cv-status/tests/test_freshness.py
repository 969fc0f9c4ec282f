"""Rule 7: stale access never outlives 30 s; the registry stands in for a replica that is not fresh, and 503 for both."""

from typing import Any

import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs

from cv_citizens.replica import TOPIC, citizen_sql
from cv_citizens.testing import MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation
from cv_status.testing import Person, World
from servicekit.follow.states import Known
from servicekit.kafka import partition_of

pytestmark = pytest.mark.infra

CASE_WORKER = a_caller(MUNICIPALITY)
ELSEWHERE = [relation(OTHER_MUNICIPALITY)]


def code(answer: httpx.Response) -> Any:
    return answer.json().get("code", answer.status_code)


async def a_citizen(world: World) -> Person:
    return await world.citizen(relation(MUNICIPALITY), contactGroup=2)


async def every_method(world: World, person: Person) -> list[Any]:
    return [
        code(await world.set(CASE_WORKER, person, 1)),
        code(await world.get(CASE_WORKER, person)),
        code(await world.versions(CASE_WORKER, person)),
    ]


async def test_a_fresh_citizen_is_decided_by_the_replica_alone(world: World) -> None:
    person = await a_citizen(world)
    await world.heartbeat(27)
    world.registry.mode = "error"
    assert await every_method(world, person) == [200, 200, 200]
    assert world.registry.asked == []


async def test_after_30_seconds_without_a_heartbeat_the_registry_decides(world: World) -> None:
    person = await a_citizen(world)
    await world.change(person, 2, replica=False, relations=ELSEWHERE)
    assert await every_method(world, person) == [200, 200, 200]
    await world.heartbeat(31)
    assert await every_method(world, person) == [4575, 4575, 4575]


async def test_a_heartbeat_out_of_the_future_proves_nothing(world: World) -> None:
    """The registry's clock is 5 min fast, or was: else access would stay for so much longer."""
    person = await a_citizen(world)
    await world.change(person, 2, replica=False, relations=ELSEWHERE)
    await world.heartbeat(-2)
    assert await every_method(world, person) == [200, 200, 200]
    await world.heartbeat(-300)
    assert await every_method(world, person) == [4575, 4575, 4575]


async def test_a_replica_that_falls_behind_while_the_cv_is_fetched_decides_nothing(world: World) -> None:
    person = await a_citizen(world)

    async def behind() -> None:
        await world.heartbeat(31)

    await world.heartbeat(20)
    world.registry.before_content = behind
    assert code(await world.set(CASE_WORKER, person, 3)) == 8236
    assert await world.rows("statuses") == 0
    assert code(await world.set(CASE_WORKER, person, 3)) == 200


async def test_what_counts_is_the_heartbeat_of_the_citizens_own_partition(world: World) -> None:
    person = await a_citizen(world)
    await world.change(person, 2, replica=False, relations=ELSEWHERE)
    own = partition_of(str(person.person_id).encode(), TOPIC.partitions)
    await world.heartbeat(31, set(range(6)) - {own})
    assert await every_method(world, person) == [200, 200, 200]
    await world.heartbeat(0)
    await world.heartbeat(31, [own])
    assert await every_method(world, person) == [4575, 4575, 4575]


async def test_a_pending_citizen_is_asked_for_and_others_are_not(world: World) -> None:
    person, other = await a_citizen(world), await a_citizen(world)
    await world.change(person, 2, replica=False, relations=ELSEWHERE)
    await world.pending(person)
    assert await every_method(world, person) == [4575, 4575, 4575]
    asked = len(world.registry.asked)
    assert await every_method(world, other) == [200, 200, 200]
    assert len(world.registry.asked) == asked


async def test_where_the_registry_fails_too_the_answer_is_503_and_8236_when_setting(world: World) -> None:
    person = await a_citizen(world)
    await world.heartbeat(31)
    for mode in ("error", "garbage", "slow", "unknown"):
        world.registry.mode = mode
        assert await every_method(world, person) == [8236, 1011, 1011]
    answer = await world.get(CASE_WORKER, person)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert await world.rows("statuses") == 0


async def test_why_the_registry_gave_no_answer_is_in_the_log(world: World) -> None:
    person = await a_citizen(world)
    await world.heartbeat(31)
    world.registry.mode = "garbage"
    with capture_logs() as told:
        await world.get(CASE_WORKER, person)
    # Others say meanwhile that there is no Kafka.
    causes = [one["error_type"] for one in told if one["event"] == "registry_gave_no_citizen"]
    assert causes == ["ServiceGarbled"]


async def test_a_stale_citizen_that_the_registry_knows_can_be_read_and_written(world: World) -> None:
    person = await a_citizen(world)
    await world.heartbeat(31)
    assert code(await world.set(CASE_WORKER, person, 3)) == 200
    assert (await world.get(CASE_WORKER, person)).json()["CvStatus"]["CvStatusIdentifier"] == 3


async def test_a_citizen_whom_the_replica_does_not_have_yet_is_found_at_the_registry(world: World) -> None:
    person = await a_citizen(world)
    await world.database.execute("delete from citizens")
    assert await every_method(world, person) == [200, 200, 200]
    assert code(await world.set(CASE_WORKER, person, 3)) == 200
    world.registry.mode = "error"
    assert await every_method(world, person) == [8236, 1011, 1011]


async def test_a_citizen_erased_at_the_registry_is_unknown_before_the_erasure_arrives(world: World) -> None:
    person = await a_citizen(world)
    await world.pending(person)
    subject = str(person.person_id)
    world.registry.citizens[subject] = {"subject": subject, "version": 2, "erased": True}
    assert await every_method(world, person) == [4103, 4102, 1010]


async def test_a_registry_restored_from_an_older_back_up_does_not_bring_old_access_back(world: World) -> None:
    person = await a_citizen(world)
    await world.change(person, 5, relations=ELSEWHERE)
    state = {**person.state, "relations": [relation(MUNICIPALITY)]}
    world.registry.citizens[str(person.person_id)] = {
        "subject": str(person.person_id),
        "version": 4,
        "state": state,
    }
    await world.heartbeat(31)
    assert await every_method(world, person) == [4575, 4575, 4575]


async def test_the_registrys_newer_answer_counts_in_the_write_although_the_replica_is_behind(
    world: World,
) -> None:
    """The replica would refuse still; the registry, asked since the replica is stale, says that the citizen has moved here."""
    person = await world.citizen(*ELSEWHERE, contactGroup=2)
    await world.change(person, 2, replica=False, relations=[relation(MUNICIPALITY)])
    await world.heartbeat(31)
    assert await every_method(world, person) == [200, 200, 200]


async def test_a_number_that_two_citizens_had_belongs_to_the_newest(world: World) -> None:
    person, other = await a_citizen(world), await a_citizen(world)
    taken = {**other.state, "personNumber": person.person_number}
    await world.apply(Known(other.person_id, 9, taken))
    status = (await world.get(CASE_WORKER, person)).json()["CvStatus"]
    assert status["CvCustomerIdentifier"] == other.cv_number


async def test_a_number_that_is_another_citizens_now_is_found_at_the_registry(world: World) -> None:
    before, now = await a_citizen(world), await a_citizen(world)
    number = before.person_number
    await world.change(before, 2, replica=False, personNumber="0101999999")
    await world.change(now, 2, replica=False, personNumber=number)
    await world.heartbeat(31)
    status = (await world.get(CASE_WORKER, before)).json()["CvStatus"]
    assert status["CvCustomerIdentifier"] == now.cv_number


async def test_without_a_live_generation_the_registry_decides(world: World) -> None:
    person = await a_citizen(world)
    world.registry.modes["/internal/citizens/snapshot"] = "error"
    await world.database.execute("update projection_generations set status = 'retired'")
    assert await every_method(world, person) == [200, 200, 200]
    assert "/internal/citizens/lookup" in world.registry.asked


@pytest.mark.parametrize("table", ["citizens", "projection_generations"])
async def test_neither_a_citizen_nor_which_generation_is_live_changes_before_a_write_decided_by_it_ends(
    world: World, table: str
) -> None:
    person = await a_citizen(world)
    change = f"select from {table} for update nowait"
    async with world.database.pool.acquire() as conn, conn.transaction():
        assert await conn.fetchrow(citizen_sql("person_id", lock=True), person.person_id)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await world.database.execute(change)
    await world.database.execute(change)


async def test_the_replica_keeps_nothing_that_access_does_not_need(world: World) -> None:
    await a_citizen(world)
    state = await world.database.fetchval("select state::text from citizens")
    assert "Prøve" not in state
    assert "familyName" not in state


async def test_the_registry_is_asked_in_the_name_of_this_service(world: World) -> None:
    person = await a_citizen(world)
    await world.heartbeat(31)
    await world.get(CASE_WORKER, person)
    assert world.registry.authorization
    assert all(value.lower().startswith("bearer ") for value in world.registry.authorization)
