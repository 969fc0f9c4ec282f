"""A follower in a process of its own that is killed with -9, inside its transaction or before the offsets are committed."""

import asyncio
import json
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiokafka import TopicPartition

from cvhub.testing import FreshDatabase
from servicekit import kafka as clients
from servicekit.data.postgres import Database
from servicekit.follow.follower import group_of
from servicekit.follow.owner_testing import Things, owner_app, serving
from servicekit.follow.testing import CITIZENS, Copies, EventLog, changed, make_live
from servicekit.settings import KafkaSettings, PostgresSettings
from servicekit.testing import eventually, free_port
from servicekit.web.testing import Identities

pytestmark = pytest.mark.infra
SCRIPT = Path(__file__).with_name("following_process.py")
PATIENCE = timedelta(seconds=60)
PEOPLE = 40


@dataclass
class World:
    settings: PostgresSettings
    kafka: KafkaSettings
    database: Database
    copies: Copies
    things: Things
    keys: Identities
    url: str

    @asynccontextmanager
    async def process(self, stall: str = "") -> AsyncIterator[Process]:
        """Run a follower that is killed at the end of the block."""
        told = {
            "dsn": self.settings.dsn,
            "url": self.url,
            "key": str(self.keys.key_file("follower")),
            "kafka": self.kafka.bootstrap_servers,
            "prefix": self.kafka.topic_prefix,
            "stall": stall,
        }
        process = await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), json.dumps(told))
        try:
            yield process
        finally:
            process.kill()
            await process.wait()

    async def offsets(self) -> int:
        """Count the records that Kafka has as dealt with."""
        consumer = clients.consumer(self.kafka, group_id=group_of("cv-status", "copies"))
        await consumer.start()
        try:
            topic = self.kafka.topic_prefix + CITIZENS.name
            partitions = [TopicPartition(topic, p) for p in range(CITIZENS.partitions)]
            return sum([await consumer.committed(partition) or 0 for partition in partitions])
        finally:
            await consumer.stop()


@pytest_asyncio.fixture
async def world(
    fresh_database: FreshDatabase, kafka_settings: KafkaSettings, tmp_path: Path
) -> AsyncIterator[World]:
    settings = await fresh_database("servicekit.migrations")
    database = await Database.connect(settings, "follow-tests")
    await make_live(database)
    await database.execute("create table reached (states integer)")
    owners = await Database.connect(await fresh_database(), "owner-tests")
    things, copies = await Things(owners).create(), await Copies(database).create()
    keys = Identities(tmp_path, ["follower", "owner"])
    async with serving(owner_app(things, keys.verifier("owner"), "follower"), free_port()) as url:
        yield World(settings, kafka_settings, database, copies, things, keys, url)
    await owners.close()
    await database.close()


async def told_of(world: World) -> dict[UUID, int]:
    people = {uuid4(): number + 1 for number in range(PEOPLE)}
    for person, version in people.items():
        await world.things.put(person, version)
    async with EventLog(world.kafka) as log:
        await log.send(*(changed(person, version) for person, version in people.items()))
    return people


async def has(world: World, expected: dict[UUID, int]) -> None:
    assert await world.copies.versions() == expected


async def all_committed(world: World) -> None:
    assert await world.offsets() == PEOPLE


async def test_killed_with_9_after_the_effect_and_before_the_offsets_nothing_is_doubled(world: World) -> None:
    people = await told_of(world)
    async with world.process("offsets"):
        await eventually(lambda: has(world, people), PATIENCE)
    assert await world.offsets() == 0
    await world.database.execute("delete from follow_positions")  # so that all is read again
    async with world.process():
        await eventually(lambda: all_committed(world), PATIENCE)
    await has(world, people)
    assert await world.copies.doubled() == 0


async def test_killed_with_9_inside_its_transaction_all_is_applied_by_the_next_one(world: World) -> None:
    people = await told_of(world)
    async with world.process("transaction"):

        async def has_written() -> None:
            assert await world.database.fetchval("select count(*) from reached") > 0

        await eventually(has_written, PATIENCE)
    assert await world.copies.versions() == {}
    assert await world.database.fetchval("select count(*) from follow_positions") == 0
    async with world.process():
        await eventually(lambda: has(world, people), PATIENCE)
    assert await world.copies.doubled() == 0
