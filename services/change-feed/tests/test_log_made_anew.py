"""The log under a writer that is running is lost and made anew, as when Kafka is: nothing that could be told is left out."""

import pytest

from change_feed.testing import World
from cv_citizens.testing import MUNICIPALITY, a_caller, relation

pytestmark = pytest.mark.infra

HERE = a_caller(MUNICIPALITY)


async def test_the_writer_notices_and_asks_the_owners_for_what_the_lost_log_told_of(world: World) -> None:
    told, unheard = world.person(relation(MUNICIPALITY)), world.person(relation(MUNICIPALITY))
    await world.log.send(*[world.cv(told) for _ in range(5)])
    await world.arrived(5)
    world.cv(unheard, "created")
    await world.log.make_anew()
    await world.log.send(world.cv(told))
    await world.arrived(7)
    subjects = [event["subject"] for event in await world.all_of(HERE)]
    assert subjects.count(str(told.cv_id)) == 6
    assert subjects.count(str(unheard.cv_id)) == 1
