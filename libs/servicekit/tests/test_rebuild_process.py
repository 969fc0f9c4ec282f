"""A build in a process that is killed with -9, and in one with a follower on a real Kafka."""

import asyncio
import json
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.follow.follower import Follower
from servicekit.follow.owner_testing import Things, client_of, owner_app, serving
from servicekit.follow.projection import Projection
from servicekit.follow.testing import CITIZENS, Copies, EventLog, changed, following
from servicekit.settings import KafkaSettings, PostgresSettings
from servicekit.testing import eventually, free_port
from servicekit.web.testing import Identities

pytestmark = pytest.mark.infra
SCRIPT = Path(__file__).with_name("rebuilding_process.py")


@dataclass
class World:
    settings: PostgresSettings
    database: Database
    things: Things
    copies: Copies
    keys: Identities
    url: str

    async def start(self) -> Process:
        told = {
            "dsn": self.settings.dsn,
            "url": self.url,
            "key": str(self.keys.key_file("follower")),
        }
        return await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), json.dumps(told))

    async def is_whole(self) -> bool:
        rows = await self.database.fetch(
            "select generation from projection_generations where status = 'live'"
        )
        assert rows
        assert await self.copies.versions(rows[0][0]) == await self.things.all()
        return True


@pytest_asyncio.fixture
async def world(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[World]:
    settings = await fresh_database("servicekit.migrations")
    database = await Database.connect(settings, "rebuild-tests")
    owners = await Database.connect(await fresh_database(), "owner-tests")
    things = await Things(owners).create()
    copies = await Copies(database).create()
    keys = Identities(tmp_path, ["follower", "owner"])
    async with serving(owner_app(things, keys.verifier("owner"), "follower"), free_port()) as url:
        yield World(settings, database, things, copies, keys, url)
    await owners.close()
    await database.close()


async def test_killed_with_9_it_goes_on_from_the_last_page(world: World) -> None:
    for _ in range(60):
        await world.things.put(uuid4(), 1)
    gate = asyncio.Event()
    for pages in (3, 6):
        process, gate = await held_after(world, 3, gate)
        await eventually(partial(built, world, pages * 7))
        process.kill()
        await process.wait()
    begun = len(world.things.pages)
    world.things.gate = None
    gate.set()
    last = await world.start()
    try:
        await eventually(world.is_whole)
    finally:
        last.kill()
        await last.wait()
    assert UUID(int=0) not in world.things.pages[begun:]
    assert await world.copies.doubled() == 0


async def held_after(world: World, pages: int, gate: asyncio.Event) -> tuple[Process, asyncio.Event]:
    """Start one that gets so many pages, and waits at a gate for the next: it cannot end its build before it is killed."""
    before = len(world.things.pages)
    world.things.gate = gate
    process = await world.start()
    for page in range(pages):
        await eventually(partial(asked, world, before + page))
        opened, world.things.gate = gate, asyncio.Event()
        gate = world.things.gate
        opened.set()
    await eventually(partial(asked, world, before + pages))
    return process, gate


def asked(world: World, before: int) -> bool:
    return len(world.things.pages) > before


async def built(world: World, least: int) -> bool:
    return bool(await world.database.fetchval("select rows from projection_generations") >= least)


async def test_a_follower_on_kafka_builds_and_rebuilds_while_records_come(
    world: World, kafka_settings: KafkaSettings
) -> None:
    client, owner = client_of(world.url, world.keys.signers["follower"])
    projection = Projection(
        name="copies", topic=CITIZENS, fetch=owner.states, apply=world.copies.apply, owner=owner
    )
    subjects = [uuid4() for _ in range(300)]
    for subject in subjects:
        await world.things.put(subject, 1)
    follower = Follower(world.database, kafka_settings, "cv-status", [projection])
    rebuild = follower.rebuilds.of["copies"]
    ended = asyncio.Event()
    async with EventLog(kafka_settings) as log, following(follower):

        async def write() -> None:
            version = 1
            while not ended.is_set():
                version += 1
                subject = subjects[version % len(subjects)]
                if version % 10 == 0:
                    subjects[version % len(subjects)] = uuid4()
                    await world.things.erase(subject, version)
                else:
                    await world.things.put(subject, version)
                await log.send(changed(subject, version))

        writing = asyncio.create_task(write())
        await eventually(lambda: live(world, 1))
        for generation in (2, 3):
            async with world.database.write(rebuild.generations.key) as tx:
                await rebuild.generations.start(tx)
                tx.after_commit(rebuild.wake)
            await eventually(partial(live, world, generation))
        ended.set()
        await writing
        await eventually(world.is_whole)
    client.close()
    assert await world.copies.doubled() == 0


async def live(world: World, generation: int) -> bool:
    found = await world.database.fetchval(
        "select generation from projection_generations where status = 'live'"
    )
    return bool(found == generation)
