"""A record that could not be read when it came is taken in once it can be, where the operator decides so."""

import json
from typing import Any

import pytest

from change_feed.testing import World
from cv_citizens.testing import JOBNET, MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation
from cv_contracts import envelope
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

TOPIC = "cv-registry.cv-changed"
HERE, THERE, EVERYWHERE = a_caller(MUNICIPALITY), a_caller(OTHER_MUNICIPALITY), a_caller(JOBNET)


async def kept(world: World) -> None:
    async def there() -> None:
        assert await world.rows("select from unreadable_records")

    await eventually(there)


async def retry(world: World) -> int:
    rows = await world.rows("select id from unreadable_records")
    body = {"projection": "feed", "ids": [row["id"] for row in rows], "who": "me", "reason": "a new release"}
    headers = world.headers(None, "operator")
    answer = await world.client.post("/internal/operations/unreadable/retry", json=body, headers=headers)
    answer.raise_for_status()
    count: int = answer.json()["count"]
    return count


async def cannot_read(world: World, event: Any) -> None:
    """Let the feed have an event that came when the release of that time did not know its type."""
    await world.log.raw(TOPIC, b"no key", b"{")
    await kept(world)
    headers = [[name, None if raw is None else raw.hex()] for name, raw in envelope.headers(event, "s")]
    await world.database.execute(
        "update unreadable_records set key = $1, headers = convert_to($2, 'utf8'), value = $3",
        envelope.key(event),
        json.dumps(headers),
        envelope.data_json(event),
    )


async def test_it_is_an_entry_once_and_for_those_who_may_see_it(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    event = world.cv(person)
    await cannot_read(world, event)
    assert await retry(world) == 1
    await world.arrived(1)
    assert [one["eventid"] for one in await world.all_of(HERE)] == [str(event.id)]
    assert await world.rows("select from unreadable_records") == []
    assert await world.rows("select from rereads") == []
    await world.log.send(event, world.cv(person))
    await world.arrived(2)
    [action] = await world.rows("select who, action, target from operator_actions")
    assert tuple(action)[:2] == ("me", "retry unreadable")


async def test_what_still_cannot_be_read_stays(world: World) -> None:
    await world.log.raw(TOPIC, b"no key", b"{")
    await kept(world)
    assert await retry(world) == 0
    assert len(await world.rows("select from unreadable_records")) == 1


async def test_it_does_not_take_the_place_of_what_is_newer(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    created, replaced = world.cv(person, "created"), world.cv(person)
    await cannot_read(world, created)
    await world.log.send(replaced)
    await world.arrived(1)
    assert await retry(world) == 1
    await world.arrived(2)
    assert [one["data"]["change"] for one in await world.all_of(HERE)] == ["replaced", "created"]
    [item] = (await world.snapshot(HERE)).json()["items"]
    assert (item["version"], item["change"]) == (replaced.version, "replaced")
    answer = (await world.changes(HERE, "2020-01-01T00:00:00Z")).json()
    assert len(answer["CVUpdateList"]) == 1


@pytest.mark.parametrize("came_with_it", [False, True])
async def test_who_got_the_citizen_after_something_newer_is_not_shown_it(
    world: World, came_with_it: bool
) -> None:
    """They were not told of the newer one: by what is older they would take a deleted CV for one that there is."""
    person = world.person(relation(MUNICIPALITY))
    replaced, deleted = world.cv(person), world.cv(person, "deleted", "DELETED")
    await cannot_read(world, replaced)
    await world.log.send(deleted)
    await world.arrived(1)
    moved = world.at_registry(person, relations=[relation(MUNICIPALITY), relation(OTHER_MUNICIPALITY)])
    if not came_with_it:
        await world.log.send(moved)
        await world.arrived(3)
    assert await retry(world) == 1
    await world.arrived(3 if came_with_it else 4)
    assert str(replaced.id) not in [one["eventid"] for one in await world.all_of(THERE)]
    assert "came" in [change for _, change in await world.shown(THERE)]
    for who in (HERE, EVERYWHERE):
        assert str(replaced.id) in [one["eventid"] for one in await world.all_of(who)]
