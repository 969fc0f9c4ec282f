"""The log under a writer that is running is lost and made anew, as when Kafka is: nothing that could be told is left out."""

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from change_feed.testing import World
from cv_citizens.testing import MUNICIPALITY, a_caller, relation
from cv_contracts.topics import TOPICS
from servicekit import kafka
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

HERE = a_caller(MUNICIPALITY)


async def make_anew(world: World) -> None:
    """Delete the topics with all that is in them, and make them again."""
    settings = world.settings.kafka
    admin = AIOKafkaAdminClient(**kafka.connection(settings))
    await admin.start()
    try:
        await admin.delete_topics([settings.topic_prefix + topic.name for topic in TOPICS])

        async def none_there() -> None:
            there = await admin.list_topics()
            assert not [name for name in there if name.startswith(settings.topic_prefix)]

        await eventually(none_there)
    finally:
        await admin.close()
    await kafka.ensure_topics(settings, TOPICS)


async def test_the_writer_notices_and_asks_the_owners_for_what_the_lost_log_told_of(world: World) -> None:
    told, unheard = world.person(relation(MUNICIPALITY)), world.person(relation(MUNICIPALITY))
    await world.log.send(*[world.cv(told) for _ in range(5)])
    await world.arrived(5)
    world.cv(unheard, "created")
    await make_anew(world)
    await world.log.send(world.cv(told))
    await world.arrived(7)
    subjects = [event["subject"] for event in await world.all_of(HERE)]
    assert subjects.count(str(told.cv_id)) == 6
    assert subjects.count(str(unheard.cv_id)) == 1
