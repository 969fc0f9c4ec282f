"""Rebuilds beside the live generation: what becomes of changes, erasures, faults and crashes while one is under way."""

import asyncio
import contextlib
import dataclasses
import random
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from cv_contracts.faults import Unavailable
from cvhub.testing import FreshDatabase
from servicekit.follow import rebuild as rebuilding
from servicekit.follow.applied import applied_by
from servicekit.follow.generations import Generation
from servicekit.follow.owner_testing import PREFIX, client_of, owner_app, serving
from servicekit.follow.rebuild import Rebuild, Rebuilds
from servicekit.follow.rebuild_testing import World, filled, rows, running, world_of
from servicekit.follow.state_client import HttpStates, Page
from servicekit.follow.states import Unknown
from servicekit.follow.testing import CITIZENS, make_live
from servicekit.testing import eventually, free_port
from servicekit.web.testing import Identities

pytestmark = pytest.mark.infra


@pytest_asyncio.fixture
async def world(fresh_database: FreshDatabase, tmp_path: Path) -> AsyncIterator[World]:
    own, owners = await fresh_database("servicekit.migrations"), await fresh_database()
    async with world_of(own, owners, tmp_path) as world:
        yield world


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "PAGE", 7)
    monkeypatch.setattr(rebuilding, "PAGE_BESIDE_BATCHES", 3)
    monkeypatch.setattr(rebuilding, "REMOVED_AT_ONCE", 9)


async def test_a_projection_that_was_never_built_builds_itself(world: World) -> None:
    await filled(world)
    async with running(world.rebuild()):
        await eventually(lambda: world.is_whole(1))


async def test_while_batches_come_a_build_goes_on_by_small_pages(world: World) -> None:
    subjects, limits = await filled(world), list[int]()

    class Counting(HttpStates):
        async def page(self, after: UUID | None, limit: int) -> Any:
            limits.append(limit)
            return await super().page(after, limit)

    owner = Counting(world.owner._post, PREFIX)
    nobodys = dataclasses.replace(world.projection, name="nobody's", owner=None)
    followed = [dataclasses.replace(world.projection, owner=owner), nobodys]
    rebuilds = Rebuilds(world.database, followed, lambda: len(limits) < 4).of
    assert list(rebuilds) == ["copies"]
    await rebuilds["copies"].step()
    await world.is_whole(1)
    assert limits == [3] * 4 + [7] * (len(limits) - 4)
    assert 4 * 3 + 7 * (len(limits) - 5) <= len(subjects) <= 4 * 3 + 7 * (len(limits) - 4)


async def test_while_batches_come_a_build_rests_so_many_times_as_long_as_it_worked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "REST_BESIDE_BATCHES", 20)
    await filled(world, 8)
    worked = list[float]()

    class Timed(Rebuild):
        async def _apply_page(self, build: Generation, page: Page) -> None:
            begun = time.monotonic()
            await super()._apply_page(build, page)
            worked.append(time.monotonic() - begun)

    begun = time.monotonic()
    await Timed(world.database, world.projection, world.owner, lambda: True).step()
    assert len(worked) == 3
    assert time.monotonic() - begun > 19 * sum(worked[:-1])


async def test_an_owner_without_anything_is_a_whole_build_too(world: World) -> None:
    await world.rebuild().step()
    await world.is_whole(1)


async def test_what_a_batch_applied_before_there_was_a_generation_is_not_missing(world: World) -> None:
    subjects = await filled(world)
    await world.follow(*subjects[:10])
    assert await world.copies.versions() == {}
    await world.rebuild().step()
    await world.is_whole(1)


async def test_a_rebuild_replaces_the_live_generation_and_leaves_nothing_of_it(world: World) -> None:
    await filled(world)
    with capture_logs() as logs:
        await world.rebuild().step()
        assert await world.begin() == 2
        await world.rebuild().step()
    await world.is_whole(2)
    assert await world.copies.versions(1) == {}
    events = ["build_begun", "rebuild_live", "rebuild_live", "generation_removed"]
    assert [one["event"] for one in logs] == events
    assert {one["stream"] for one in logs} == {"copies"}
    assert [one.get("rows", one.get("count")) for one in logs[1:]] == [50, 50, 50]
    assert await world.database.fetchval("select count(*) from projected_versions where generation = 1") == 0


async def test_a_rebuild_repairs_what_differs_from_the_owner(world: World) -> None:
    subjects = await filled(world)
    await world.rebuild().step()
    await world.database.execute("delete from copies where subject = $1", subjects[0])
    await world.database.execute("delete from projected_versions where subject = $1", subjects[1])
    await world.begin()
    await world.rebuild().step()
    await world.is_whole(2)


