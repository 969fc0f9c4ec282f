"""The first page of a list without an end, asked for with the token of a change, shows it or is 503; later pages do not wait."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from change_feed import parts
from change_feed.settings import Settings
from change_feed.store import FeedStore
from change_feed.testing import World, event
from cv_citizens.testing import MUNICIPALITY, a_caller, relation
from cv_contracts.event import Event
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.events.cv_status import StatusSet
from servicekit.data.consistency import CONSISTENCY_HEADER, ConsistencyToken
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

HERE = a_caller(MUNICIPALITY)
EARLY = "2026-01-01T00:00:00Z"


async def changes(world: World, *seen: Event, start: str = EARLY, page: int | None = None) -> httpx.Response:
    token = ConsistencyToken.of(*seen).encode()
    return await world.changes(HERE, start, page=page, headers={CONSISTENCY_HEADER: token})


def numbers(answer: httpx.Response) -> list[str]:
    return [item["CVNumber"] for item in answer.json().get("CVUpdateList", [])]


async def test_what_the_feed_has_not_placed_yet_is_waited_for_and_503_while_that_takes_long(
    world: World,
) -> None:
    first, second = (world.person(relation(MUNICIPALITY)) for _ in range(2))
    world.registry.mode = "error"
    made = world.cv(first)
    await world.log.send(made)
    away = await changes(world, made)
    assert (away.status_code, away.headers["retry-after"]) == (503, "1")
    assert (await world.changes(HERE, EARLY)).status_code == 200
    world.registry.mode = "ok"
    # Nothing had ever arrived for this caller, and then something has, and then something else.
    for person, newest in ((first, made), (second, world.cv(second)), (first, world.cv(first))):
        await world.log.send(newest)
        answers = list[httpx.Response]()

        async def is_listed(newest: Event = newest, answers: list[httpx.Response] = answers) -> bool:
            answers.append(await changes(world, newest))
            return answers[-1].status_code == 200

        await eventually(is_listed)
        *late, listed = answers
        assert {answer.status_code for answer in late} <= {503}
        assert numbers(listed)[-1] == person.cv_number
    assert numbers(await changes(world, made)) == [second.cv_number, first.cv_number]


async def test_what_is_in_no_list_is_not_waited_for(world: World) -> None:
    erased, nobodys = world.person(relation(MUNICIPALITY)), event(CVChanged, uuid4(), 7, change="replaced")
    await world.log.send(world.cv(erased))
    await world.arrived(1)
    assert (await changes(world, event(StatusSet, erased.cv_id, 2**60, cv_version=1))).status_code == 200
    lost = event(CVChanged, erased.cv_id, 2**60, change="replaced")
    await world.log.send(*world.erase(erased), nobodys)
    await world.arrived(4)
    answer = await changes(world, lost, nobodys)
    assert (answer.status_code, numbers(answer)) == (200, [])


async def test_what_this_process_places_is_shown_at_once_to_those_who_wait_for_it(
    settings: Settings, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "LOOK_EVERY", timedelta(seconds=5))
    async with start(settings) as world:
        person = world.person(relation(MUNICIPALITY))

        async def is_shown() -> None:
            made = world.cv(person)
            asked = asyncio.create_task(changes(world, made))
            await asyncio.sleep(0.2)
            assert not asked.done()
            await world.log.send(made)
            answer = await asked
            assert (answer.status_code, numbers(answer)) == (200, [person.cv_number])

        await eventually(is_shown)


async def test_later_pages_of_a_list_that_was_begun_wait_for_nothing(settings: Settings, start: Any) -> None:
    async with start(settings.model_copy(update={"page_size": 1})) as world:
        persons = [world.person(relation(MUNICIPALITY)) for _ in range(2)]
        await world.log.send(*map(world.cv, persons))
        await world.arrived(2)
        first = await world.changes(HERE, EARLY)
        unplaced = event(CVChanged, persons[0].cv_id, 2**60, change="replaced")
        second = await changes(world, unplaced, page=2)
        assert (second.status_code, numbers(first) + numbers(second)) == (
            200,
            [person.cv_number for person in persons],
        )
        assert (await changes(world, unplaced)).status_code == 503
        not_begun = await changes(world, unplaced, start="2026-01-02T00:00:00Z", page=2)
        assert not_begun.status_code == 503


async def test_whether_a_first_cv_is_placed_is_known_without_old_partitions(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    await world.log.send(world.at_registry(person))
    await world.arrived(1)
    await world.rows("select feed_make_partition(1000, 2000)")
    store, dropping = FeedStore(world.database), await asyncpg.connect(world.settings.postgres.dsn)
    try:
        async with dropping.transaction():
            await dropping.execute("lock table entries_1000 in access exclusive mode")
            assert await asyncio.wait_for(store.placed(person.cv_id), 5) is None
            made = world.cv(person)
            await world.log.send(made)
            await eventually(lambda: _is_placed(store, made))
    finally:
        await dropping.close()


async def test_what_was_told_before_its_citizen_was_known_is_not_waited_for(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    made = world.cv(person)
    world.registry.mode = "unknown"
    await world.log.send(made)
    await world.arrived(1)
    world.registry.mode = "ok"
    await world.log.send(world.at_registry(person))
    await world.arrived(2)
    assert (await changes(world, made)).status_code == 200
    assert (await changes(world, event(CVChanged, person.cv_id, 2**60, change="replaced"))).status_code == 503


async def _is_placed(store: FeedStore, made: Event) -> None:
    assert await asyncio.wait_for(store.placed(made.subject), 5) == made.version


async def test_a_token_that_is_none_is_refused(world: World) -> None:
    answer = await world.changes(HERE, EARLY, headers={CONSISTENCY_HEADER: "none"})
    assert (answer.status_code, answer.json()["code"]) == (400, 1014)
