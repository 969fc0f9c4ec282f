"""Rebuilds that are killed, held, given up or watched."""

import asyncio
import types
from collections.abc import AsyncIterator, Coroutine, Generator
from typing import Any

import pytest
import pytest_asyncio

from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.follow import rebuild as rebuilding
from servicekit.follow.rebuild import BuildProgress
from servicekit.follow.rebuild_testing import World, filled, rows, running, world_of
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


@pytest_asyncio.fixture
async def world(fresh_database: FreshDatabase) -> AsyncIterator[World]:
    database = await Database.connect(await fresh_database("servicekit.migrations"), "rebuild-tests")
    owners = await Database.connect(await fresh_database(), "owner-tests")
    async with world_of(database, owners) as world:
        yield world
    await owners.close()
    await database.close()


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "PAGE", 7)
    monkeypatch.setattr(rebuilding, "REMOVED_AT_ONCE", 9)


async def test_killed_at_any_await_the_next_one_ends_the_build(world: World) -> None:
    await filled(world, 20)
    await world.rebuild().step()
    generation, step, ended = 1, 0, False
    while not ended:
        await world.begin()
        generation += 1
        ended = await killed_after(world.rebuild().step(), step)
        await world.follow(*(await world.things.all()))
        await world.rebuild().step()
        await world.is_whole(generation)
        step += 1
    assert step > 20
    assert await world.copies.doubled() == 0


@types.coroutine
def killed_after(work: Coroutine[Any, Any, None], awaits: int) -> Generator[Any, Any, bool]:
    """Run a coroutine and cancel it at its n-th await; True if it ended before."""
    result: Any = None
    for _ in range(awaits):
        try:
            awaited = work.send(result)
        except StopIteration:
            return True
        result = yield awaited
    try:
        awaited = work.throw(asyncio.CancelledError)
        while True:
            result = yield awaited
            awaited = work.send(result)
    except StopIteration:
        return True
    except asyncio.CancelledError:
        return False


async def test_an_owner_restored_empty_takes_nothing_away(world: World) -> None:
    subjects = await filled(world, 120)
    await world.rebuild().step()
    await world.things.database.execute("truncate things")
    await world.begin()
    rebuild = world.rebuild()
    await rebuild.step()
    await rebuild.step()
    assert await world.generations() == {1: "live", 2: "building"}
    assert len(await world.copies.versions(1)) == len(subjects)
    held = (await rebuild.generations.all())[1]
    assert held.held
    assert BuildProgress.of(held).share == 1.0

    async with world.database.write(rebuild.generations.key) as tx:
        assert await rebuild.generations.accept_fewer(tx)
    await rebuild.step()
    await world.is_whole(2)


async def test_an_owner_restored_empty_takes_nothing_away_however_few_there_are(world: World) -> None:
    await filled(world, 3)
    await world.rebuild().step()
    await world.things.database.execute("truncate things")
    await world.begin()
    await world.rebuild().step()
    assert await world.generations() == {1: "live", 2: "building"}
    assert len(await world.copies.versions(1)) == 3


async def test_a_build_that_is_given_up_leaves_the_live_one_alone(world: World) -> None:
    await filled(world)
    rebuild = world.rebuild()
    await rebuild.step()
    await world.begin()
    world.things.gate = asyncio.Event()
    async with running(rebuild):
        await eventually(lambda: len(world.things.pages) > 8)
        async with world.database.write(rebuild.generations.key) as tx:
            assert await rebuild.generations.give_up(tx)
            assert not await rebuild.generations.give_up(tx)
        world.things.gate.set()
        await eventually(lambda: world.is_whole(1))


async def test_progress_tells_rows_rate_and_time_left(world: World) -> None:
    await filled(world, 60)
    world.things.gate = asyncio.Event()
    rebuild = world.rebuild()
    async with running(rebuild):
        await eventually(lambda: len(world.things.pages) == 1)
        [build] = await rebuild.generations.all()
        assert (BuildProgress.of(build).share, BuildProgress.of(build).seconds_left) == (0.0, None)
        world.things.gate.set()
        world.things.gate = asyncio.Event()
        await eventually(lambda: rows(world, 7))
        [build] = await rebuild.generations.all()
        progress = BuildProgress.of(build)
        assert 0 < progress.share < 0.6
        assert progress.rate > 0
        assert progress.seconds_left is not None
        assert progress.seconds_left > 0
        world.things.gate.set()
