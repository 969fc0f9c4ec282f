"""A CV number that was exchanged or withdrawn in records that are gone from the log: everybody who sees the CV is told all the same."""

from typing import Any

import pytest

from change_feed.settings import Settings
from change_feed.testing import Person, World
from cv_citizens.testing import JOBNET, MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation
from servicekit.caller import Caller

pytestmark = pytest.mark.infra

HERE, EVERYWHERE = a_caller(MUNICIPALITY), a_caller(JOBNET)
NEW = "99999999"


async def gone_from_the_log(world: World) -> None:
    """Make the log as it is after the topics were made anew."""
    await world.database.execute("update log_positions set next_offset = next_offset + 1000")


async def told(world: World, who: Caller, person: Person) -> list[tuple[str, str | None]]:
    """Give kind of change and number, in order; all of it is about that person."""
    events = await world.all_of(who)
    assert {event["subject"] for event in events} == {str(person.cv_id)}
    return [(event["data"]["change"], event["data"].get("cvNumber")) for event in events]


@pytest.mark.parametrize("number", [NEW, None])
async def test_it_is_told_once_as_a_change_of_the_citizen(
    settings: Settings, start: Any, number: str | None
) -> None:
    async with start(settings) as world:
        person = world.person(relation(MUNICIPALITY))
        await world.log.send(world.cv(person, "created"))
        await world.arrived(1)
        world.at_registry(person, cvNumber=number)
        await gone_from_the_log(world)
    for _ in range(2):
        async with start(settings) as world:
            await world.arrived(2)
            for who in (HERE, EVERYWHERE):
                expected = [("created", person.cv_number), ("changed", number)]
                assert await told(world, who, person) == expected
            last = (await world.all_of(HERE))[-1]
            assert last["type"] == "dk.cvhub.cv-registry.citizen-changed.v1"
            await gone_from_the_log(world)


async def test_those_too_are_told_who_keep_a_citizen_whom_others_get_or_lose(
    settings: Settings, start: Any
) -> None:
    async with start(settings) as world:
        person = world.person(relation(MUNICIPALITY))
        await world.log.send(world.cv(person, "created"))
        await world.arrived(1)
        both = [relation(MUNICIPALITY), relation(OTHER_MUNICIPALITY)]
        world.at_registry(person, relations=both, cvNumber=NEW)
        await gone_from_the_log(world)
    async with start(settings) as world:
        await world.arrived(3)
        assert await told(world, HERE, person) == [("created", person.cv_number), ("changed", NEW)]
