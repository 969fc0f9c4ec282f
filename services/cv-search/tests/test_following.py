"""From Kafka to the search: events in any order, again, and while an owner is away; nothing is lost and nothing blocks."""

import pytest

from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.events.cv_status import StatusSet
from cv_contracts.topics import topic_of
from cv_search.testing import World, token_of
from servicekit.follow.testing import EventLog
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


async def test_three_streams_become_one_document_in_any_order_and_an_owner_may_be_away_meanwhile(
    world_on_kafka: World, kafka_settings: KafkaSettings
) -> None:
    world = world_on_kafka
    one = world.new(10000001, "strømlinet")
    created = world.replace(one, "strømlinet")
    rejected = world.set_status(one, 5)
    told = world.citizen(one, 10000001)
    cv_topic, status_topic = topic_of(CVChanged), topic_of(StatusSet)

    async def finds(*numbers: str) -> None:
        assert await world.found("strømlinet") == list(numbers)

    async with (
        EventLog(kafka_settings) as citizens,
        EventLog(kafka_settings, cv_topic) as cvs,
        EventLog(kafka_settings, status_topic, "cv-status") as statuses,
    ):
        await cvs.send(created, created)
        await citizens.send(told)
        seen = await eventually(lambda: world.search("strømlinet", headers=token_of(created, told)))
        await eventually(lambda: finds("10000001"))
        assert seen.status_code in (200, 503)
        await statuses.send(rejected)
        await eventually(finds)
        world.owners.mode = "error"
        approved = world.set_status(one, 3)
        await statuses.send(approved)

        async def waits() -> None:
            rows = (await world.operate("GET", "/internal/operations/pending")).json()["rows"]
            assert [row["projection"] for row in rows] == ["statuses"]

        await eventually(waits)
        world.owners.mode = "ok"
        await eventually(lambda: finds("10000001"))
        await citizens.send(*world.erase(one)[:1])
        await eventually(finds)
        verified = await world.operate("GET", "/internal/operations/projections")
        assert {row["name"] for row in verified.json()["projections"]} == {"citizens", "cvs", "statuses"}

        async def nothing_is_kept() -> None:
            assert await world.parts.database.fetchval("select count(*) from citizen_parts") == 0

        # By the registry's word the person is not shown even before the event has arrived.
        await eventually(nothing_is_kept)
