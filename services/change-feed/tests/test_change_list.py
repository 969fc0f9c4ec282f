"""GetCVUpdateList against seed and decision 2."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import combinations
from typing import Any

import asyncpg
import pytest

from change_feed import store
from change_feed.settings import Settings
from change_feed.store import FeedStore
from change_feed.testing import Person, World, drop_old, event
from cv_citizens.testing import COMPANY, JOBNET, MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation
from cv_contracts.events.cv_status import StatusSet
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

HERE, THERE = a_caller(MUNICIPALITY), a_caller(OTHER_MUNICIPALITY)
EARLY = "2026-01-01T00:00:00Z"


@pytest.fixture
async def world(settings: Settings, start: Any) -> AsyncIterator[World]:
    """Give a feed whose pages have two CVs."""
    async with start(settings.model_copy(update={"page_size": 2})) as world:
        yield world


async def some(world: World, number: int) -> list[Person]:
    """Let so many CVs be changed, one after the other."""
    before = (await world.rows("select count(*) from entries"))[0][0]
    persons = [world.person(relation(MUNICIPALITY)) for _ in range(number)]
    for i, person in enumerate(persons):
        await world.log.send(world.cv(person))
        await world.arrived(before + i + 1)
    return persons


def numbers(answer: Any) -> list[str]:
    return [item["CVNumber"] for item in answer.json().get("CVUpdateList", [])]


async def test_where_nothing_changed_there_is_no_list_and_one_page(world: World) -> None:
    answer = await world.changes(HERE, EARLY)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {
        "CVChangeStartTime",
        "CVChangeEndTime",
        "CVChangeExtractTime",
        "LastPageNumber",
    }
    assert body["LastPageNumber"] == 1
    assert body["CVChangeStartTime"] == EARLY


async def test_the_pages_have_every_cv_once_with_its_newest_change(world: World) -> None:
    persons = await some(world, 5)
    newest = world.cv(persons[0])
    await world.log.send(newest)
    await world.arrived(6)
    first = await world.changes(HERE, EARLY)
    assert first.json()["LastPageNumber"] == 3
    end = first.json()["CVChangeEndTime"]
    pages = [first, *[await world.changes(HERE, EARLY, end, n) for n in (2, 3)]]
    assert [len(numbers(page)) for page in pages] == [2, 2, 1]
    found = [number for page in pages for number in numbers(page)]
    assert sorted(found) == sorted(person.cv_number for person in persons)
    last = pages[2].json()["CVUpdateList"][0]
    assert last["CVNumber"] == persons[0].cv_number
    assert datetime.fromisoformat(last["RevisionDate"]) == newest.time


@pytest.mark.parametrize("end", [None, "2099-01-01T00:00:00Z"])
async def test_the_first_page_fixes_the_moment_for_those_who_name_no_end_or_one_to_come(
    world: World, end: str | None
) -> None:
    persons = await some(world, 3)
    first = await world.changes(HERE, EARLY, end)
    await some(world, 2)
    await world.log.send(world.cv(persons[2]))
    await world.arrived(6)
    second = await world.changes(HERE, EARLY, end, page=2)
    assert numbers(first) + numbers(second) == [person.cv_number for person in persons]
    for element in ("CVChangeEndTime", "CVChangeExtractTime", "LastPageNumber"):
        assert second.json()[element] == first.json()[element]
    assert (await world.changes(HERE, EARLY)).json()["LastPageNumber"] == 3


async def test_lists_of_the_same_start_are_gone_on_with_each_by_its_own_end(world: World) -> None:
    persons = await some(world, 3)
    shorter = (await world.changes(THERE, EARLY)).json()["CVChangeEndTime"]
    persons += await some(world, 2)
    asked = {
        end: (await world.changes(HERE, EARLY, end)).json() for end in (None, "2099-01-01T00:00:00Z", shorter)
    }
    await some(world, 1)
    for end, first in asked.items():
        await world.changes(HERE, EARLY, first["CVChangeEndTime"])
        for again in (end, first["CVChangeEndTime"]):
            second = (await world.changes(HERE, EARLY, again, page=2)).json()
            assert second["CVChangeEndTime"] == first["CVChangeEndTime"]
            expected = persons[2:3] if end == shorter else persons[2:4]
            assert [item["CVNumber"] for item in second["CVUpdateList"]] == [
                one.cv_number for one in expected
            ]


async def test_who_goes_on_from_the_end_answered_misses_and_repeats_nothing(world: World) -> None:
    await some(world, 1)
    seen: list[str] = []
    start = EARLY
    expected: list[str] = []
    for _ in range(3):
        answer = await world.changes(HERE, start)
        seen += numbers(answer)
        start = answer.json()["CVChangeEndTime"]
        expected += [person.cv_number for person in await some(world, 1)]
    seen += numbers(await world.changes(HERE, start))
    assert seen[1:] == expected
    assert len(seen) == 4


async def test_the_end_answered_is_a_start_also_for_one_whose_clock_is_behind_the_writers(
    settings: Settings, start: Any
) -> None:
    async with start(settings, clock=lambda: datetime.now(UTC) - timedelta(minutes=1)) as world:
        await some(world, 1)
        end = (await world.changes(HERE, EARLY)).json()["CVChangeEndTime"]
        [person] = await some(world, 1)
        assert numbers(await world.changes(HERE, end)) == [person.cv_number]
        later = (datetime.now(UTC) + timedelta(minutes=1)).isoformat().replace("+00:00", "Z")
        assert (await world.changes(HERE, later)).json()["code"] == 1014


async def test_a_start_and_an_end_at_the_same_moment_are_a_period_without_anything(world: World) -> None:
    await some(world, 3)
    answer = await world.changes(HERE, EARLY, EARLY)
    assert (answer.status_code, numbers(answer)) == (200, [])
    assert answer.json()["CVChangeEndTime"] == EARLY


async def test_a_period_that_begins_beyond_the_edge_is_empty_and_goes_on_from_there(world: World) -> None:
    """As while the feed waits for the registry: its edge stays where it is."""
    world.registry.mode = "error"
    person = world.person(relation(MUNICIPALITY))
    await world.log.send(world.cv(person))
    await eventually(partial(_waits, world))
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    for end in (None, now, "2099-01-01T00:00:00Z"):
        body = (await world.changes(HERE, now, end)).json()
        assert body["CVChangeStartTime"] == body["CVChangeEndTime"] < now
    world.registry.mode = "ok"
    await world.arrived(1)
    assert numbers(await world.changes(HERE, body["CVChangeEndTime"])) == [person.cv_number]


async def _waits(world: World) -> None:
    detail = (await world.client.get("/health/ready")).json()["checks"]["feed"]
    assert detail["trouble"] == "RegistryAway"


async def test_each_client_goes_on_with_its_own_list(world: World) -> None:
    await some(world, 3)
    mine = (await world.changes(HERE, EARLY)).json()
    await some(world, 2)
    other = a_caller(MUNICIPALITY, client="client-2")
    theirs = (await world.changes(other, EARLY)).json()
    for who, first in ((HERE, mine), (other, theirs)):
        second = (await world.changes(who, EARLY, page=2)).json()
        assert second["CVChangeEndTime"] == first["CVChangeEndTime"]


async def test_a_late_event_counts_when_it_arrives_not_when_it_was_made(world: World) -> None:
    await some(world, 1)
    end = (await world.changes(HERE, EARLY)).json()["CVChangeEndTime"]
    person = world.person(relation(MUNICIPALITY))
    late = world.cv(person, time=datetime.now(UTC) - timedelta(days=3))
    await world.log.send(late)
    await world.arrived(2)
    answer = await world.changes(HERE, end)
    assert numbers(answer) == [person.cv_number]
    assert datetime.fromisoformat(answer.json()["CVUpdateList"][0]["RevisionDate"]) == late.time


async def test_the_end_answered_is_at_most_the_edge_whatever_end_was_asked_for(world: World) -> None:
    await some(world, 1)
    answer = await world.changes(HERE, EARLY, "2099-01-01T00:00:00Z")
    end = datetime.fromisoformat(answer.json()["CVChangeEndTime"])
    assert end <= datetime.now(UTC)
    assert len(numbers(answer)) == 1
    assert end.microsecond % 1000 == 0


async def test_a_list_of_an_earlier_period_shows_the_newest_change_in_it(world: World) -> None:
    [person] = await some(world, 1)
    end = (await world.changes(HERE, EARLY)).json()["CVChangeEndTime"]
    await world.log.send(world.cv(person, "deleted", "DELETED"))
    await world.arrived(2)
    [before] = (await world.changes(HERE, EARLY, end)).json()["CVUpdateList"]
    [after] = (await world.changes(HERE, end)).json()["CVUpdateList"]
    [whole] = (await world.changes(HERE, EARLY)).json()["CVUpdateList"]
    assert [before["CVIsDeleted"], after["CVIsDeleted"], whole["CVIsDeleted"]] == [False, True, True]


async def test_only_changes_of_cvs_count(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    await world.log.send(world.at_registry(person), event(StatusSet, person.cv_id, 1))
    await world.arrived(2)
    assert "CVUpdateList" not in (await world.changes(HERE, EARLY)).json()


async def test_a_citizen_who_left_and_one_who_never_was_there_are_not_in_the_list(world: World) -> None:
    [person] = await some(world, 1)
    assert numbers(await world.changes(THERE, EARLY)) == []
    await world.log.send(world.at_registry(person, relations=[relation(OTHER_MUNICIPALITY)]))
    await world.arrived(3)
    assert numbers(await world.changes(HERE, EARLY)) == []
    assert numbers(await world.changes(THERE, EARLY)) == []
    await world.log.send(world.cv(person))
    await world.arrived(4)
    assert numbers(await world.changes(HERE, EARLY)) == []
    assert numbers(await world.changes(THERE, EARLY)) == [person.cv_number]
    assert numbers(await world.changes(a_caller(JOBNET), EARLY)) == [person.cv_number]


async def test_an_erased_citizen_is_in_no_list_any_more_and_the_number_is_gone(world: World) -> None:
    [person] = await some(world, 1)
    await world.log.send(*world.erase(person))
    await world.arrived(3)
    answer = await world.changes(HERE, EARLY)
    assert answer.json()["LastPageNumber"] == 1
    assert numbers(answer) == []
    for table in ("entries", "cvs"):
        rows = await world.rows(f"select * from {table}")
        assert person.cv_number not in str(list(map(dict, rows)))


@pytest.mark.parametrize("cv_first", [True, False])
async def test_a_deleted_cv_whose_number_was_withdrawn_is_told_under_the_number_it_had(
    world: World, cv_first: bool
) -> None:
    """As when two persons become one: both are told at once, on two topics, in whichever order they come."""
    [person] = await some(world, 1)
    events = [
        world.cv(person, "deleted", "DELETED"),
        world.at_registry(person, cvNumber=None, relations=[relation(OTHER_MUNICIPALITY)]),
    ]
    for one in events if cv_first else reversed(events):
        before = (await world.rows("select count(*) from entries"))[0][0]
        await world.log.send(one)
        await eventually(partial(_grown, world, before))
    [item] = (await world.changes(a_caller(JOBNET), EARLY)).json()["CVUpdateList"]
    assert (item["CVNumber"], item["CVIsDeleted"]) == (person.cv_number, True)
    assert numbers(await world.changes(HERE, EARLY)) == []


async def _grown(world: World, before: int) -> None:
    assert (await world.rows("select count(*) from entries"))[0][0] > before


async def test_a_cv_without_a_number_is_in_no_list_while_it_lives(world: World) -> None:
    person = world.person(relation(MUNICIPALITY), cvNumber=None)
    await world.log.send(world.at_registry(person), world.cv(person, "created"))
    await world.arrived(2)
    assert numbers(await world.changes(a_caller(JOBNET), EARLY)) == []


async def test_a_period_or_page_that_there_is_not_is_1014(world: World) -> None:
    wrong = {
        "": "CVChangeStartTime",
        "CVChangeStartTime=yesterday": "CVChangeStartTime",
        "CVChangeStartTime=2099-01-01T00:00:00Z": "CVChangeStartTime",
        "CVChangeStartTime=2026-02-01T00:00:00Z&CVChangeEndTime=2026-01-01T00:00:00Z": "CVChangeEndTime",
        "CVChangeStartTime=2026-02-01T00:00:00Z&CVListPage=0": "CVListPage",
        "CVChangeStartTime=2026-02-01T00:00:00Z&CVListPage=2": "CVListPage",
        "CVChangeStartTime=2026-02-01T00:00:00Z&CVListPage=one": "CVListPage",
        "CVChangeStartTime=2026-02-01T00:00:00Z&CVListPage=1&CVListPage=1": "CVListPage",
    }
    told = {}
    for query in wrong:
        answer = await world.client.get(f"/v6/Cv/changes?{query}", headers=world.headers(HERE))
        problem = answer.json()
        elements = [error["element"] for error in problem.get("errors", ())]
        told[query] = (answer.status_code, problem.get("code"), elements)
    assert told == {query: (400, 1014, [element]) for query, element in wrong.items()}


async def test_a_message_that_is_not_valid_comes_before_a_company_that_may_not(world: World) -> None:
    for query in (
        "CVChangeStartTime=yesterday",
        "CVChangeStartTime=2099-01-01T00:00:00Z",
        "CVChangeStartTime=2026-02-01T00:00:00Z&CVChangeEndTime=2026-01-01T00:00:00Z",
    ):
        answer = await world.client.get(f"/v6/Cv/changes?{query}", headers=world.headers(a_caller(COMPANY)))
        assert answer.json()["code"] == 1014


async def test_a_company_may_not_and_another_service_than_the_gateway_neither(world: World) -> None:
    assert (await world.changes(a_caller(COMPANY), EARLY)).json()["code"] == 8292
    for service, who in (("stranger", HERE), ("gateway", None)):
        answer = await world.client.get(
            f"/v6/Cv/changes?CVChangeStartTime={EARLY}", headers=world.headers(who, service)
        )
        assert answer.status_code in (401, 403)


async def test_each_page_leaves_an_access_row_with_caller_and_range(world: World) -> None:
    await some(world, 3)
    await world.changes(HERE, EARLY)
    await world.changes(HERE, EARLY, page=2)
    rows = await world.rows("select method, client, active_code, detail::text from access_log order by at")
    assert [(r["method"], r["client"], r["active_code"]) for r in rows] == [
        ("GetCVUpdateList", "client-1", "101")
    ] * 2
    assert ['"page": 1' in rows[0]["detail"], '"page": 2' in rows[1]["detail"]] == [True, True]


async def test_counted_by_members_a_list_has_the_pages_that_its_changes_give(
    settings: Settings, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of citizens who change, change again after the end, are handed over and come back, are erased; and over dropped partitions."""
    monkeypatch.setattr(store, "MANY_CHANGES", 2)
    narrow = settings.model_copy(update={"partition_width": timedelta(seconds=2)})
    async with start(narrow) as world:
        again, gone, back, erased, quiet = await some(world, 5)
        began = datetime.now(UTC)

        async def two_partitions_later() -> None:
            assert datetime.now(UTC) - began > timedelta(seconds=4)

        await eventually(two_partitions_later)
        steps = [
            [world.cv(again), world.cv(erased), world.cv(back)],
            [world.at_registry(gone, relations=[relation(OTHER_MUNICIPALITY)])],
            [world.at_registry(back, relations=[relation(OTHER_MUNICIPALITY)]), world.cv(again)],
            [world.at_registry(back, relations=[relation(MUNICIPALITY)]), world.cv(gone)],
            [world.cv(back, "deleted", "DELETED"), world.cv(again)],
            world.erase(erased),
        ]
        edges = [await _edge(world)]
        for events in steps:
            before = (await world.rows("select count(*) from entries"))[0][0]
            await world.log.send(*events)
            await eventually(partial(_grown, world, before + len(events) - 1))
            edges.append(await _edge(world))
        await _counted_alike(world, edges)
        conn: Any = await asyncpg.connect(settings.postgres.dsn)
        try:
            assert await drop_old(conn, timedelta(seconds=2)) >= 1
        finally:
            await conn.close()
        assert await world.rows("select position from audience_kept")
        await _counted_alike(world, edges)
        listed = (await world.changes(HERE, EARLY)).json()["CVUpdateList"]
        numbered = {item["CVNumber"] for item in listed}
        assert numbered == {person.cv_number for person in (again, back, quiet)}


async def _edge(world: World) -> int:
    return int((await world.rows("select edge from feed"))[0][0])


async def _counted_alike(world: World, edges: list[int]) -> None:
    """Compare both ways for every period between two edges, in every scope; a page of one shows each single CV."""
    readers, compared = FeedStore(world.database), 0
    for scope in [row["id"] for row in await world.rows("select id from scopes")]:
        for after, until in combinations([0, *edges], 2):
            pages = await readers.pages_by_changes(scope, after, until, 1)
            assert await readers.pages_by_members(scope, after, until, 1) == pages, (scope, after, until)
            assert await readers.pages(scope, after, until, 1) == pages, (scope, after, until)
            compared += len(pages)
    assert compared > 0
