"""A feed that is lost begins anew; one that is restored from a back-up skips nothing; what is old is dropped but for the newest."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from change_feed import leading, taking
from change_feed.settings import Settings
from change_feed.testing import Registry, World, Writer, drop_old
from cv_citizens.testing import JOBNET, MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation
from cvhub.testing import FreshDatabase
from servicekit.caller import Caller, Organisation
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

HERE = a_caller(MUNICIPALITY)
MIGRATIONS = "change_feed.migrations"


async def test_the_very_first_feed_has_what_the_log_has_and_of_others_what_the_owners_have(
    settings: Settings, start: Any, log: Writer, registry: Registry
) -> None:
    world = World(None, None, registry, {}, settings, log)  # type: ignore[arg-type]  # not running yet
    told, silent = world.person(relation(MUNICIPALITY)), world.person(relation(MUNICIPALITY))
    made = [world.cv(told, "created"), world.cv(told)]
    unsaid = world.cv(silent, "deleted", "DELETED")
    await log.send(*made)
    async with start(settings) as world:
        events = await world.all_of(HERE)
    assert [event["eventid"] for event in events[:2]] == [str(one.id) for one in made]
    assert [(event["subject"], event["data"]["change"]) for event in events[2:]] == [
        (str(unsaid.subject), "deleted")
    ]


async def test_a_lost_feed_begins_a_new_epoch_with_one_entry_per_cv_and_tells_old_positions_so(
    settings: Settings, start: Any, fresh_database: FreshDatabase
) -> None:
    async with start(settings) as world:
        persons = [world.person(relation(MUNICIPALITY)) for _ in range(3)]
        for _ in range(2):
            await world.log.send(*[world.cv(person) for person in persons])
        await world.arrived(6)
        old = (await world.feed(HERE)).headers["x-feed-to"]
        mark = (await world.snapshot(HERE, limit=1)).json()["next"]
        await world.committed()
    empty = settings.model_copy(update={"postgres": await fresh_database(MIGRATIONS)})
    async with start(empty) as world:
        await world.arrived(3)
        for answer in (await world.feed(HERE, old), await world.snapshot(HERE, mark)):
            assert answer.status_code == 410
            told = answer.json()
            assert told["snapshot"] == "/v1/feed/cv/snapshot"
            following = await world.feed(HERE, told["lastEventId"])
            assert {event["subject"] for event in following.json()} == {str(p.cv_id) for p in persons}
        newest = {str(p.cv_id): world.registry.cvs[str(p.cv_id)]["version"] for p in persons}
        assert {e["subject"]: e["data"]["version"] for e in await world.all_of(HERE)} == newest
        await world.log.send(world.cv(persons[0]))
        await world.arrived(4)


async def test_the_owners_cvs_are_taken_in_again_without_harm_also_those_without_a_number(
    settings: Settings, start: Any, log: Writer, registry: Registry
) -> None:
    world = World(None, None, registry, {}, settings, log)  # type: ignore[arg-type]  # not running yet
    person = world.person(relation(MUNICIPALITY), cvNumber=None)
    world.cv(person)
    async with start(settings) as world:
        await world.arrived(1)
        # As after records that Kafka dropped before they were read.
        await world.database.execute("update feed set seeded = false, seed_after = null")
    async with start(settings) as world:
        await world.log.send(world.cv(person))
        await world.arrived(2)


async def test_where_records_are_gone_from_the_log_the_owners_are_asked_for_what_they_told_of(
    settings: Settings, start: Any
) -> None:
    async with start(settings) as world:
        told, missed = world.person(relation(MUNICIPALITY)), world.person(relation(MUNICIPALITY))
        await world.log.send(world.cv(told))
        await world.arrived(1)
        world.cv(missed, "created")
        # As after the topics were made anew.
        await world.database.execute("update log_positions set next_offset = next_offset + 1000")
    async with start(settings) as world:
        await world.arrived(2)
        assert [event["subject"] for event in await world.all_of(HERE)] == [
            str(told.cv_id),
            str(missed.cv_id),
        ]


async def test_records_that_come_to_topics_made_anew_while_nobody_reads_are_not_skipped(
    settings: Settings, start: Any
) -> None:
    async with start(settings) as world:
        person = world.person(relation(MUNICIPALITY))
        world.cv(person, "created")
        await world.database.execute("update log_positions set next_offset = next_offset + 2")
    async with start(settings) as world:
        await world.arrived(1)
    await world.log.send(*[world.cv(person) for _ in range(3)])
    async with start(settings) as world:
        await world.arrived(4)


async def test_what_cannot_be_read_holds_nothing_up_when_the_log_is_read_again(
    settings: Settings, start: Any
) -> None:
    async with start(settings) as world:
        person = world.person(relation(MUNICIPALITY))
        await world.log.raw("cv-registry.cv-changed", str(person.cv_id).encode(), b"{")
        await world.log.send(world.cv(person))
        await world.arrived(1)
        await world.database.execute("update log_positions set next_offset = 0")
    async with start(settings) as world:
        await world.log.send(world.cv(person))
        await world.arrived(2)
        assert len(await world.rows("select from unreadable_records where projection = 'feed'")) == 1


async def test_a_citizen_who_was_handed_over_unheard_more_than_once_is_told_of_each_time(
    settings: Settings, start: Any
) -> None:
    async def unheard(world: World, authority: Organisation) -> None:
        world.at_registry(person, relations=[relation(authority)])
        world.cv(person)
        # As after the topics were made anew.
        await world.database.execute("update log_positions set next_offset = next_offset + 1000")

    async with start(settings) as world:
        person = world.person(relation(MUNICIPALITY))
        await world.log.send(world.cv(person, "created"))
        await world.arrived(1)
        await unheard(world, OTHER_MUNICIPALITY)
    async with start(settings) as world:
        await world.arrived(3)
        await unheard(world, MUNICIPALITY)
    async with start(settings) as world:
        await world.arrived(5)
        assert [change for _, change in await world.shown(HERE)] == ["created", "left", "came", "replaced"]


async def test_a_hand_over_and_an_erasure_that_nobody_heard_of_are_told_after_a_gap(
    settings: Settings, start: Any
) -> None:
    async with start(settings) as world:
        moved, gone = world.person(relation(MUNICIPALITY)), world.person(relation(MUNICIPALITY))
        await world.log.send(world.cv(moved, "created"), world.cv(gone, "created"))
        await world.arrived(2)
        for authority in (OTHER_MUNICIPALITY, MUNICIPALITY, OTHER_MUNICIPALITY):
            world.at_registry(moved, relations=[relation(authority)])
        world.erase(gone)
        await world.database.execute("update log_positions set next_offset = next_offset + 1000")
    async with start(settings) as world:
        await world.arrived(4)
        assert (str(moved.cv_id), "left") in await world.shown(HERE)
        last = (await world.all_of(HERE))[-1]
        assert (last["subject"], last["method"]) == (str(gone.cv_id), "DELETE")
        [erased] = await world.rows("select erased, cv_number from cvs where person_id = $1", gone.person_id)
        assert tuple(erased) == (True, None)
        await world.database.execute("update log_positions set next_offset = next_offset + 1000")
    async with start(settings) as world:

        async def has_seeded_again() -> None:
            query = "select seeded and (select max(next_offset) < 1000 from log_positions) from feed"
            assert await world.database.fetchval(query)

        await eventually(has_seeded_again)
        await world.arrived(4)


async def test_after_a_gap_so_are_those_of_citizens_who_have_no_cv(
    settings: Settings, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "SEED_PAGE", 2)
    async with start(settings) as world:
        persons = [world.person(relation(MUNICIPALITY)) for _ in range(6)]
        *moved, gone, with_cv = persons
        told = [world.at_registry(person) for person in (*moved, gone)]
        await world.log.send(*told, world.cv(with_cv, "created"))
        await world.arrived(6)
        for person in moved:
            world.at_registry(person, relations=[relation(OTHER_MUNICIPALITY)])
        world.erase(gone)
        del world.registry.cvs[str(gone.cv_id)]
        world.cv(with_cv)
        await world.database.execute("update log_positions set next_offset = next_offset + 1000")
    async with start(settings) as world:
        await world.arrived(12)
        shown = await world.shown(HERE)
        assert {cv for cv, change in shown if change == "left"} == {str(one.cv_id) for one in moved}
        assert (str(with_cv.cv_id), "replaced") in shown
        assert [one["subject"] for one in await world.all_of(HERE) if one.get("method")] == [str(gone.cv_id)]


async def test_after_a_gap_the_owners_are_asked_whatever_the_replica_says(
    settings: Settings, start: Any
) -> None:
    """Its heartbeats came before what is missing."""
    async with start(settings) as world:
        person = world.person(relation(MUNICIPALITY))
        await world.log.send(world.at_registry(person))
        await world.arrived(1)
        await world.replica_is_fresh(person)
        world.at_registry(person, relations=[relation(OTHER_MUNICIPALITY)])
        world.cv(person)
        await world.database.execute("update log_positions set next_offset = next_offset + 1000")
    async with start(settings) as world:
        await world.arrived(3)
        assert [change for _, change in await world.shown(HERE)] == ["left"]


@pytest.mark.parametrize("cv_is_lost", [False, True])
async def test_a_hand_over_that_the_registry_has_lost_is_undone_once_it_is_asked_about_everybody(
    settings: Settings, start: Any, cv_is_lost: bool
) -> None:
    async with start(settings) as world:
        person = world.person(relation(MUNICIPALITY))
        kept = world.registry.citizens[str(person.person_id)]
        await world.log.send(world.cv(person, "created"))
        await world.arrived(1)
        await world.log.send(world.at_registry(person, relations=[relation(OTHER_MUNICIPALITY)]))
        await world.arrived(3)
        world.registry.citizens[str(person.person_id)] = kept
        if cv_is_lost:
            del world.registry.cvs[str(person.cv_id)]
        # As production.md has it for a registry that was restored.
        await world.database.execute("update feed set seeded = false, seed_after = null")
    async with start(settings) as world:
        await world.arrived(4)
        assert [change for _, change in await world.shown(HERE)] == ["created", "left", "came"]
        assert [change for _, change in await world.shown(a_caller(OTHER_MUNICIPALITY))] == ["left"]
        await world.log.send(world.at_registry(person, relations=[relation(OTHER_MUNICIPALITY)]))
        await world.arrived(6)
        assert [change for _, change in await world.shown(HERE)] == ["left", "left"]


async def back_up(world: World) -> dict[str, list[Any]]:
    names = ["feed", "log_positions", "scopes", "seen_events", "entries", "audience", "cvs", "members"]
    return {name: await world.rows(f"select * from {name}") for name in names}


async def restore(settings: Settings, kept: dict[str, list[Any]]) -> None:
    """Put the back-up's rows in the place of what is there now."""
    conn: Any = await asyncpg.connect(settings.postgres.dsn)
    try:
        async with conn.transaction():
            await conn.execute(f"truncate {', '.join(kept)}")
            for name, rows in kept.items():
                if rows:
                    extra = "overriding system value" if name == "scopes" else ""
                    numbers = ", ".join(f"${i}" for i in range(1, len(rows[0]) + 1))
                    await conn.executemany(
                        f"insert into {name} {extra} values ({numbers})", [tuple(row) for row in rows]
                    )
    finally:
        await conn.close()


