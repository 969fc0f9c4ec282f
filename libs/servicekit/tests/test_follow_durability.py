"""A projection that need not be durable: what a crash of its database takes is read again, and erasures are never taken."""

import asyncio
from contextlib import suppress
from uuid import UUID, uuid4

import asyncpg
import psutil
import pytest

from cvhub.testing import Postgres
from servicekit.data.postgres import Database, migrate
from servicekit.follow.follower import Follower
from servicekit.follow.testing import Copies, EventLog, OwnedStates, following, make_live
from servicekit.settings import KafkaSettings, PostgresSettings
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


async def database_of(postgres: Postgres) -> Database:
    settings = PostgresSettings(dsn=postgres.dsn)
    await migrate(settings.dsn)
    database = await Database.connect(settings, "follow-tests")
    await make_live(database)
    return database


async def has(copies: Copies, expected: dict[UUID, int]) -> None:
    assert await copies.versions() == expected


async def test_what_a_crash_of_postgres_takes_of_a_projection_that_is_not_durable_is_read_again(
    own_postgres: Postgres, kafka_settings: KafkaSettings
) -> None:
    database = await database_of(own_postgres)
    copies = await Copies(database).create()
    owner, erased = OwnedStates(), uuid4()
    people = [uuid4() for _ in range(100)]
    projection = copies.projection(owner, durable=False)
    async with (
        EventLog(kafka_settings) as log,
        following(Follower(database, kafka_settings, "cv-status", [projection])),
    ):
        await log.send(owner.put(erased, 1), *[owner.put(person, 1) for person in people])
        await eventually(lambda: has(copies, dict.fromkeys([erased, *people], 1)))
        await log.send(owner.erase(erased, 2))
        await eventually(lambda: has(copies, dict.fromkeys(people, 1)))
        # Nobody brings to the disk what was committed from here on.
        writer = await database.fetchval("select pid from pg_stat_activity where backend_type = 'walwriter'")
        psutil.Process(writer).suspend()
        await log.send(*[owner.put(person, 2) for person in people])
        await eventually(lambda: has(copies, dict.fromkeys(people, 2)))
    await asyncio.to_thread(own_postgres.kill)
    await asyncio.to_thread(own_postgres.start)
    assert await versions_when_back(copies) == dict.fromkeys(people, 1)
    assert await database.fetchval("select erased from projected_versions where subject = $1", erased)
    async with following(Follower(database, kafka_settings, "cv-status", [projection])):
        await eventually(lambda: has(copies, dict.fromkeys(people, 2)))
    assert await copies.doubled() == 0
    await database.close()


async def versions_when_back(copies: Copies) -> dict[UUID, int]:
    """Read over a connection that is made anew: those of before the crash are found to be gone one by one."""
    while True:
        with suppress(OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError):
            return await copies.versions()


async def test_what_a_crash_takes_before_there_is_any_position_is_read_again(
    own_postgres: Postgres, kafka_settings: KafkaSettings
) -> None:
    """Kafka's offset, which may be ahead of what the crash took, is not where reading goes on."""
    database = await database_of(own_postgres)
    copies, owner = await Copies(database).create(), OwnedStates()
    people = {uuid4(): 1 for _ in range(100)}
    writer = await database.fetchval("select pid from pg_stat_activity where backend_type = 'walwriter'")
    psutil.Process(writer).suspend()
    projection = copies.projection(owner, durable=False)
    async with (
        EventLog(kafka_settings) as log,
        following(Follower(database, kafka_settings, "cv-status", [projection])),
    ):
        await log.send(*[owner.put(person, 1) for person in people])
        await eventually(lambda: has(copies, people))
    await asyncio.to_thread(own_postgres.kill)
    await asyncio.to_thread(own_postgres.start)
    await versions_when_back(copies)
    async with following(Follower(database, kafka_settings, "cv-status", [projection])):
        await eventually(lambda: has(copies, people))
    await database.close()
