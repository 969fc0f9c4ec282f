"""Rebuilds that are killed, held, given up or watched."""

import asyncio
import contextlib
import dataclasses
import gc
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from cvhub.testing import FreshDatabase
from servicekit.data.postgres import WriteTx
from servicekit.follow import rebuild as rebuilding
from servicekit.follow.generations import Generation
from servicekit.follow.owner_testing import PREFIX
from servicekit.follow.projection import Applicable, Connection, Projection
from servicekit.follow.rebuild import BuildProgress, Rebuild
from servicekit.follow.rebuild_testing import World, filled, rows, running, world_of
from servicekit.follow.state_client import HttpStates, Page
from servicekit.follow.states import BadState, Unknown
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


@pytest_asyncio.fixture
async def world(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[World]:
    own, owners = await fresh_database("servicekit.migrations"), await fresh_database()
    async with world_of(own, owners, tmp_path) as world:
        yield world


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
        await world.lease_is_free()
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


class AtRest(Rebuild):
    """Has nothing to do, and so needs no lease."""

    @contextlib.asynccontextmanager
    async def _lease(self) -> AsyncIterator[bool]:
        yield pytest.fail("there is nothing to build")


async def test_where_all_is_built_a_look_takes_no_lease(world: World) -> None:
    await filled(world)
    await world.rebuild().step()
    await AtRest(world.database, world.projection, world.owner).step()


async def test_an_owner_restored_empty_takes_nothing_away(world: World) -> None:
    subjects = await filled(world, 120)
    await world.rebuild().step()
    await world.things.database.execute("truncate things")
    await world.begin()
    rebuild = world.rebuild()
    with capture_logs() as logs:
        await rebuild.step()
        await AtRest(world.database, world.projection, world.owner).step()
    assert [one["event"] for one in logs] == ["rebuild_held"]
    assert await world.generations() == {1: "live", 2: "building"}
    assert len(await world.copies.versions(1)) == len(subjects)
    held = (await rebuild.generations.all())[1]
    assert held.held
    assert BuildProgress.of(held).share == 1.0

    async with world.database.write(rebuild.generations.key) as tx:
        assert await rebuild.generations.accept_fewer(tx)
    await rebuild.step()
    await world.is_whole(2)


async def test_a_build_that_is_held_is_not_begun_again_because_of_a_gap(world: World) -> None:
    await filled(world, 3)
    await world.rebuild().step()
    await world.things.database.execute("truncate things")
    await world.database.execute(
        "insert into follow_positions (projection, topic, partition, next_offset, gap_at) values ('copies', 't', 0, 9, now())"
    )
    with capture_logs() as logs:
        await world.rebuild().step()
        await AtRest(world.database, world.projection, world.owner).step()
    assert [one["event"] for one in logs] == ["build_begun", "rebuild_held"]
    assert (logs[1]["stream"], logs[1]["rows"]) == ("copies", 0)


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


class Overtaken(Rebuild):
    """Somebody does something about the build when its first page, or its last one, is written."""

    def __init__(
        self, world: World, what: Callable[[WriteTx], Awaitable[object]], *, at_the_end: bool
    ) -> None:
        super().__init__(world.database, world.projection, world.owner)
        self._what, self._at_the_end, self._done = what, at_the_end, False

    async def _apply_page(self, build: Generation, page: Page) -> None:
        await super()._apply_page(build, page)
        if not self._done and (page.following is None or not self._at_the_end):
            self._done = True
            async with self._database.write(self.generations.key) as tx:
                await self._what(tx)


@pytest.mark.parametrize("at_the_end", [False, True])
async def test_a_build_that_is_given_up_between_two_pages_or_after_the_last_one_is_no_trouble(
    world: World, *, at_the_end: bool
) -> None:
    await filled(world)
    await world.rebuild().step()
    await world.begin()
    await Overtaken(world, world.rebuild().generations.give_up, at_the_end=at_the_end).step()
    await world.is_whole(1)


@pytest.mark.parametrize("at_the_end", [False, True])
async def test_a_build_begun_anew_between_two_pages_or_after_the_last_one_begins_with_the_first_one(
    world: World, *, at_the_end: bool
) -> None:
    """Nor is it held because it has nothing yet, as one is whose owner was restored empty."""
    await filled(world)
    await world.rebuild().step()
    await world.begin()
    generations = world.rebuild().generations

    async def begin_anew(tx: WriteTx) -> None:
        assert await generations.give_up(tx)
        await generations.start(tx)

    await Overtaken(world, begin_anew, at_the_end=at_the_end).step()
    assert await world.generations() == {1: "live", 3: "building"}
    await world.lease_is_free()
    await world.rebuild().step()
    await world.is_whole(3)


async def test_a_page_that_was_asked_for_before_a_build_was_begun_is_none_of_its(world: World) -> None:
    """What batches applied between the two is in neither, even where the build has come just as far."""
    await filled(world)
    generations = world.rebuild().generations

    async def begin_anew(tx: WriteTx) -> None:
        [before] = await generations.all()
        assert await generations.give_up(tx)
        build = await generations.start(tx)
        await generations.move(tx.conn, build, before.after, 0)

    await Overtaken(world, begin_anew, at_the_end=False).step()
    [build] = await generations.all()
    assert (build.number, build.rows) == (2, 0)


async def test_a_build_that_somebody_else_moved_on_is_left_to_them(world: World) -> None:
    await filled(world)

    async def move_on(tx: WriteTx) -> None:
        await tx.conn.execute("update projection_generations set snapshot_after = $1", UUID(int=2**127))

    await Overtaken(world, move_on, at_the_end=False).step()
    [build] = await world.rebuild().generations.all()
    assert (build.after, build.rows) == (UUID(int=2**127), 7)


def failing_with(world: World, error: Exception) -> Projection:
    """Give the projection with states that cannot be written for this reason."""

    async def apply(conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
        await world.copies.apply(conn, generation, states)
        raise error

    return dataclasses.replace(world.projection, apply=apply)


async def test_a_trouble_of_the_database_makes_nobody_wait_and_is_told_before_the_next_page_is_there(
    world: World,
) -> None:
    await filled(world)

    class Silent(HttpStates):
        left = False

        async def page(self, after: UUID | None, limit: int) -> Page:
            if after is not None:
                try:
                    await asyncio.Event().wait()
                finally:
                    self.left = True
            return await super().page(after, limit)

    owner = Silent(world.owner._post, PREFIX)
    rebuild = Rebuild(world.database, failing_with(world, asyncpg.DeadlockDetectedError()), owner)
    async with asyncio.timeout(10):
        with pytest.raises(asyncpg.DeadlockDetectedError):
            await rebuild.step()
    assert owner.left
    assert await world.database.fetchval("select count(*) from pending_subjects") == 0
    await world.rebuild().step()
    await world.is_whole(1)


async def test_a_page_that_fails_beside_one_that_cannot_be_written_is_no_second_trouble(world: World) -> None:
    """Nobody asks for it any more: asyncio would log it with all that the error says, which may be of a person."""
    await filled(world)
    told = list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    class Failing(HttpStates):
        async def page(self, after: UUID | None, limit: int) -> Page:
            if after is not None:
                raise BadState("what the owner answered")
            return await super().page(after, limit)

    owner = Failing(world.owner._post, PREFIX)
    with pytest.raises(asyncpg.DeadlockDetectedError):
        await Rebuild(world.database, failing_with(world, asyncpg.DeadlockDetectedError()), owner).step()
    gc.collect()
    assert told == []


async def test_an_owner_that_does_not_answer_is_given_up_after_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "PAGE_TIMEOUT", 0.05)
    world.things.gate = asyncio.Event()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(world.rebuild().step(), 10)
    world.things.gate.set()


async def test_a_page_that_takes_too_long_to_write_is_written_one_by_one(world: World) -> None:
    subjects = await filled(world, 3)
    projection = failing_with(world, asyncpg.QueryCanceledError())
    await Rebuild(world.database, projection, world.owner).step()
    waiting = await world.database.fetch("select subject from pending_subjects order by subject")
    assert [row["subject"] for row in waiting] == sorted(subjects)
    assert await world.live() == 1


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


def a_build(after: UUID | None, *, done: bool = False, seconds: float = 10) -> BuildProgress:
    begun = datetime.now(UTC) - timedelta(seconds=seconds)
    return BuildProgress.of(Generation(3, "building", after, done, 500, begun, held=True, accept_fewer=False))


def test_a_build_a_quarter_through_all_ids_has_three_times_as_long_to_go() -> None:
    progress = a_build(UUID(int=2**126))
    assert (progress.generation, progress.rows, progress.share, progress.held) == (3, 500, 0.25, True)
    assert 10 <= progress.seconds < 60
    assert progress.rate == pytest.approx(500 / progress.seconds)
    assert progress.seconds_left == pytest.approx(3 * progress.seconds)


def test_a_build_that_has_not_begun_is_done_or_is_of_another_clock_tells_no_nonsense() -> None:
    assert (a_build(None).share, a_build(None).seconds_left) == (0.0, None)
    assert (a_build(None, done=True).share, a_build(None, done=True).seconds_left) == (1.0, 0.0)
    assert a_build(None, seconds=-100).seconds == 0.001


class Strange(HttpStates):
    """An owner whose pages hold somebody that it does not know, and all but the first go on from `following`."""

    following: UUID | None = None

    async def page(self, after: UUID | None, limit: int) -> Page:
        page = await super().page(after, limit)
        following = page.following if after is None else self.following or page.following
        return Page([*page.states, Unknown(uuid4())], following)


@pytest.mark.parametrize("ends", ["the same", "before"])
async def test_pages_that_go_round_in_a_ring_end_the_build_and_not_the_live_one(
    world: World, ends: str
) -> None:
    await filled(world)
    await world.rebuild().step()
    await world.begin()
    owner = Strange(world.owner._post, PREFIX)
    first = (await world.owner.page(None, 7)).following
    assert first is not None
    owner.following = first if ends == "the same" else UUID(int=first.int - 1)
    with pytest.raises(BadState, match="ring"):
        await asyncio.wait_for(Rebuild(world.database, world.projection, owner).step(), 60)
    assert await world.generations() == {1: "live", 2: "building"}


async def test_whom_the_owner_does_not_know_is_left_out_of_a_build(world: World) -> None:
    await filled(world)
    owner = Strange(world.owner._post, PREFIX)
    await Rebuild(world.database, world.projection, owner).step()
    await world.is_whole(1)
