"""The log under a writer that is running is lost and made anew, as when Kafka is: nothing that could be told is left out."""

import pytest

from change_feed.rereading import hand_over
from change_feed.testing import World
from cv_citizens.testing import MUNICIPALITY, a_caller, relation
from servicekit.follow.deciding import Why, decide_unreadable
from servicekit.testing import eventually

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


async def test_what_cannot_be_read_takes_the_place_of_what_the_lost_log_had_at_the_same_offset_and_not_what_was_decided_on_that(
    world: World,
) -> None:
    async def kept(*values: bytes) -> None:
        rows = await world.rows(
            """select value from unreadable_records where projection = 'feed' order by "offset" """
        )
        assert [row["value"] for row in rows] == list(values)

    for _ in range(2):
        await world.log.raw("cv-registry.cv-changed", b"one partition", b"{")
    await eventually(lambda: kept(b"{", b"{"))
    [lost] = await world.rows(
        """select id from unreadable_records where projection = 'feed' and "offset" = 0"""
    )
    await world.log.make_anew()
    await world.log.raw("cv-registry.cv-changed", b"one partition", b"[")
    await eventually(lambda: kept(b"[", b"{"))
    why = Why("an operator", "the log was lost")
    given_up = await decide_unreadable(
        world.database, "feed", [lost["id"]], "discard", why, read_again=hand_over
    )
    assert given_up == 0
    await kept(b"[", b"{")