@pytest.mark.parametrize("one_by_one", [False, True])
async def test_a_page_is_written_to_the_build_alone(world: World, *, one_by_one: bool) -> None:
    subjects = await filled(world, 5)
    await make_live(world.database)
    world.copies.poison = {subjects[0]} if one_by_one else set()
    assert await world.begin() == 2
    await world.rebuild().step()
    rows = await world.database.fetch("select generation, count(*) from effects group by 1")
    assert [tuple(row) for row in rows] == [(2, 4 if one_by_one else 5)]


async def test_changes_and_erasures_while_pages_come_end_as_at_the_owner(world: World) -> None:
    """Each subject is changed or erased before, between and after its page; the live generation serves all the while."""
    subjects = await filled(world, 120)
    await world.rebuild().step()
    steady, moving = subjects[:20], subjects[20:]
    await world.begin()
    ended = asyncio.Event()
    missing: list[int] = []

    async def write(seed: int) -> None:
        chance, mine = random.Random(seed), moving[seed::3]  # noqa: S311 - a test's dice
        version = 10
        while not ended.is_set():
            version += 1
            subject = chance.choice(mine) if mine and chance.random() < 0.7 else uuid4()
            if subject in mine and chance.random() < 0.2:
                mine.remove(subject)
                await world.things.erase(subject, version)
            else:
                await world.things.put(subject, version)
            await world.follow(subject)

    async def read() -> None:
        while not ended.is_set():
            found = await world.database.fetch(
                """select c.subject from copies c join projection_generations g
                on g.generation = c.generation and g.status = 'live' where c.subject = any($1)""",
                steady,
            )
            missing.append(len(steady) - len(found))

    others = [asyncio.create_task(work) for work in (write(0), write(1), write(2), read())]
    for generation in (2, 3, 4):
        await world.rebuild().step()
        assert await world.live() == generation
        if generation < 4:
            await world.begin()
    ended.set()
    await asyncio.gather(*others)
    await world.is_whole(4)
    assert set(missing) == {0}


async def test_an_erasure_between_the_page_and_its_writing_stays(world: World) -> None:
    """The page with the old state is on its way while the erasure is applied."""
    [subject] = await filled(world, 1)
    await world.rebuild().step()
    await world.begin()

    class Slow(HttpStates):
        async def page(self, after: UUID | None, limit: int) -> Any:
            page = await super().page(after, limit)
            await world.things.erase(subject, 9)
            await world.follow(subject)
            return page

    await Rebuild(world.database, world.projection, Slow(world.owner._post, PREFIX)).step()
    await world.is_whole(2)


async def test_a_token_of_an_erasure_holds_after_the_swap(world: World) -> None:
    [gone, _] = await filled(world, 2)
    await world.rebuild().step()
    await world.things.erase(gone, 9)
    await world.follow(gone)
    await world.begin()
    await world.rebuild().step()
    await applied_by(world.database, {"s": "copies"}).wait("s", gone, 9)
    with pytest.raises(Unavailable):
        await applied_by(world.database, {"s": "copies"}).wait("s", gone, 10)


async def test_an_owner_restored_to_before_an_erasure_brings_nobody_back(world: World) -> None:
    gone, other = await filled(world, 2)
    await world.rebuild().step()
    await world.things.erase(gone, 9)
    await world.follow(gone)
    await world.things.database.execute("truncate erasures")
    await world.things.put(gone, 1)
    await world.begin()
    await world.rebuild().step()
    assert await world.live() == 2
    assert await world.copies.versions(2) == {other: 1}


async def test_an_erasure_of_which_the_follower_never_heard_is_carried_out_by_a_rebuild(world: World) -> None:
    subjects = await filled(world)
    await world.rebuild().step()
    gone = subjects[:9]
    for subject in gone:
        await world.things.erase(subject, 9)
    await world.begin()
    await world.rebuild().step()
    await world.is_whole(2)
    await applied_by(world.database, {"s": "copies"}).wait("s", gone[0], 9)
    applied = await world.database.fetch("select subject from effects where generation = 2 and version = 9")
    assert {row["subject"] for row in applied} == set(gone)


async def test_after_a_gap_it_builds_itself_anew_until_a_build_begun_since_is_live(world: World) -> None:
    await filled(world)
    await world.rebuild().step()
    await world.database.execute(
        "insert into follow_positions (projection, topic, partition, next_offset, gap_at) values ('copies', $1, 0, 9, now())",
        CITIZENS.name,
    )
    await world.rebuild().step()
    await world.rebuild().step()
    assert await world.is_whole(2)


async def test_a_state_that_cannot_be_applied_waits_and_the_build_goes_on(world: World) -> None:
    subjects = await filled(world)
    world.copies.poison = {subjects[3]}
    await world.rebuild().step()
    row = await world.database.fetchrow(
        """select subject, version, attempts, reason, extract(epoch from next_try - first_seen)::float8 as rest
        from pending_subjects"""
    )
    assert row is not None
    assert tuple(row)[:4] == (subjects[3], 1, 1, "not-applied")
    assert 0.7 < row["rest"] < 1.3
    assert await world.live() == 1
    world.copies.poison = set()
    await world.follow(subjects[3])
    await world.is_whole(1)
    assert await world.database.fetchval("select count(*) from pending_subjects") == 0


