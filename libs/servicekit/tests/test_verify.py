"""Comparing a projection with its owner: what differs is named, what is merely on its way is not."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.follow.batch import apply_newer
from servicekit.follow.owner_testing import PREFIX, Things, client_of, owner_app, serving
from servicekit.follow.projection import Projection
from servicekit.follow.state_client import HttpStates
from servicekit.follow.states import Erased, Known, SubjectState
from servicekit.follow.testing import CITIZENS, Copies, OwnedStates, make_live
from servicekit.follow.verify import NothingLive, Verified, verify
from servicekit.testing import eventually, free_port
from servicekit.web.testing import Identities

pytestmark = pytest.mark.infra
AT_ONCE = timedelta(0)


@dataclass
class World:
    things: Things
    database: Database
    owner: HttpStates
    projection: Projection

    async def put(self, subject: UUID, ours: int | None, owners: int | None) -> None:
        if owners is not None:
            await self.things.put(subject, owners)
        if ours is not None:
            await self.apply(Known(subject, ours, {}))

    async def apply(self, *states: Known | Erased) -> None:
        async with self.database.pool.acquire() as conn, conn.transaction():
            await apply_newer(conn, self.projection, states)

    async def verify(self, in_flight: timedelta = AT_ONCE) -> Verified:
        return await verify(self.database, "copies", self.owner, in_flight)


@pytest_asyncio.fixture
async def world(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[World]:
    database = await Database.connect(await fresh_database("servicekit.migrations"), "verify-tests")
    owners = await Database.connect(await fresh_database(), "owner-tests")
    things = await Things(owners).create()
    copies = await Copies(database).create()
    keys, port = Identities(tmp_path, ["follower", "owner"]), free_port()
    async with serving(owner_app(things, keys.verifier("owner"), "follower"), port) as url:
        client, owner = client_of(url, keys.signers["follower"])
        yield World(things, database, owner, copies.projection(OwnedStates(), topic=CITIZENS))
        client.close()
    await owners.close()
    await database.close()


async def test_a_projection_that_was_never_built_cannot_be_compared(world: World) -> None:
    with pytest.raises(NothingLive):
        await world.verify()


async def test_equal_ones_have_nothing_to_name(world: World) -> None:
    await make_live(world.database)
    for n in range(300):
        await world.put(uuid4(), n + 1, n + 1)
    assert await world.verify() == Verified(300, 0, ())


async def test_each_way_to_differ_has_its_name(world: World) -> None:
    await make_live(world.database)
    missing, extra, older, newer, equal = (uuid4() for _ in range(5))
    await world.put(missing, None, 3)
    await world.put(extra, 3, None)
    await world.put(older, 2, 3)
    await world.put(newer, 4, 3)
    await world.put(equal, 3, 3)
    found = await world.verify()
    named = {d.subject: (d.kind, d.ours, d.owners) for d in found.differences}
    assert named == {
        missing: ("missing", None, 3),
        extra: ("extra", 3, None),
        older: ("older", 2, 3),
        newer: ("newer", 4, 3),
    }
    assert (found.compared, found.total) == (4, 4)


async def test_an_erased_one_is_equal_to_one_that_is_not_there(world: World) -> None:
    await make_live(world.database)
    subject = uuid4()
    await world.put(subject, 3, 3)
    await world.things.erase(subject, 9)
    assert [d.kind for d in (await world.verify()).differences] == ["extra"]
    await world.apply(Erased(subject, 9))
    assert (await world.verify()).total == 0


async def test_only_the_live_generation_counts(world: World) -> None:
    await make_live(world.database)
    subject = uuid4()
    await world.put(subject, 3, 3)
    await make_live(world.database, generation=2, status="building")
    assert (await world.verify()).total == 0
    await world.database.execute("update projection_generations set status = 'retired' where generation = 1")
    await world.database.execute("update projection_generations set status = 'live' where generation = 2")
    assert [d.kind for d in (await world.verify()).differences] == ["missing"]


async def test_a_change_on_its_way_is_not_reported(world: World) -> None:
    await make_live(world.database)
    subject, asked = uuid4(), asyncio.Event()
    await world.put(subject, 2, 3)

    class Noticing(HttpStates):
        async def versions(self, number: int) -> dict[UUID, int]:
            asked.set()
            return await super().versions(number)

        async def states(self, subjects: Sequence[UUID]) -> list[SubjectState]:
            await eventually(applied.done)
            return await super().states(subjects)

    async def arrive() -> None:
        await asked.wait()
        await world.apply(Known(subject, 3, {}))

    applied = asyncio.create_task(arrive())
    noticing = Noticing(world.owner._post, PREFIX)
    found = await verify(world.database, "copies", noticing, timedelta(milliseconds=50))
    assert found.total == 0


async def test_what_waits_is_told_apart(world: World) -> None:
    await make_live(world.database)
    subject = uuid4()
    await world.put(subject, None, 3)
    await world.database.execute(
        "insert into pending_subjects (projection, subject, version, next_try, reason)"
        " values ('copies', $1, 3, now(), 'owner-silent')",
        subject,
    )
    assert [d.waits for d in (await world.verify()).differences] == [True]
