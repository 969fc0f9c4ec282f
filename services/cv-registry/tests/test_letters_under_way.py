"""Letters under way: not taken, with answers lost, left in the middle, and ordered many times at once."""

import asyncio

import httpx
import pytest

from cv_registry import letters
from cv_registry.letter_testing import World, code
from cvhub.sinks.letters import Behaviour
from cvhub.sinks.testing import PASSWORD, Sinks
from servicekit.testing import eventually
from servicekit.web.tls import trusting

pytestmark = pytest.mark.infra


async def test_a_letter_that_was_not_taken_is_4431_and_the_old_login_works_until_another_one_is(
    world: World,
    sinks: Sinks,
) -> None:
    behaviours: tuple[Behaviour, ...] = ("refuses", "fails", "hangs")
    for number, behaviour in enumerate(behaviours):
        citizen = await world.citizen()
        sinks.letters.behaviour = "works"
        await world.order(citizen)
        old = world.login
        sinks.letters.behaviour = behaviour
        answer = await world.order(citizen, x_requestid="again")
        assert (answer.status_code, code(answer)) == (502, 4431)
        assert int(answer.headers["retry-after"]) >= 1
        never_sent = world.login
        assert [await world.is_valid(login) for login in (old, never_sent)] == [True, False]
        assert await world.events() == 2 * number + 1
        sinks.letters.behaviour = "works"
        again = await world.order(citizen, x_requestid="again")
        assert again.status_code == 200
        assert "x-idempotent-replay" not in again.headers
        assert (await world.states())[-3:] == ["replaced", "failed", "valid"]
        assert [await world.is_valid(login) for login in (old, never_sent, world.login)] == [
            False,
            False,
            True,
        ]
        assert len(sinks.letters.taken()) == 2 * number + 2


async def test_who_waits_too_long_for_those_whose_letters_are_under_way_is_told_to_come_back(
    world: World, sinks: Sinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "LONGEST_WAIT", 0.1)
    sinks.letters.behaviour = "hangs"
    citizens = [await world.citizen() for _ in range(2 * letters.AT_ONCE)]
    answers = await asyncio.gather(*(world.order(citizen) for citizen in citizens))
    codes = [code(answer) for answer in answers]
    assert set(codes) == {4430, 4431}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    sinks.letters.behaviour = "works"
    assert (await world.order(citizens[codes.index(4430)])).status_code == 200


async def test_a_lost_answer_is_settled_by_asking_with_the_same_letter_and_never_by_a_second_one(
    world: World,
    sinks: Sinks,
) -> None:
    behaviours: tuple[Behaviour, ...] = ("loses-answers", "hangs-afterwards")
    for number, behaviour in enumerate(behaviours, 1):
        sinks.letters.behaviour = behaviour
        assert (await world.order(await world.citizen())).status_code == 200
        assert len(sinks.letters.handed) == number
        assert await world.is_valid(world.login) is True
        assert await world.events() == number


async def test_while_the_fate_of_a_letter_is_unknown_no_other_is_sent_and_then_its_order_gets_its_receipt(
    world: World,
    sinks: Sinks,
) -> None:
    citizen = await world.citizen()
    sinks.letters.behaviour = "breaks"
    for request_id in ("first", "first", "other"):
        assert code(await world.order(citizen, x_requestid=request_id)) == 4431
    assert await world.states() == ["sending"]
    assert await world.is_valid(world.login) is False
    sinks.letters.behaviour = "works"
    answer = await world.order(citizen, x_requestid="first")
    assert answer.status_code == 200
    assert answer.headers["x-idempotent-replay"] == "true"
    assert len(sinks.letters.handed) == 1
    assert await world.is_valid(world.login) is True
    assert await world.events() == 1


async def test_a_letter_left_in_the_middle_is_settled_after_a_restart(world: World, sinks: Sinks) -> None:
    taken, withdrawn = await world.citizen(), await world.citizen()
    sinks.letters.behaviour = "breaks"
    assert code(await world.order(taken, x_requestid="one")) == 4431
    brought = world.login
    sinks.letters.behaviour = "hangs"
    ordering = asyncio.create_task(world.order(withdrawn))
    await eventually(lambda: len(sinks.letters.handed) == 2)
    ordering.cancel()
    assert await world.states() == ["sending", "sending"]
    sinks.letters.behaviour = "works"

    async def settled() -> None:
        assert await world.states() == ["valid", "failed"]

    async with world.start() as again:
        await eventually(settled)
        answer = await again.letter(taken["personNumber"], x_requestid="one")
    assert answer.headers["x-idempotent-replay"] == "true"
    assert await world.is_valid(brought) is True
    assert await world.events() == 1
    async with httpx.AsyncClient(verify=trusting()) as late:
        bearer = {"authorization": f"Bearer {PASSWORD}"}
        url = f"{sinks.print_url}/letters/{sinks.letters.handed[1]}"
        assert (await late.put(url, content=b"%PDF-1.7 late", headers=bearer)).status_code == 410
    assert len(sinks.letters.taken()) == 1


async def test_what_is_being_sent_now_is_left_alone_by_those_who_settle(world: World, sinks: Sinks) -> None:
    citizen = await world.citizen()
    sinks.letters.behaviour = "hangs-afterwards"
    ordering = asyncio.create_task(world.order(citizen))
    await eventually(lambda: len(sinks.letters.handed) == 1)
    async with world.start():
        answer = await ordering
    assert answer.status_code == 200
    assert await world.events() == 1


async def test_twenty_identical_orders_at_once_bring_one_letter_and_all_get_its_receipt(
    world: World, sinks: Sinks
) -> None:
    citizen = await world.citizen()
    answers = await asyncio.gather(*(world.order(citizen, x_requestid="same") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(sinks.letters.handed) == 1
    assert await world.events() == 1
    others = await asyncio.gather(*(world.order(citizen) for _ in range(2)))
    assert {answer.status_code for answer in others} == {200}
    assert await world.states() == ["replaced", "replaced", "valid"]
    assert await world.is_valid(world.login) is True
