"""Moving the pointer of a projection: no batch goes astray, and other projections are left alone."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from servicekit.data.postgres import Database
from servicekit.follow.batch import apply_newer
from servicekit.follow.generations import Generation, Generations, NotBuilding
from servicekit.follow.rebuild_testing import RemovableCopies
from servicekit.follow.states import Erased, Known
from servicekit.follow.testing import Copies, OwnedStates, apply_states, make_live
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


async def begin(database: Database, projection: str, *, whole: bool = True) -> Generation:
    generations = Generations(database, projection)
    async with database.write(generations.key) as tx:
        build = await generations.start(tx)
        if whole:
            await generations.move(tx.conn, build, None, 0)
    return build


async def all_of(database: Database, projection: str) -> list[Generation]:
    return await Generations(database, projection).all()


async def test_the_pointer_moves_only_after_the_batches_under_way(database: Database) -> None:
    copies = await Copies(database).create()
    await make_live(database, "copies", 1)
    build = await begin(database, "copies")
    state = Known(uuid4(), 1, {})
    async with database.pool.acquire() as conn:
        async with conn.transaction():
            await apply_newer(conn, copies.projection(OwnedStates()), [state])
            moving = asyncio.create_task(Generations(database, "copies").make_live(build.number))

            async def waits() -> None:
                waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
                assert await database.fetchval(waiting) == 1

            await eventually(waits, timedelta(seconds=10))
            assert [g.status for g in await all_of(database, "copies")] == ["live", "building"]
        await moving
    assert await copies.versions(1) == await copies.versions(2) == {state.subject: 1}
    assert [g.status for g in await all_of(database, "copies")] == ["retired", "live"]


async def test_only_a_whole_build_under_way_becomes_live(database: Database) -> None:
    await make_live(database, "copies", 1)
    build = await begin(database, "copies", whole=False)
    before = await all_of(database, "copies")
    for number in (build.number, 1, 7):
        with pytest.raises(NotBuilding):
            await Generations(database, "copies").make_live(number)
    assert await all_of(database, "copies") == before


async def test_a_build_that_was_held_and_accepted_is_held_no_more(database: Database) -> None:
    generations, build = Generations(database, "copies"), await begin(database, "copies")
    await generations.hold(build)
    assert [g.held for g in await generations.all()] == [True]
    async with database.write(generations.key) as tx:
        assert await generations.accept_fewer(tx)
    assert [(g.held, g.accept_fewer) for g in await generations.all()] == [(False, True)]


async def test_a_build_that_was_accepted_or_given_up_meanwhile_is_not_held(database: Database) -> None:
    """It would wait for an operator who has decided already, or be a retired one that nobody removes."""
    generations, accepted = Generations(database, "copies"), await begin(database, "copies")
    async with database.write(generations.key) as tx:
        assert await generations.accept_fewer(tx)
    await generations.hold(accepted)
    assert [(g.held, g.accept_fewer) for g in await generations.all()] == [(False, True)]
    await generations.make_live(accepted.number)
    given_up = await begin(database, "copies")
    async with database.write(generations.key) as tx:
        assert await generations.give_up(tx)
    await generations.hold(given_up)
    assert [(g.status, g.held) for g in await generations.all()] == [("live", False), ("retired", False)]


async def test_a_build_that_is_held_and_becomes_live_after_all_is_held_no_more(database: Database) -> None:
    generations, build = Generations(database, "copies"), await begin(database, "copies")
    await generations.hold(build)
    await generations.make_live(build.number)
    assert [(g.status, g.held) for g in await generations.all()] == [("live", False)]


async def test_what_is_done_to_one_projection_leaves_the_others_alone(database: Database) -> None:
    for projection in ("copies", "others"):
        await make_live(database, projection, 1)
    build, _ = await begin(database, "copies"), await begin(database, "others")
    before = await all_of(database, "others")
    generations = Generations(database, "copies")
    await generations.hold(build)
    async with database.write(generations.key) as tx:
        await generations.accept_fewer(tx)
    await generations.make_live(build.number)
    await begin(database, "copies")
    async with database.write(generations.key) as tx:
        assert await generations.give_up(tx)
        assert not await generations.give_up(tx)
    assert await all_of(database, "others") == before
    assert [g.status for g in await generations.all()] == ["retired", "live", "retired"]


async def test_a_build_closes_the_gaps_of_its_projection_that_were_there_when_it_began(
    database: Database,
) -> None:
    for projection in ("copies", "others"):
        await make_live(database, projection, 1, "retired")
    build, _ = await begin(database, "copies"), await begin(database, "others")
    await database.execute(
        """insert into follow_positions (projection, topic, partition, next_offset, gap_at) values
        ('copies', 't', 0, 0, now() - interval '1 hour'), ('copies', 't', 1, 0, now() + interval '1 hour'),
        ('others', 't', 0, 0, now() - interval '1 hour')"""
    )
    # A build of the same number that another projection begins later closes none of them.
    await database.execute(
        "update projection_generations set started_at = now() + interval '2 hours' where projection = 'others'"
    )
    await Generations(database, "copies").make_live(build.number)
    rows = await database.fetch("select projection, partition from follow_positions where gap_at is not null")
    assert sorted(tuple(row) for row in rows) == [("copies", 1), ("others", 0)]
    assert await Generations(database, "copies").has_gap()


async def applied(
    database: Database, copies: RemovableCopies, projection: str, *states: Known | Erased
) -> None:
    await apply_states(database, copies.projection(OwnedStates(), projection, remove=copies.remove), states)


async def subjects_of(database: Database, projection: str, generation: int) -> dict[int, bool]:
    rows = await database.fetch(
        "select subject, erased from projected_versions where projection = $1 and generation = $2",
        projection,
        generation,
    )
    return {row["subject"].int: row["erased"] for row in rows}


async def test_a_build_takes_over_the_erasures_that_the_live_one_knows_page_by_page(
    database: Database,
) -> None:
    """An old state of an erased subject must not come back with the pages that follow."""
    copies = await RemovableCopies(database).create()
    for projection in ("copies", "others"):
        await make_live(database, projection, 1)
    await applied(database, copies, "copies", *(Erased(UUID(int=n), 1) for n in (1, 2, 3, 4)))
    await applied(database, copies, "copies", Known(UUID(int=5), 1, {}))
    await applied(database, copies, "others", Erased(UUID(int=6), 1))
    generations, build = Generations(database, "copies"), await begin(database, "copies", whole=False)
    await generations.keep_erased(build, UUID(int=2))
    assert await subjects_of(database, "copies", build.number) == {1: True, 2: True}
    async with database.write(generations.key) as tx:
        await generations.move(tx.conn, build, UUID(int=2), 2)
    (_, further) = await generations.all()
    assert (further.after, further.done, further.rows) == (UUID(int=2), False, 2)
    await database.execute("delete from projected_versions where generation = $1", build.number)
    await generations.keep_erased(further, None)
    assert await subjects_of(database, "copies", build.number) == {3: True, 4: True}


async def test_a_retired_generation_is_removed_in_parts_and_nothing_else_with_it(database: Database) -> None:
    copies = await RemovableCopies(database).create()
    subjects = [UUID(int=n) for n in range(1, 6)]
    for projection in ("copies", "others"):
        for generation, status in ((1, "live"), (2, "building")):
            await make_live(database, projection, generation, status)
        await applied(database, copies, projection, *(Known(s, 1, {}) for s in subjects))
    generations = Generations(database, "copies")
    async with database.write(generations.key) as tx:
        await generations.give_up(tx)
    (_, retired) = await generations.all()
    removable = copies.projection(OwnedStates(), remove=copies.remove)
    assert [await generations.remove_some(removable, retired, 2) for _ in range(3)] == [2, 2, 1]
    assert [g.number for g in await generations.all()] == [1]
    assert await subjects_of(database, "copies", 2) == {}
    for projection, generation in (("copies", 1), ("others", 1), ("others", 2)):
        assert len(await subjects_of(database, projection, generation)) == 5


async def test_a_build_shrinks_that_lacks_all_or_more_than_half_of_many(database: Database) -> None:
    """Whoever is erased is not lacking, and what other projections have is of no concern."""

    async def has(projection: str, generation: int, count: int, *, erased: bool = False) -> None:
        await database.execute(
            "insert into projected_versions (projection, generation, subject, version, erased)"
            " select $1, $2, gen_random_uuid(), 1, $4 from generate_series(1, $3)",
            projection,
            generation,
            count,
            erased,
        )

    for projection in ("copies", "others"):
        for generation, status in ((1, "live"), (2, "building")):
            await make_live(database, projection, generation, status)
    (_, build) = await all_of(database, "copies")
    found = {}
    for live, built in ((0, 0), (1, 1), (1, 0), (100, 1), (101, 51), (101, 50), (102, 51)):
        await database.execute("truncate projected_versions")
        await has("copies", 1, live)
        await has("copies", 2, built)
        for generation in (1, 2):
            await has("copies", generation, 200, erased=True)
            await has("others", generation, 200)
        found[live, built] = await Generations(database, "copies").shrinks(build)
    assert [of for of, shrinks in found.items() if shrinks] == [(1, 0), (101, 50)]
