"""Relations that begin and end by the calendar: the feed tells of the hand-over after Danish midnight, though nobody said anything."""

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


async def _shows(world: World, cv: str) -> None:
    assert (cv, "created") in await world.shown(OLD)
