"""The modern feed: ranges, long polls, kinds, positions that are forged, foreign, cut, of another epoch."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from change_feed import arrivals, leading
from change_feed.cursors import Cursors, SnapshotMark, Subscriber
from change_feed.settings import Settings
from change_feed.testing import Person, World, event
from cv_citizens.testing import JOBNET, MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation
from cv_contracts.events.contact_verification import ContactVerified
from cv_contracts.events.cv_status import StatusSet
from cv_contracts.faults import Fault
from servicekit.testing import eventually

HERE, THERE, EVERYWHERE = a_caller(MUNICIPALITY), a_caller(OTHER_MUNICIPALITY), a_caller(JOBNET)
infra = pytest.mark.infra


async def followed(world: World) -> tuple[Person, str]:
    """Give somebody with one event, and the position after it."""
    person = world.person(relation(MUNICIPALITY))
    await world.log.send(world.cv(person))
    await world.arrived(1)
    return person, (await world.feed(HERE)).headers["x-feed-to"]


@infra
async def test_a_page_is_a_batch_of_cloudevents_with_its_range(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    made = [world.cv(person) for _ in range(3)]
    await world.log.send(*made)
    await world.arrived(3)
    answer = await world.feed(HERE, limit=2)
    assert answer.headers["content-type"] == "application/cloudevents-batch+json"
    first, second = answer.json()
    assert first["specversion"] == "1.0"
    assert [first["eventid"], second["eventid"]] == [str(one.id) for one in made[:2]]
    assert first["data"] == {
        "version": made[0].version,
        "change": "replaced",
        "cvNumber": person.cv_number,
    }
    assert answer.headers["x-feed-to"] == second["id"]
    following = await world.feed(HERE, answer.headers["x-feed-to"])
    assert following.headers["x-feed-from"] == answer.headers["x-feed-to"]
    assert [one["eventid"] for one in following.json()] == [str(made[2].id)]
    after_first = await world.feed(HERE, first["id"])
    assert [one["eventid"] for one in after_first.json()] == [str(one.id) for one in made[1:]]


@infra
async def test_a_long_poll_ends_when_something_arrives_for_the_caller_and_not_for_others(
    world: World,
) -> None:
    here, there = world.person(relation(MUNICIPALITY)), world.person(relation(OTHER_MUNICIPALITY))
    await world.log.send(world.cv(here), world.cv(there))
    await world.arrived(2)
    after = (await world.feed(HERE)).headers["x-feed-to"]
    poll = asyncio.create_task(world.feed(HERE, after, timeout=20_000))
    await world.log.send(world.cv(there))
    await world.arrived(3)
    assert not poll.done()
    made = world.cv(here)
    await world.log.send(made)
    answer = await asyncio.wait_for(poll, 60)
    assert [one["eventid"] for one in answer.json()] == [str(made.id)]
    assert answer.headers["x-feed-from"] == after


@infra
async def test_what_comes_after_a_pause_waits_for_no_other_records(
    start: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leading, "GATHER", 600)
    async with start(settings) as world:
        await world.log.send(world.cv(world.person(relation(MUNICIPALITY))))
        await world.arrived(1)


@infra
async def test_a_long_poll_without_anything_ends_empty_after_its_time(world: World) -> None:
    answer = await world.feed(HERE, timeout=50)
    assert (answer.status_code, answer.json()) == (200, [])
    assert answer.headers["x-feed-to"]


@infra
async def test_long_polls_are_answered_one_after_the_other_as_the_process_is_about_to_leave(
    start: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "LEAVING_SECONDS", 3.0)
    waiting = []
    wait = arrivals.Arrivals.wait

    async def noted(self: arrivals.Arrivals, ticket: asyncio.Event) -> None:
        waiting.append(ticket)
        await wait(self, ticket)

    monkeypatch.setattr(arrivals.Arrivals, "wait", noted)
    async with start(settings) as world:
        _, after = await followed(world)
        polls = [asyncio.create_task(world.feed(HERE, after, timeout=60_000)) for _ in range(30)]
        await eventually(lambda: len(waiting) >= len(polls))
        world.health.drain()
        await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
        assert not all(poll.done() for poll in polls)
        answers = await asyncio.wait_for(asyncio.gather(*polls), 10)
        answers.append(await asyncio.wait_for(world.feed(HERE, after, timeout=60_000), 10))
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, "[]")}


@infra
async def test_a_long_poll_that_waits_as_the_feed_begins_anew_is_told_so(world: World) -> None:
    person, after = await followed(world)
    poll = asyncio.create_task(world.feed(HERE, after, timeout=60_000))
    await asyncio.sleep(0.2)
    await world.database.execute("update feed set epoch = gen_random_uuid()")
    await world.log.send(world.cv(person))
    assert (await asyncio.wait_for(poll, 60)).status_code == 410


@infra
async def test_kinds_may_be_chosen_and_the_range_goes_on_over_the_others(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    await world.log.send(
        world.cv(person, "created"), event(StatusSet, person.cv_id, 1), world.cv(person, "locked")
    )
    await world.arrived(3)

    async def kinds(kind: str) -> list[Any]:
        return [one["type"].split(".")[3] for one in await world.all_of(HERE, kind=kind)]

    assert await kinds("status-set") == ["status-set"]
    assert len(await kinds("cv-changed,status-set")) == 3
    assert len(await kinds("cv-changed.locked")) == 1
    assert await kinds("contact-saved") == []
    assert await kinds("citizen-handed-over.left,cv-changed.deleted") == []
    for mistaken in ("nonsense", "cv-changed.deletd", "status-set.replaced", "cv-changed,", ""):
        assert (await world.feed(HERE, kind=mistaken)).json()["code"] == 1014, mistaken
    limited = await world.feed(HERE, kind="cv-changed", limit=1)
    assert [one["data"]["change"] for one in limited.json()] == ["created"]
    following = await world.feed(HERE, limited.headers["x-feed-to"], kind="cv-changed")
    assert [one["data"]["change"] for one in following.json()] == ["locked"]
    assert [one.headers["x-feed-more"] for one in (limited, following)] == ["true", "false"]


@infra
async def test_a_large_page_is_compressed_for_those_who_take_that(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    await world.log.send(*[world.cv(person) for _ in range(20)])
    await world.arrived(20)
    answer = await world.feed(HERE)
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.json()) == 20
    headers = {**world.headers(HERE), "accept-encoding": "identity"}
    plain = await world.client.get("/v1/feed/cv", headers=headers)
    assert "content-encoding" not in plain.headers
    assert plain.json() == answer.json()


@infra
async def test_an_erasure_is_told_by_delete_and_leaves_no_number(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    await world.log.send(world.cv(person))
    await world.arrived(1)
    await world.log.send(*world.erase(person))
    await world.arrived(3)
    events = await world.all_of(HERE)
    assert [one.get("method") for one in events] == [None, "DELETE", "DELETE"]
    assert {one["subject"] for one in events} == {str(person.cv_id)}
    assert person.cv_number not in str(events)
    assert "data" not in events[1]


@infra
async def test_what_comes_of_an_erased_citizen_is_told_by_delete_too(world: World) -> None:
    """As what other services had said before they heard of it, or had on its way, on topics of their own."""
    person = world.person(relation(MUNICIPALITY))
    await world.log.send(world.cv(person))
    await world.arrived(1)
    erasure = world.erase(person)
    await world.log.send(event(StatusSet, person.cv_id, 1, cv_version=1))
    await world.arrived(2)
    await world.log.send(*erasure)
    await world.arrived(4)
    await world.log.send(
        event(StatusSet, person.cv_id, 2, cv_version=1), event(ContactVerified, person.person_id, 1)
    )
    await world.arrived(6)
    events = await world.all_of(HERE)
    assert [one.get("method") for one in events] == [None, *["DELETE"] * 5]
    assert {one["subject"] for one in events} == {str(person.cv_id)}
    assert all("data" not in one for one in events[1:])


@infra
async def test_positions_that_are_forged_cut_or_anothers_are_refused(world: World) -> None:
    _, mine = await followed(world)
    snapshot = (await world.snapshot(HERE, limit=1)).json()["next"]
    bad = [mine[:-1], mine[:-4], mine + "A", "A" + mine[1:], "", "æ", "null", "0", mine * 4, snapshot]
    for text in bad:
        answer = await world.feed(HERE, text)
        assert (answer.status_code, answer.json()["code"]) == (400, 1014), text
    others = [THERE, EVERYWHERE, a_caller(MUNICIPALITY, client="client-2")]
    for other in others:
        assert (await world.feed(other, mine)).json()["code"] == 1014
    assert (await world.snapshot(HERE, mine)).json()["code"] == 1014


def test_every_changed_bit_of_a_position_is_noticed() -> None:
    cursors, mine = Cursors(b"a key of some length"), Subscriber("client", "7:101")
    epoch = uuid4()
    text = cursors.of(mine, epoch, 1_700_000_000_000_000)
    assert cursors.read(mine, text, "e") == (epoch, 1_700_000_000_000_000)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for i, letter in enumerate(text):
        for other in alphabet:
            if other != letter:
                with pytest.raises(Fault):
                    cursors.read(mine, text[:i] + other + text[i + 1 :], "e")


def _forged(chance: Random, given: list[str]) -> str:
    """Make a position of those that were given: parts lost, repeated, exchanged, or of anything else."""
    text = chance.choice(given)
    for _ in range(chance.randrange(1, 4)):
        start, end = sorted(chance.randrange(len(text) + 1) for _ in range(2))
        other = chance.choice(given)
        patch = chance.choice(
            ("", "A", "=", "\0", "æ", "\ud800", text[start:end] * 2, other[start:end], other[start:])
        )
        text = text[:start] + patch + text[chance.choice((start, end)) :]
    return text


def _read(read: Callable[[Subscriber, str, str], object], subscriber: Subscriber, text: str) -> object:
    """Give what the position says, or the code of the fault."""
    try:
        return read(subscriber, text, "lastEventId")
    except Fault as fault:
        return fault.code


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_whatever_is_made_of_positions_is_one_of_mine_or_refused(count: int) -> None:
    cursors, chance = Cursors(b"a key of some length"), Random(20261128)  # noqa: S311 - the same in every run
    mine, others, epoch = Subscriber("client", "7:101"), Subscriber("client", "7:102"), uuid4()
    moments = [chance.randrange(-(2**63), 2**63) for _ in range(20)]
    known = {cursors.of(mine, epoch, moment): (epoch, moment) for moment in moments}
    marks = {
        cursors.of_mark(mine, epoch, mark): (epoch, mark)
        for mark in (SnapshotMark(moment, uuid4()) for moment in moments)
    }
    given = [*known, *marks, *(cursors.of(others, epoch, moment) for moment in moments)]
    for text in (_forged(chance, given) for _ in range(count)):
        assert _read(cursors.read, mine, text) == known.get(text, 1014)
        assert _read(cursors.read_mark, mine, text) == marks.get(text, 1014)


@infra
async def test_a_snapshot_and_what_follows_it_have_everything_once(world: World) -> None:
    persons = [world.person(relation(MUNICIPALITY)) for _ in range(5)]
    await world.log.send(*[world.cv(person) for person in persons])
    await world.arrived(5)
    first = (await world.snapshot(HERE, limit=2)).json()
    assert [one["cvId"] for one in first["items"]] == sorted(str(p.cv_id) for p in persons)[:2]
    late = world.person(relation(MUNICIPALITY))
    newer = sorted(persons, key=lambda p: p.cv_id)[4]
    before = world.registry.cvs[str(newer.cv_id)]["version"]
    await world.log.send(world.cv(late), world.cv(newer))
    await world.arrived(7)
    items, following = first["items"], first["next"]
    while following is not None:
        page = (await world.snapshot(HERE, following, limit=2)).json()
        assert page["position"] == first["position"]
        items, following = items + page["items"], page["next"]
    assert [one["cvId"] for one in items] == sorted(str(p.cv_id) for p in persons)
    assert {one["cvId"]: one["version"] for one in items}[str(newer.cv_id)] == before
    events = (await world.feed(HERE, first["position"])).json()
    # Two CVs in two partitions: which of them comes first is not promised.
    assert sorted(one["subject"] for one in events) == sorted([str(late.cv_id), str(newer.cv_id)])
    assert (await world.snapshot(THERE)).json()["items"] == []