async def test_after_an_older_back_up_nothing_is_skipped_and_positions_beyond_it_are_told_so(
    settings: Settings, start: Any
) -> None:
    async with start(settings) as world:
        person = world.person(relation(MUNICIPALITY))
        first = [world.cv(person) for _ in range(3)]
        await world.log.send(*first)
        await world.arrived(3)
        early = (await world.feed(HERE, limit=2)).headers["x-feed-to"]
        kept = await back_up(world)
        forgotten = [world.cv(person) for _ in range(3)]
        await world.log.send(*forgotten)
        await world.arrived(6)
        beyond = (await world.feed(HERE)).headers["x-feed-to"]
        [[last]] = await world.rows("select max(position) from entries")
        await world.committed()
    await restore(settings, kept)
    async with start(settings) as world:
        await world.arrived(6)
        answer = await world.feed(HERE, beyond)
        assert answer.status_code == 409
        onwards = answer.json()["lastEventId"]
        again = (await world.feed(HERE, onwards)).json()
        assert [event["eventid"] for event in again] == [str(one.id) for one in forgotten]
        from_early = (await world.feed(HERE, early)).json()
        assert [e["eventid"] for e in from_early] == [str(one.id) for one in [first[2], *forgotten]]
        given_anew = await world.rows("select from entries where position > $1", last)
        assert len(given_anew) == len(forgotten)


