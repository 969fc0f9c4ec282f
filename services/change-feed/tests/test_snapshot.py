"""A snapshot is the set of CVs as of one position: who is in it, and at which version, whatever happens while it is read."""

from typing import Any

import pytest

from change_feed.testing import Person, World
from cv_citizens.testing import JOBNET, MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation

pytestmark = pytest.mark.infra

HERE, THERE, EVERYWHERE = a_caller(MUNICIPALITY), a_caller(OTHER_MUNICIPALITY), a_caller(JOBNET)
AT_HOME, AWAY = [relation(MUNICIPALITY)], [relation(OTHER_MUNICIPALITY)]


async def rest(world: World, who: Any, page: dict[str, Any]) -> dict[str, int]:
    """Give the versions of what is on a page and the ones after it, by CV."""
    items, following = page["items"], page["next"]
    while following is not None:
        page = (await world.snapshot(who, following, limit=1)).json()
        items, following = items + page["items"], page["next"]
    return {item["cvId"]: item["version"] for item in items}


async def begun(world: World, who: Any) -> dict[str, Any]:
    """Begin a snapshot whose first page shows one CV, of whom nothing happens afterwards."""
    page: dict[str, Any] = (await world.snapshot(who, limit=1)).json()
    return page


async def some(world: World, number: int) -> list[Person]:
    """Give people with a CV each, which was changed twice; by key order."""
    persons = sorted((world.person(*AT_HOME) for _ in range(number)), key=lambda one: one.cv_id)
    for change in ("created", "replaced"):
        await world.log.send(*[world.cv(person, change) for person in persons])
    await world.arrived(2 * number)
    return persons


def version(world: World, person: Person) -> int:
    found: int = world.registry.cvs[str(person.cv_id)]["version"]
    return found


async def test_who_left_and_who_was_erased_is_not_there(world: World) -> None:
    stays, moved, gone = await some(world, 3)
    await world.log.send(world.at_registry(moved, relations=AWAY), *world.erase(gone))
    await world.arrived(10)
    assert set(await rest(world, HERE, await begun(world, HERE))) == {str(stays.cv_id)}
    assert set(await rest(world, THERE, await begun(world, THERE))) == {str(moved.cv_id)}
    everybody = await rest(world, EVERYWHERE, await begun(world, EVERYWHERE))
    assert set(everybody) == {str(stays.cv_id), str(moved.cv_id)}


async def test_what_happens_while_it_is_read_is_told_by_the_feed_alone(world: World) -> None:
    first, changed, moved, gone = await some(world, 4)
    before = version(world, changed)
    here, everywhere = await begun(world, HERE), await begun(world, EVERYWHERE)
    await world.log.send(
        world.cv(changed),
        world.at_registry(moved, relations=AWAY),
        world.at_registry(late := world.person(*AT_HOME)),
        world.cv(late, "created"),
        *world.erase(gone),
    )
    await world.arrived(15)
    as_it_was = {str(first.cv_id): version(world, first), str(changed.cv_id): before}
    assert await rest(world, HERE, here) == as_it_was
    assert await rest(world, EVERYWHERE, everywhere) == {
        **as_it_was,
        str(moved.cv_id): version(world, moved),
    }
    told = (await world.feed(HERE, here["position"])).json()
    assert {one["subject"] for one in told} == {str(one.cv_id) for one in (changed, moved, late, gone)}


async def test_who_came_while_it_is_read_is_not_in_it(world: World) -> None:
    first, there = await some(world, 2)
    await world.log.send(world.at_registry(there, relations=AWAY))
    await world.arrived(6)
    page = await begun(world, HERE)
    assert [item["cvId"] for item in page["items"]] == [str(first.cv_id)]
    await world.log.send(world.at_registry(there, relations=AT_HOME))
    await world.arrived(8)
    assert set(await rest(world, HERE, page)) == {str(first.cv_id)}
    told = (await world.feed(HERE, page["position"])).json()
    assert "came" in [one["data"].get("change") for one in told]
