"""What goes over a real Kafka: citizens come in, statuses go out, and the subscriptions are those of the contracts."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from cv_citizens.replica_source import HttpRegistry
from cv_citizens.testing import MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation
from cv_contracts.envelope import read
from cv_contracts.events.cv_registry import CitizenChanged
from cv_contracts.events.cv_status import StatusSet
from cv_status.followers import projections
from cv_status.settings import SERVICE, Settings
from cv_status.testing import Person, World
from servicekit.data.consistency import ConsistencyToken
from servicekit.data.postgres import Database
from servicekit.follow.follower import Follower
from servicekit.follow.testing import EventLog, changed
from servicekit.follow.topology_testing import assert_follows_contracts
from servicekit.kafka import consumer
from servicekit.publish.outbox import Outbox
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

CASE_WORKER = a_caller(MUNICIPALITY)


async def tell(world: World, person: Person, version: int, **more: Any) -> CitizenChanged:
    """Change the citizen at the registry, which says so."""
    await world.change(person, version, replica=False, **more)
    event = changed(person.person_id, version)
    async with EventLog(world.settings.kafka) as log:
        await log.send(event)
        await log.beat()
    return event


async def test_a_handed_over_citizen_is_out_of_reach_as_soon_as_the_change_is_applied(
    world_on_kafka: World,
) -> None:
    world = world_on_kafka
    person = await world.citizen(relation(MUNICIPALITY), contactGroup=2)
    token = ConsistencyToken.of(await tell(world, person, 2)).encode()

    async def applied() -> None:
        assert (await world.get(CASE_WORKER, person, x_consistency_token=token)).status_code == 200

    await eventually(applied)
    await eventually(lambda: _is_fresh(world, person))
    event = await tell(world, person, 3, relations=[relation(OTHER_MUNICIPALITY)])
    token = ConsistencyToken.of(event).encode()
    asked = len(world.registry.asked)
    answer = await world.set(CASE_WORKER, person, 3, x_consistency_token=token)
    async with asyncio.timeout(60):
        while answer.status_code == 503:
            answer = await world.set(CASE_WORKER, person, 3, x_consistency_token=token)
    assert answer.json()["code"] == 4575
    assert set(world.registry.asked[asked:]) <= {"/internal/citizens/states"}


async def _is_fresh(world: World, person: Person) -> None:
    before = len(world.registry.asked)
    await world.get(CASE_WORKER, person)
    assert len(world.registry.asked) == before


async def test_an_erasure_told_by_the_registry_removes_the_statuses(world_on_kafka: World) -> None:
    world = world_on_kafka
    person = await world.citizen(relation(MUNICIPALITY), contactGroup=2)
    await world.set(CASE_WORKER, person, 3)
    subject = str(person.person_id)
    world.registry.citizens[subject] = {"subject": subject, "version": 5, "erased": True}
    async with EventLog(world.settings.kafka) as log:
        await log.send(changed(person.person_id, 5))

    async def gone() -> None:
        assert [await world.rows(t) for t in ("statuses", "frozen_versions", "frozen_contents")] == [0, 0, 0]

    await eventually(gone)


async def test_a_status_goes_out_as_one_thin_event_whose_id_is_the_message_identifier(
    world_on_kafka: World,
) -> None:
    world = world_on_kafka
    person = await world.citizen(relation(MUNICIPALITY), contactGroup=2)
    reader = consumer(world.settings.kafka, "cv-status.status-set", group_id=None)
    await reader.start()
    try:
        first = await world.set(CASE_WORKER, person, 3, "Hemmelig kommentar", x_requestid="r")
        await world.set(CASE_WORKER, person, 3, "Hemmelig kommentar", x_requestid="r")
        await world.set(CASE_WORKER, person, 1)
        records: list[Any] = []

        async def both_are_there() -> None:
            for some in (await reader.getmany(timeout_ms=100)).values():
                records.extend(some)
            assert len(records) == 2

        await eventually(both_are_there)
    finally:
        await reader.stop()
    events = [read(record.headers, record.value) for record in records]
    assert all(isinstance(event, StatusSet) and event.subject == person.cv_id for event in events)
    assert [event.cv_version for event in events if isinstance(event, StatusSet)] == [100, None]
    assert events[0].version < events[1].version
    receipt: Mapping[str, str] = first.json()["ServiceReceipt"]
    assert receipt["MessageIdentifier"] == str(events[0].id)
    for record in records:
        assert record.key == str(person.cv_id).encode()
        raw = repr((record.key, record.value, record.headers))
        assert not [word for word in (person.person_number, person.cv_number, "Hemmelig") if word in raw]


async def test_a_replica_that_is_lost_is_built_from_the_registry_while_calls_go_on(
    world_on_kafka: World,
) -> None:
    world = world_on_kafka
    people = [await world.citizen(relation(MUNICIPALITY), contactGroup=2) for _ in range(3)]
    for table in ("projection_generations", "projected_versions", "citizens"):
        await world.database.execute(f"delete from {table}")
    assert (await world.get(CASE_WORKER, people[0])).status_code == 200

    async def whole_again() -> None:
        assert await world.rows("citizens") == 3
        assert await world.database.fetchval("select status from projection_generations") == "live"

    await eventually(whole_again)


async def test_health_says_ready_with_lag_and_progress(world_on_kafka: World) -> None:
    world = world_on_kafka

    async def is_ready() -> None:
        answer = await world.client.get("/health/ready")
        assert answer.status_code == 200
        assert "lag" in answer.json()["checks"]["follower"]["citizens"]

    await eventually(is_ready)
    assert (await world.client.get("/health/live")).status_code == 200


async def test_a_service_started_while_kafka_is_away_is_ready_as_soon_as_its_replica_is_live(
    world: World,
) -> None:
    assert (await world.client.get("/health/ready")).status_code == 200


async def test_without_a_live_replica_the_service_is_not_ready(world: World) -> None:
    world.registry.modes["/internal/citizens/snapshot"] = "error"
    await world.database.execute("update projection_generations set status = 'retired'")
    answer = await world.client.get("/health/ready")
    assert answer.status_code == 503


async def test_the_service_follows_what_the_contracts_say_and_in_the_only_safe_way(
    settings: Settings,
) -> None:
    database = await Database.connect(settings.postgres, SERVICE)
    try:

        async def nobody(_path: str, _body: dict[str, Any]) -> Any:
            raise LookupError

        follower = Follower(database, settings.kafka, SERVICE, projections(HttpRegistry(nobody), Outbox()))
        assert_follows_contracts(follower, SERVICE, settings.kafka.topic_prefix)
    finally:
        await database.close()