async def test_positions_beyond_a_back_up_are_told_so_also_where_the_log_was_lost_with_the_database(
    settings: Settings, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start(settings) as world:
        person = world.person(relation(MUNICIPALITY))
        await world.log.send(world.cv(person))
        await world.arrived(1)
        kept = await back_up(world)
        await world.log.send(world.cv(person), world.cv(person))
        await world.arrived(3)
        beyond = (await world.feed(HERE)).headers["x-feed-to"]
    await restore(settings, kept)
    await world.log.make_anew()
    monkeypatch.setattr(leading, "SILENCE", 0)
    async with start(settings) as world:
        await world.arrived(2)
        assert (await world.feed(HERE, beyond)).status_code == 409
        edge = (await world.feed(HERE)).headers["x-feed-to"]
    async with start(settings) as world:
        assert (await world.feed(HERE, edge)).status_code == 200


async def test_a_hand_over_that_a_restore_undid_is_in_no_entry_and_told_by_the_snapshot(
    settings: Settings, start: Any
) -> None:
    there = a_caller(OTHER_MUNICIPALITY)

    async def present(world: World, who: Caller) -> list[str]:
        return [item["cvId"] for item in (await world.snapshot(who)).json()["items"]]

    async with start(settings) as world:
        person = world.person(relation(MUNICIPALITY))
        await world.log.send(world.cv(person))
        await world.arrived(1)
        kept = await back_up(world)
        await world.log.send(world.at_registry(person, relations=[relation(OTHER_MUNICIPALITY)]))
        await world.arrived(3)
        assert [await present(world, who) for who in (HERE, there)] == [[], [str(person.cv_id)]]
        beyond = {who: (await world.feed(who)).headers["x-feed-to"] for who in (HERE, there)}
        await world.committed()
    await restore(settings, kept)
    world.at_registry(person, relations=[relation(MUNICIPALITY)])
    async with start(settings) as world:
        await world.arrived(2)
        for who, position in beyond.items():
            answer = await world.feed(who, position)
            assert (answer.status_code, answer.json()["snapshot"]) == (409, "/v1/feed/cv/snapshot")
        assert not [change for _, change in await world.shown(HERE) if change in ("left", "came")]
        assert [await present(world, who) for who in (HERE, there)] == [[str(person.cv_id)], []]


async def test_two_feeds_write_each_record_once_and_the_second_takes_over(
    settings: Settings, start: Any
) -> None:
    async with start(settings) as first, start(settings) as second:
        person = first.person(relation(MUNICIPALITY))
        await first.log.send(*[first.cv(person) for _ in range(5)])
        await first.arrived(5)
        after = (await second.feed(HERE)).headers["x-feed-to"]
        poll = asyncio.create_task(second.feed(HERE, after, timeout=20_000))
        made = first.cv(person)
        await first.log.send(made)
        assert [event["eventid"] for event in (await poll).json()] == [str(made.id)]
    async with start(settings) as third:
        await third.log.send(third.cv(person))
        await third.arrived(7)


async def test_old_partitions_are_dropped_and_the_newest_change_of_each_cv_stays(
    settings: Settings, start: Any
) -> None:
    narrow = settings.model_copy(update={"partition_width": timedelta(seconds=2)})
    async with start(narrow) as world:
        quiet, busy = world.person(relation(MUNICIPALITY)), world.person(relation(MUNICIPALITY))
        await world.log.send(world.cv(quiet, "created"), world.cv(quiet), world.cv(busy, "created"))
        await world.arrived(3)
        begun = datetime.now(UTC)

        async def later() -> None:
            assert datetime.now(UTC) - begun > timedelta(seconds=4)

        await eventually(later)
        await world.log.send(world.cv(busy))
        await world.arrived(4)
        conn: Any = await asyncpg.connect(settings.postgres.dsn)
        try:
            assert await drop_old(conn, datetime.now(UTC) - begun - timedelta(seconds=2)) >= 1
        finally:
            await conn.close()
        shown = [(event["subject"], event["data"]["change"]) for event in await world.all_of(HERE)]
        assert shown == [(str(quiet.cv_id), "replaced"), (str(busy.cv_id), "replaced")]
        assert [row["position"] for row in await world.rows("select position from seen_events")]
        await world.log.send(world.cv(quiet))
        await eventually(lambda: _changes_of(world, str(quiet.cv_id)))
        assert len(await world.all_of(a_caller(JOBNET))) == 3


async def _changes_of(world: World, subject: str) -> None:
    assert [e["subject"] for e in await world.all_of(HERE)].count(subject) == 2
