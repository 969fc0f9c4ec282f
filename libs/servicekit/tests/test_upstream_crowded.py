"""More calls to an owner than it answers: who waits, who is turned away, and what becomes of the places."""

import asyncio
from dataclasses import replace

import pytest

from servicekit.testing import eventually, is_now
from servicekit.web import upstream
from servicekit.web.connection import Crowded
from servicekit.web.room import LEAST
from servicekit.web.upstream import BURST, LONGEST_PAUSE, Owner, OwnerLimits
from servicekit.web.upstream_testing import LONG, READ, SHORT, Received, ScriptedOwner, hang, plain, within


async def test_more_than_the_connections_and_the_queue_hold_are_turned_away_at_once(
    owner: Owner, scripted: ScriptedOwner
) -> None:
    release = asyncio.Event()

    async def held(request: Received, writer: asyncio.StreamWriter) -> bool:
        await release.wait()
        return await plain()(request, writer)

    scripted.answering = held
    tasks = [asyncio.create_task(owner.send(READ, within(LONG))) for _ in range(4)]
    await eventually(lambda: is_now(len(scripted.received), 2))
    with pytest.raises(Crowded):
        await owner.send(READ, within(LONG))
    release.set()
    assert [answer.status for answer in await asyncio.gather(*tasks)] == [200] * 4
    assert scripted.connections <= 2
    assert owner.busy == 0


async def test_an_owner_whose_answers_are_slow_is_given_fewer_at_once(scripted: ScriptedOwner) -> None:
    owner = Owner(scripted.url, OwnerLimits(connections=2 * LEAST, waiting=LEAST))
    slow = replace(READ, swift=0.0)
    scripted.answering = plain()
    for _ in range(100):
        await owner.send(slow, within(LONG))
    scripted.answering = hang
    before = len(scripted.received)
    tasks = [asyncio.create_task(owner.send(slow, within(LONG))) for _ in range(2 * LEAST)]
    await eventually(lambda: is_now(len(scripted.received), before + LEAST))
    with pytest.raises(Crowded):
        await owner.send(slow, within(LONG))
    assert owner.busy == LEAST
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert owner.busy == 0
    owner.close()


async def test_waiting_for_a_connection_ends_at_the_deadline_and_frees_the_queue(
    owner: Owner, scripted: ScriptedOwner
) -> None:
    scripted.answering = hang
    holding = [asyncio.create_task(owner.send(READ, within(LONG))) for _ in range(2)]
    await eventually(lambda: is_now(len(scripted.received), 2))
    for _ in range(3):
        waiting = [owner.send(READ, within(0.05)) for _ in range(2)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, Crowded) for result in results)
    for task in holding:
        task.cancel()
    await asyncio.gather(*holding, return_exceptions=True)
    assert owner.busy == 0


async def test_whoever_would_wait_too_long_for_a_connection_is_turned_away(scripted: ScriptedOwner) -> None:
    owner = Owner(scripted.url, OwnerLimits(connections=1, waiting=5, longest_wait=SHORT))
    scripted.answering = hang
    holding = asyncio.create_task(owner.send(READ, within(LONG)))
    await eventually(lambda: is_now(len(scripted.received), 1))
    waiting = [owner.send(READ, within(LONG)) for _ in range(5)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, Crowded) for result in results)
    assert not holding.done()
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    assert owner.busy == 0
    owner.close()


@pytest.mark.slow
async def test_a_burst_is_waited_for_and_a_wait_that_does_not_end_is_kept_short(
    scripted: ScriptedOwner,
) -> None:
    owner = Owner(scripted.url, OwnerLimits(connections=2, waiting=5, longest_wait=LONG, hurried_wait=SHORT))
    scripted.answering = hang
    burst = [asyncio.create_task(owner.send(READ, within(LONG))) for _ in range(3)]
    await eventually(lambda: is_now(len(scripted.received), 2))
    await asyncio.sleep(LONGEST_PAUSE)
    with pytest.raises(Crowded):
        await owner.send(READ, within(LONG))
    assert not any(task.done() for task in burst)
    before = owner.crowded
    burst.append(asyncio.create_task(owner.send(READ, within(LONG))))
    await asyncio.sleep(0)
    assert (before, owner.crowded) == (False, True)
    for task in burst:
        task.cancel()
    await asyncio.gather(*burst, return_exceptions=True)
    assert owner.busy == 0
    owner.close()


@pytest.mark.parametrize(("answers", "crowded"), [(True, True), (False, False)])
async def test_a_queue_is_a_burst_for_longer_where_the_owner_only_pauses(
    scripted: ScriptedOwner, monkeypatch: pytest.MonkeyPatch, answers: bool, crowded: bool
) -> None:
    monkeypatch.setattr(upstream, "PAUSE", LONG if answers else 0.01)
    monkeypatch.setattr(upstream, "LONGEST_PAUSE", 60.0)
    owner = Owner(scripted.url, OwnerLimits(connections=1, waiting=5))
    scripted.script, scripted.answering = [plain()], hang
    await owner.send(READ, within(LONG))
    tasks = [asyncio.create_task(owner.send(READ, within(LONG))) for _ in range(3)]
    await asyncio.sleep(BURST + SHORT)
    assert owner.crowded == crowded
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    owner.close()


@pytest.mark.slow
async def test_an_owner_whose_answers_come_one_by_one_is_overrun_all_the_same(
    scripted: ScriptedOwner,
) -> None:
    async def slowly(request: Received, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(2 * upstream.PAUSE)
        return await plain()(request, writer)

    owner = Owner(scripted.url, OwnerLimits(connections=1, waiting=40, longest_wait=LONG))
    scripted.answering = slowly
    tasks = [asyncio.create_task(owner.send(READ, within(LONG))) for _ in range(30)]
    await asyncio.sleep(LONGEST_PAUSE + SHORT)
    assert len(scripted.received) > 2
    assert owner.crowded
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert owner.busy == 0
    owner.close()


@pytest.mark.parametrize(("waits", "size"), [(0.0, 19), (LONG, 20)])
async def test_of_an_answer_that_may_take_its_time_on_purpose_nothing_is_learnt(
    scripted: ScriptedOwner, waits: float, size: int
) -> None:
    """Neither that the owner is busy, nor that it has room again."""
    owner = Owner(scripted.url, OwnerLimits(connections=20, waiting=0))
    assert owner._room.size == 20
    await owner.send(replace(READ, swift=0.0, waits=waits), within(LONG))
    assert owner._room.size == size
    owner._room.answered(swiftly=False)
    small = owner._room.size
    for _ in range(100):
        await owner.send(replace(READ, swift=0.0, waits=LONG), within(LONG))
    assert owner._room.size == small
    owner.close()
