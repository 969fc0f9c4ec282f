"""Relations that begin and end by the calendar: the feed tells of the hand-over after Danish midnight, though nobody said anything."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from change_feed.settings import Settings
from change_feed.testing import World
from cv_citizens.testing import MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

OLD, NEW = a_caller(MUNICIPALITY), a_caller(OTHER_MUNICIPALITY)
MIDNIGHT = datetime(2031, 6, 30, 22, 0, tzinfo=UTC)
"""In Denmark, when June ends."""


async def test_at_danish_midnight_the_old_authority_is_told_of_the_leaving_and_the_new_one_of_the_coming(
    settings: Settings, start: Callable[..., AbstractAsyncContextManager[World]]
) -> None:
    now = [MIDNIGHT - timedelta(minutes=1)]
    async with start(settings, clock=lambda: now[0]) as world:
        person = world.person(
            relation(MUNICIPALITY, to="2031-06-30"), relation(OTHER_MUNICIPALITY, "2031-07-01")
        )
        cv = str(person.cv_id)
        await world.log.send(world.at_registry(person), world.cv(person, "created"))

        async def seen(who: Any, expected: list[str]) -> None:
            # Sorted, as the two were sent on two topics.
            shown = [str(change) for subject, change in await world.shown(who) if subject == cv]
            assert sorted(shown) == expected

        await eventually(lambda: seen(OLD, ["changed", "created"]))
        # What comes later shows that the calendar was looked at, and said nothing yet.
        other = world.person(relation(MUNICIPALITY), personNumber=f"{uuid4().int % 10**10:010}")
        await world.log.send(world.at_registry(other), world.cv(other, "created"))
        await eventually(lambda: _shows(world, str(other.cv_id)))
        await seen(NEW, [])
        now[0] = MIDNIGHT
        await eventually(lambda: seen(OLD, ["left"]))
        await eventually(lambda: seen(NEW, ["came"]))


async def test_a_day_that_comes_twice_because_the_clock_was_set_back_is_told_of_twice(
    settings: Settings, start: Callable[..., AbstractAsyncContextManager[World]]
) -> None:
    now = [MIDNIGHT]

    async def turned(clock: datetime, entries: int) -> None:
        now[0] = clock
        await world.arrived(entries)

    async with start(settings, clock=lambda: now[0]) as world:
        now[0] = MIDNIGHT - timedelta(minutes=1)
        person = world.person(
            relation(MUNICIPALITY, to="2031-06-30"), relation(OTHER_MUNICIPALITY, "2031-07-01")
        )
        await world.log.send(world.cv(person, "created"))
        await world.arrived(1)
        await turned(MIDNIGHT, 2)
        now[0] = MIDNIGHT - timedelta(minutes=1)
        await world.log.send(world.cv(person))
        await world.arrived(4)
        await turned(MIDNIGHT, 5)
        assert [change for _, change in await world.shown(OLD)] == ["left", "left"]
        assert [change for _, change in await world.shown(NEW)] == ["came", "left", "came"]
        ids = [row["event_id"] for row in await world.rows("select event_id from entries")]
        assert len(set(ids)) == len(ids)


async def test_so_is_one_that_the_owners_are_asked_about_twice(
    settings: Settings, start: Callable[..., AbstractAsyncContextManager[World]]
) -> None:
    now = [MIDNIGHT - timedelta(minutes=1)]
    for time in range(2):
        async with start(settings, clock=lambda: now[0]) as world:
            if not time:
                person = world.person(
                    relation(MUNICIPALITY, to="2031-06-30"), relation(OTHER_MUNICIPALITY, "2031-07-01")
                )
            await world.log.send(world.cv(person))
            await world.arrived((1, 4)[time])
            # As after records that Kafka dropped before they were read.
            await world.database.execute("update feed set seeded = false, seed_after = null")
        now[0] = MIDNIGHT
        async with start(settings, clock=lambda: now[0]) as world:
            await world.arrived((2, 5)[time])
            assert [change for _, change in await world.shown(OLD)] == ["left"] * (time + 1)
        now[0] = MIDNIGHT - timedelta(minutes=1)


async def test_a_citizen_whom_the_replica_knows_only_as_before_is_placed_by_what_the_registry_says(
    settings: Settings, start: Callable[..., AbstractAsyncContextManager[World]]
) -> None:
    """As when the replica has not heard yet what the feed has."""
    now = [MIDNIGHT - timedelta(minutes=1)]
    async with start(settings, clock=lambda: now[0]) as world:
        person = world.person(relation(MUNICIPALITY))
        until_midnight = [
            relation(MUNICIPALITY, to="2031-06-30"),
            relation(OTHER_MUNICIPALITY, "2031-07-01"),
        ]
        await world.log.send(world.at_registry(person, relations=until_midnight))
        await world.arrived(1)
        await world.replica_is_fresh(person)
        await world.database.execute(
            "update citizens set version = version - 1, state = jsonb_set(state, '{relations}', $1::jsonb)",
            json.dumps([relation(MUNICIPALITY)]),
        )
        now[0] = MIDNIGHT
        await world.arrived(2)
        assert [change for _, change in await world.shown(NEW)] == ["came"]


async def _shows(world: World, cv: str) -> None:
    assert (cv, "created") in await world.shown(OLD)