async def test_who_waits_already_waits_for_the_newer_version_and_as_long_as_before(world: World) -> None:
    behind, ahead = await filled(world, 2)
    await world.things.put(behind, 5)
    await world.database.execute(
        """insert into pending_subjects (projection, subject, version, attempts, next_try, reason)
        select 'copies', s, 3, 7, '2100-01-01', 'owner-silent' from unnest($1::uuid[]) s""",
        [behind, ahead],
    )
    world.copies.poison = {behind, ahead}
    await world.rebuild().step()
    rows = await world.database.fetch(
        "select subject, version, attempts, next_try > '2099-01-01', reason from pending_subjects"
    )
    assert {tuple(row) for row in rows} == {
        (behind, 5, 7, True, "owner-silent"),
        (ahead, 3, 7, True, "owner-silent"),
    }


async def test_an_owner_that_is_away_is_waited_for_and_the_build_goes_on_from_the_last_page(
    world: World, tmp_path: Path
) -> None:
    await filled(world)
    port = free_port()
    keys = Identities(tmp_path, ["follower", "owner"])
    app = owner_app(world.things, keys.verifier("owner"), "follower")
    client, owner = client_of(f"http://127.0.0.1:{port}", keys.signers["follower"])
    rebuild = Rebuild(world.database, world.projection, owner)
    async with running(rebuild):
        world.things.gate = asyncio.Event()
        async with serving(app, port):
            await eventually(lambda: len(world.things.pages) == 1)
            world.things.gate.set()
            world.things.gate = asyncio.Event()
            await eventually(lambda: len(world.things.pages) == 2)
            await eventually(lambda: rows(world, 7))
        world.things.gate = None
        begun = len(world.things.pages)
        async with serving(app, port):
            await eventually(lambda: world.is_whole(1))
    assert UUID(int=0) not in world.things.pages[begun:]
    client.close()


async def test_whoever_begins_a_build_need_not_wait_for_the_next_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And being woken is one look, no more."""
    monkeypatch.setattr(rebuilding, "LOOK_EVERY", 120.0)

    class Looking(Rebuild):
        looks = 0

        async def step(self) -> None:
            self.looks += 1
            await super().step()

    rebuild = Looking(world.database, world.projection, world.owner)
    async with running(rebuild):
        await eventually(lambda: world.is_whole(1))
        for generation in (2, 3):
            await world.begin()
            rebuild.wake()
            await eventually(partial(world.is_whole, generation))
    assert rebuild.looks == 3


async def test_two_instances_build_once(world: World) -> None:
    await filled(world)
    async with running(world.rebuild(), world.rebuild()):
        await eventually(lambda: world.is_whole(1))
    assert len(world.things.pages) == len(set(world.things.pages))


async def test_a_lease_is_that_of_one_projection_and_ends_with_its_builder(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, sessions = asyncpg.connect, list[Any]()

    async def noted(*args: Any, **options: Any) -> Any:
        sessions.append(await connect(*args, **options))
        return sessions[-1]

    monkeypatch.setattr(asyncpg, "connect", noted)
    others = dataclasses.replace(world.projection, name="others")
    same, other = world.rebuild(), Rebuild(world.database, others, world.owner)
    async with world.rebuild()._lease() as mine, same._lease() as theirs, other._lease() as another:
        assert (mine, theirs, another) == (True, False, True)
        names = ("idle_session_timeout", "statement_timeout", "tcp_keepalives_idle", "application_name")
        shown = [await sessions[0].fetchval(f"show {name}") for name in names]
        assert shown == ["30s", "10s", "4", "rebuild copies"]

    async def is_free() -> None:
        async with same._lease() as free:
            assert free

    await eventually(is_free)


async def test_two_builders_without_a_lease_between_them_build_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease saves work; that it is held by one only is not what keeps the build right."""

    @contextlib.asynccontextmanager
    async def everybody(_: Rebuild) -> AsyncIterator[bool]:
        yield True

    monkeypatch.setattr(Rebuild, "_lease", everybody)
    await filled(world)
    async with running(*[world.rebuild() for _ in range(3)]):
        await eventually(lambda: world.is_whole(1))
        assert await world.begin() == 2
        await eventually(lambda: world.is_whole(2))
    assert await world.copies.doubled() == 0


async def test_an_owner_that_knows_nobody_asked_for_says_unknown(world: World) -> None:
    stranger = uuid4()
    assert await world.owner.states([stranger]) == [Unknown(stranger)]
