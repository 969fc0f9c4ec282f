"""A citizen who is handed over and gets another CV number at once: who may know which of the two."""

from typing import Any

import pytest

from change_feed.testing import Person, World
from cv_citizens.testing import JOBNET, MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation

pytestmark = pytest.mark.infra

HERE, THERE, EVERYWHERE = a_caller(MUNICIPALITY), a_caller(OTHER_MUNICIPALITY), a_caller(JOBNET)
AT_HOME, AWAY = [relation(MUNICIPALITY)], [relation(OTHER_MUNICIPALITY)]
NEW = "99999999"
BEGINNING = "2026-01-01T00:00:00Z"


async def moved(world: World, number: str | None) -> Person:
    """Move somebody whose CV gets another number, or none, in the same delivery."""
    person = world.person(*AT_HOME)
    await world.log.send(world.cv(person, "created"))
    await world.arrived(1)
    await world.log.send(world.at_registry(person, relations=AWAY, cvNumber=number))
    await world.arrived(4)
    return person


async def told(world: World, who: Any) -> list[tuple[str, str | None]]:
    """Give what a subscriber reads: the kind of change and the number, in order, each event on a page of its own."""
    events = await world.all_of(who, limit=1)
    return [(event["data"]["change"], event["data"].get("cvNumber")) for event in events]


@pytest.mark.parametrize("number", [NEW, None])
async def test_each_is_told_once_under_the_number_that_is_theirs_to_know(
    world: World, number: str | None
) -> None:
    person = await moved(world, number)
    assert await told(world, HERE) == [("left", person.cv_number)]
    assert await told(world, THERE) == [("came", number), ("changed", number)]
    assert await told(world, EVERYWHERE) == [
        ("created", person.cv_number),
        ("handed-over", number),
        ("changed", number),
    ]


async def test_snapshot_and_list_are_those_of_who_has_the_citizen_now(world: World) -> None:
    person = await moved(world, NEW)
    await world.log.send(world.cv(person))
    await world.arrived(5)
    for who, numbers in ((HERE, []), (THERE, [NEW]), (EVERYWHERE, [NEW])):
        items = (await world.snapshot(who)).json()["items"]
        assert [item["cvNumber"] for item in items] == numbers
        listed = (await world.changes(who, BEGINNING)).json().get("CVUpdateList") or []
        assert [item["CVNumber"] for item in listed] == numbers


async def test_who_gets_the_citizen_back_is_told_under_the_new_number(world: World) -> None:
    person = await moved(world, NEW)
    await world.log.send(world.at_registry(person, relations=AT_HOME))
    await world.arrived(6)
    assert await told(world, HERE) == [
        ("created", person.cv_number),
        ("left", person.cv_number),
        ("came", NEW),
        ("changed", NEW),
    ]
    assert await told(world, THERE) == [("left", NEW)]


async def test_an_erasure_leaves_neither_of_the_numbers(world: World) -> None:
    person = await moved(world, NEW)
    await world.log.send(*world.erase(person))
    await world.arrived(6)
    assert await world.rows("select from entries where cv_number is not null") == []
    assert await told(world, HERE) == [("left", None)]
