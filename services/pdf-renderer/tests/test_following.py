"""StatusSet is rendered ahead, once; an erased citizen's documents go; the owners may be away meanwhile."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from cv_contracts.events.cv_status import StatusSet
from cv_contracts.topics import topic_of
from pdf_renderer.cv_testing import SAMPLE, document_json
from pdf_renderer.missed import ask_again
from pdf_renderer.settings import Settings
from pdf_renderer.testing import Owners, Start, World
from servicekit.follow.testing import EventLog, changed
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


def frozen(person_id: UUID, cv_id: UUID) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(
        document_json("frozen", SAMPLE, personId=str(person_id), cvId=str(cv_id))
    )
    return body


def status_set(cv_id: UUID, version: int) -> StatusSet:
    return StatusSet(id=uuid4(), subject=cv_id, version=version, time=datetime.now(UTC), cv_version=1)


async def stored_of(world: World, cv_id: UUID) -> int:
    count: int = await world.parts.database.fetchval("select count(*) from documents where cv_id = $1", cv_id)
    return count


async def test_a_status_set_twice_delivered_is_rendered_ahead_once_and_gone_with_its_citizen(
    world_on_kafka: World, kafka_settings: KafkaSettings
) -> None:
    world, person_id, cv_id, version_id = world_on_kafka, uuid4(), uuid4(), uuid4()
    world.owners.freeze(cv_id, version_id, 1, frozen(person_id, cv_id))
    event = status_set(cv_id, 1)

    async def rendered() -> None:
        assert await stored_of(world, cv_id) == 1
        assert await world.parts.database.fetchval("select count(*) from ahead") == 0

    async def gone() -> None:
        assert await stored_of(world, cv_id) == 0

    async with EventLog(kafka_settings, topic_of(StatusSet), "cv-status") as statuses:
        await statuses.send(event, event)
        await eventually(rendered)
        await statuses.send(event)
        again = await world.ask(orjson.dumps(frozen(person_id, cv_id)), "cv-status")
    assert again.status_code == 200
    assert await stored_of(world, cv_id) == 1
    assert world.owners.asked.count("/internal/frozen-versions/document") == 1
    world.owners.erase(person_id, 5)
    async with EventLog(kafka_settings) as citizens:
        await citizens.send(changed(person_id, 5))
        await eventually(gone)


@pytest.mark.parametrize(("by", "ahead"), [("citizens", 1), ("statuses", 0)])
async def test_where_records_were_gone_the_owner_is_asked_about_all_that_is_held(
    on_kafka: Settings, start: Start, owners: Owners, by: str, ahead: int
) -> None:
    """An erasure may have been among them, and nobody says it again. Of a CV without a status cv-status never heard."""
    kept, erased, no_status = (uuid4(), uuid4()), (uuid4(), uuid4()), uuid4()
    async with start(on_kafka) as world:
        await world.ask(document_json("cv", SAMPLE, personId=str(kept[0]), cvId=str(no_status)))
        for person_id, cv_id in (kept, erased):
            await world.ask(orjson.dumps(frozen(person_id, cv_id)), "cv-status")
        await world.parts.database.execute(
            "insert into ahead (version_id, cv_id, next_try) values ($1, $2, 'infinity')", uuid4(), erased[1]
        )
        await ask_again(world.parts.database)
        assert await world.parts.database.fetchval("select count(*) from pending_subjects") == 0
        await world.parts.database.execute(
            "insert into follow_positions (projection, topic, partition, next_offset, gap_at) values ($1, $1, 0, 7, now())",
            by,
        )
    owners.freeze(kept[1], uuid4(), 1, frozen(*kept))
    owners.states[str(kept[0])] = {"subject": str(kept[0]), "version": 1, "state": {}}
    owners.erase(erased[0] if by == "citizens" else erased[1], 5)

    async with start(on_kafka) as world:

        async def gone() -> None:
            assert (await stored_of(world, kept[1]), await stored_of(world, erased[1])) == (1, 0)

        async def nobody_waits() -> None:
            assert await world.parts.database.fetchval("select count(*) from pending_subjects") == 0

        await eventually(gone)
        left = await world.parts.database.fetchval("select count(*) from ahead where next_try = 'infinity'")
        assert left == ahead
        assert await world.parts.database.fetchval("select count(gap_at) from follow_positions") == 0
        await eventually(nobody_waits)
        assert await stored_of(world, no_status) == 1


async def test_while_cv_status_is_away_nothing_is_lost(
    world_on_kafka: World, kafka_settings: KafkaSettings
) -> None:
    world, person_id, cv_id, version_id = world_on_kafka, uuid4(), uuid4(), uuid4()
    world.owners.freeze(cv_id, version_id, 1, frozen(person_id, cv_id))
    world.owners.mode = "error"

    async def is_tried() -> None:
        assert world.owners.asked

    async def rendered() -> None:
        assert await stored_of(world, cv_id) == 1

    async with EventLog(kafka_settings, topic_of(StatusSet), "cv-status") as statuses:
        await statuses.send(status_set(cv_id, 1))
        await eventually(is_tried)
        world.owners.mode = "ok"
        await eventually(rendered)


@pytest.mark.parametrize("answer", [{}, {"document": {"kind": "letter"}}, {"document": 7}, {"unknown": True}])
async def test_what_cv_status_should_not_answer_is_tried_again_later(
    world: World, answer: Mapping[str, Any]
) -> None:
    cv_id, version_id = uuid4(), uuid4()
    await world.parts.database.execute(
        "insert into ahead (version_id, cv_id) values ($1, $2)", version_id, cv_id
    )
    if "document" in answer:
        world.owners.documents[str(version_id)] = answer["document"]
    else:
        world.owners.raw = dict(answer)

    async def was_tried_and_waits() -> None:
        row = await world.parts.database.fetchrow("select attempts, next_try > now() as later from ahead")
        assert row is not None
        assert row["attempts"] >= 1
        assert row["later"]

    await eventually(was_tried_and_waits)
    assert await stored_of(world, cv_id) == 0
