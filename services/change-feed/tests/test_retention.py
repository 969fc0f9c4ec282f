"""What stays of partitions that were dropped: whoever follows from before hears of each CV what became of it."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from change_feed import leading
from change_feed.settings import Settings
from change_feed.testing import World, drop_old
from cv_citizens.testing import JOBNET, MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

WIDTH = timedelta(seconds=0.5)
HERE, THERE, EVERYWHERE = a_caller(MUNICIPALITY), a_caller(OTHER_MUNICIPALITY), a_caller(JOBNET)
AT_HOME, AWAY = [relation(MUNICIPALITY)], [relation(OTHER_MUNICIPALITY)]


@pytest.fixture
async def world(settings: Settings, start: Any) -> AsyncIterator[World]:
    async with start(settings.model_copy(update={"partition_width": WIDTH})) as world:
        yield world


async def drop(world: World) -> None:
    """Let what there is become old, and drop it."""
    begun = datetime.now(UTC)

    async def old() -> None:
        assert datetime.now(UTC) - begun > 2 * WIDTH

    await eventually(old)
    conn: Any = await asyncpg.connect(world.settings.postgres.dsn)
    try:
        assert await drop_old(conn, WIDTH) >= 1
    finally:
        await conn.close()
    assert not await world.rows("select from entries where position >= (select floor from feed)")


async def test_who_came_and_who_left_is_told_also_where_the_cv_never_changed_afterwards(world: World) -> None:
    person = world.person(*AT_HOME)
    cv = str(person.cv_id)
    await world.log.send(world.cv(person, "created"))
    await world.arrived(1)
    await world.log.send(world.at_registry(person, relations=AWAY))
    await world.arrived(3)
    await drop(world)
    assert await world.shown(HERE) == [(cv, "left")]
    assert await world.shown(THERE) == [(cv, "came")]
    assert await world.shown(EVERYWHERE) == [(cv, "created"), (cv, "handed-over")]
    # Once the citizen is back, who came then and who left then is what counts.
    await world.log.send(world.at_registry(person, relations=AT_HOME))
    await world.arrived(4)
    await drop(world)
    assert await world.shown(HERE) == [(cv, "created"), (cv, "came")]
    assert await world.shown(THERE) == [(cv, "left")]
    assert await world.shown(EVERYWHERE) == [(cv, "created"), (cv, "handed-over")]
    assert len(await world.rows("select from audience")) == 5


async def test_who_left_stays_under_the_number_that_was_known(world: World) -> None:
    person = world.person(*AT_HOME)
    known = person.cv_number
    await world.log.send(world.cv(person, "created"))
    await world.arrived(1)
    await world.log.send(world.at_registry(person, relations=AWAY, cvNumber="99999999"))
    await world.arrived(4)
    await drop(world)
    told = [await world.all_of(who) for who in (HERE, THERE, EVERYWHERE)]
    assert [[(e["data"]["change"], e["data"]["cvNumber"]) for e in events] for events in told] == [
        [("left", known)],
        [("came", "99999999")],
        [("created", known), ("handed-over", "99999999")],
    ]


async def test_nothing_else_of_old_partitions_stays(world: World) -> None:
    person = world.person(*AT_HOME)
    cv = str(person.cv_id)
    await world.log.send(world.cv(person, "created"), world.cv(person))
    await world.arrived(2)
    await world.log.send(world.at_registry(person))
    await world.arrived(3)
    await drop(world)
    for who in (HERE, EVERYWHERE):
        assert await world.shown(who) == [(cv, "replaced")]
    assert await world.rows("select from members where since < (select min(position) from entries)")


async def test_a_new_writer_does_not_begin_with_dropping(
    settings: Settings, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one that loses its connection by it never comes to anything else."""
    since = time.monotonic()
    begun: list[float] = []

    async def lost(*_: Any, **__: Any) -> int:
        nonlocal since
        since, before = time.monotonic(), since
        begun.append(since - before)
        raise ConnectionResetError

    monkeypatch.setattr(leading, "drop_oldest", lost)
    monkeypatch.setattr(leading, "RETENTION_EVERY", 3.0)
    async with start(settings) as world:
        person = world.person(*AT_HOME)
        for entries in (1, 2, 3):
            await world.log.send(world.cv(person))
            await world.arrived(entries)
        assert min(begun, default=3) >= 3
        await eventually(lambda: bool(begun))


async def test_after_a_drop_the_next_one_comes_at_once_and_after_one_that_was_too_slow_not_for_long(
    settings: Settings, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, outcomes = list[Any](), ["more", "more", "too slow"]

    async def drop(*_: Any, leftovers: bool) -> str:
        asked.append(leftovers)
        return outcomes[min(len(asked), len(outcomes)) - 1]

    monkeypatch.setattr(leading, "drop_oldest", drop)
    monkeypatch.setattr(leading, "RETENTION_EVERY", 0.1)
    async with start(settings) as world:
        await eventually(lambda: len(asked) == len(outcomes))
        person = world.person(*AT_HOME)
        for entries in (1, 2, 3):
            await world.log.send(world.cv(person))
            await world.arrived(entries)
        assert asked == [False, True, True]
