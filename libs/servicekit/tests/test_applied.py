"""Consistency waits and freshness: what a read may rely on."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import pytest_asyncio

from cv_contracts.faults import Unavailable
from servicekit.data.postgres import Database
from servicekit.follow.applied import applied_by
from servicekit.follow.follower import Follower
from servicekit.follow.freshness import all_fresh_sql, fresh_sql
from servicekit.follow.testing import CITIZENS, Copies, EventLog, OwnedStates, following, make_live
from servicekit.kafka import partition_of
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

PERSON = uuid4()
STREAM = CITIZENS.name


@pytest_asyncio.fixture
async def database(database: Database) -> Database:
    await make_live(database)
    return database


async def apply(database: Database, version: int, generation: int = 1) -> None:
    """As another instance of the service does it: nobody in this process is told."""
    await database.execute(
        """insert into projected_versions (projection, generation, subject, version) values ('copies', $1, $2, $3)
        on conflict (projection, generation, subject) do update set version = excluded.version""",
        generation,
        PERSON,
        version,
    )


async def test_what_is_applied_is_not_waited_for(database: Database) -> None:
    await apply(database, 5)
    applied = applied_by(database, {STREAM: "copies"})
    await applied.wait(STREAM, PERSON, 5)
    await applied.wait(STREAM, PERSON, 4)


async def test_streams_that_the_service_does_not_follow_are_not_waited_for(database: Database) -> None:
    applied = applied_by(database, {STREAM: "copies"})
    await applied.wait("cv-status.status-set", PERSON, 5)


async def test_a_wait_that_takes_too_long_is_refused_with_when_to_come_back(database: Database) -> None:
    await apply(database, 4)
    applied = applied_by(database, {STREAM: "copies"})
    begun = time.monotonic()
    with pytest.raises(Unavailable) as refused:
        await applied.wait(STREAM, PERSON, 5, timedelta(milliseconds=200))
    assert time.monotonic() - begun >= 0.2
    assert (refused.value.status, refused.value.headers()["retry-after"]) == (503, "1")
    assert applied._waiting == {}


async def test_a_wait_ends_when_another_instance_applies_the_version(database: Database) -> None:
    applied = applied_by(database, {STREAM: "copies"})
    waiting = asyncio.create_task(applied.wait(STREAM, PERSON, 5, timedelta(seconds=5)))
    await eventually(lambda: bool(applied._waiting))
    await apply(database, 5)
    await asyncio.wait_for(waiting, 60)


async def test_a_version_in_a_generation_being_built_does_not_count(database: Database) -> None:
    await make_live(database, generation=2, status="building")
    await apply(database, 5, generation=2)
    with pytest.raises(Unavailable):
        await applied_by(database, {STREAM: "copies"}).wait(STREAM, PERSON, 5, timedelta(milliseconds=50))


async def test_the_follower_wakes_those_who_wait(database: Database, kafka_settings: KafkaSettings) -> None:
    owner, copies = OwnedStates(), await Copies(database).create()
    follower = Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])
    async with EventLog(kafka_settings) as log, following(follower):
        await log.send(owner.put(uuid4(), 1))
        await eventually(lambda: _something_applied(copies))
        event = owner.put(PERSON, 7)
        waiting = asyncio.create_task(follower.applied.wait(STREAM, PERSON, 7, timedelta(seconds=5)))
        await log.send(event)
        await waiting
        assert (await copies.versions())[PERSON] == 7


FRESH = fresh_sql("copies", CITIZENS, subject="$1", partition="$2")
ALL_FRESH = all_fresh_sql("copies", CITIZENS)


async def is_fresh(database: Database) -> bool:
    partition = partition_of(str(PERSON).encode(), CITIZENS.partitions)
    return bool(
        await database.fetchval(
            f"select {FRESH} from (select $1::uuid, $2::integer) given", PERSON, partition
        )
    )


async def test_freshness_needs_a_heartbeat_of_the_subjects_partition_made_lately(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    owner, copies = OwnedStates(), await Copies(database).create()
    follower = Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])
    async with EventLog(kafka_settings) as log, following(follower):
        await log.send(owner.put(PERSON, 1))
        await eventually(lambda: _something_applied(copies))
        assert not await is_fresh(database), "no heartbeat yet"
        await log.beat(datetime.now(UTC) - timedelta(seconds=31))
        await eventually(lambda: _heartbeats(database, CITIZENS.partitions))
        assert not await is_fresh(database), "it came now, but was made too long ago"
        await log.beat()
        await eventually(lambda: is_fresh(database))


async def test_a_pending_subject_is_not_fresh_whatever_the_heartbeat_says(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    owner, copies = OwnedStates(), await Copies(database).create()
    follower = Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])
    async with EventLog(kafka_settings) as log, following(follower):
        await log.beat()
        await eventually(lambda: is_fresh(database))
        owner.trouble = ConnectionRefusedError()
        await log.raw(str(PERSON).encode(), b"{", [], partition=None)
        await eventually(lambda: _not_fresh(database))
        owner.put(PERSON, 3)
        owner.trouble = None
        await eventually(lambda: is_fresh(database))


async def test_an_older_heartbeat_does_not_replace_a_newer(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    owner, copies = OwnedStates(), await Copies(database).create()
    follower = Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])
    async with EventLog(kafka_settings) as log, following(follower):
        await log.beat()
        await eventually(lambda: is_fresh(database))
        await log.beat(datetime.now(UTC) - timedelta(hours=1))
        await log.send(owner.put(uuid4(), 1))
        await eventually(lambda: _something_applied(copies))
        assert await is_fresh(database)


async def test_a_heartbeat_out_of_the_future_does_not_stand_in_the_way_of_true_ones(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    owner, copies = OwnedStates(), await Copies(database).create()
    follower = Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])
    async with EventLog(kafka_settings) as log, following(follower):
        await log.beat(datetime.now(UTC) + timedelta(hours=1))
        await eventually(lambda: _heartbeats(database, CITIZENS.partitions))
        assert not await is_fresh(database)
        await log.send(owner.put(uuid4(), 1))
        await eventually(lambda: _something_applied(copies))
        await _heartbeats(database, CITIZENS.partitions)
        await log.beat()
        await eventually(lambda: is_fresh(database))


async def test_all_are_fresh_while_every_partition_is_something_is_live_and_nobody_waits(
    database: Database,
) -> None:
    async def heard(partition: int) -> None:
        await database.execute(
            "insert into follow_positions (projection, topic, partition, next_offset, heartbeat_at) values ('copies', $1, $2, 1, now())",
            CITIZENS.name,
            partition,
        )

    for partition in range(CITIZENS.partitions):
        assert not await database.fetchval(f"select {ALL_FRESH}"), "partitions were never heard"
        await heard(partition)
    assert await database.fetchval(f"select {ALL_FRESH}")
    for stale in (
        "update follow_positions set heartbeat_at = now() - interval '31 s' where partition = 5",
        "update follow_positions set heartbeat_at = now() + interval '31 s' where partition = 5",
        "update follow_positions set gap_at = now() where partition = 5",
        "update follow_positions set partition = 99 where partition = 5",
        "update projection_generations set status = 'retired'",
        "insert into pending_subjects values ('copies', gen_random_uuid(), 5, 1, 0, now(), 'fetch')",
    ):
        async with database.pool.acquire() as conn:
            undone = conn.transaction()
            await undone.start()
            await conn.execute(stale)
            assert not await conn.fetchval(f"select {ALL_FRESH}"), stale
            await undone.rollback()
    assert await database.fetchval(f"select {ALL_FRESH}")


async def test_a_name_that_is_none_never_gets_into_sql() -> None:
    with pytest.raises(ValueError, match="letters"):
        fresh_sql("copies' or true or '", CITIZENS, subject="$1", partition="$2")
    with pytest.raises(ValueError, match="letters"):
        all_fresh_sql("copies' or true or '", CITIZENS)


async def _something_applied(copies: Copies) -> None:
    assert await copies.versions()


async def _heartbeats(database: Database, count: int) -> None:
    assert await database.fetchval("select count(heartbeat_at) from follow_positions") == count


async def _not_fresh(database: Database) -> None:
    assert not await is_fresh(database)
