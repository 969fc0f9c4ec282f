"""What an operator is told: whether the feed has what the log and the owners have."""

from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from change_feed import comparing
from change_feed.log import Log
from change_feed.settings import Settings
from change_feed.testing import World
from cv_citizens.testing import MUNICIPALITY, a_caller, relation
from cvhub.testing import FreshDatabase
from servicekit.follow.state_client import Digest
from servicekit.follow.states import Unknown
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

HERE = a_caller(MUNICIPALITY)
TOPIC = "cv-registry.cv-changed"


async def of_log(world: World) -> tuple[int, list[str]]:
    headers = world.headers(None, "operator")
    listed = (await world.client.get("/internal/operations/feed", headers=headers)).json()["partitions"]
    compared, missing = 0, list[str]()
    for one in listed:
        body: dict[str, Any] = {"topic": one["topic"], "partition": one["partition"], "begin": 0}
        while body["begin"] is not None:
            answer = await world.client.post(
                "/internal/operations/feed/verify-log", json=body, headers=headers
            )
            found = answer.json()
            compared, missing = compared + found["compared"], missing + found["missing"]
            body["begin"] = found["following"]
    return compared, missing


async def test_what_the_feed_lacks_of_the_log_is_named(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    made = [world.cv(person) for _ in range(3)]
    await world.log.raw(TOPIC, b"no key", b"{")
    await world.log.send(*made, world.at_registry(person))
    await world.log.beat()
    await world.arrived(4)
    assert await of_log(world) == (4, [])
    await world.database.execute("delete from seen_events where event_id = $1", made[1].id)
    await world.database.execute("delete from unreadable_records")
    compared, missing = await of_log(world)
    assert compared == 4
    assert len(missing) == 2
    assert str(made[1].id) in missing
    assert any(one.startswith("offset ") for one in missing)


async def test_what_the_log_had_before_a_lost_feed_began_anew_is_not_missing(
    settings: Settings, start: Any, fresh_database: FreshDatabase
) -> None:
    async with start(settings) as world:
        person = world.person(relation(MUNICIPALITY))
        await world.log.send(*[world.cv(person) for _ in range(3)])
        await world.arrived(3)
        assert await of_log(world) == (3, [])
        await world.committed()
    empty = settings.model_copy(update={"postgres": await fresh_database("change_feed.migrations")})
    async with start(empty) as world:
        made = [world.cv(person) for _ in range(2)]
        await world.log.send(*made)
        await world.arrived(3)
        assert await of_log(world) == (2, [])
        await world.database.execute("delete from seen_events where event_id = $1", made[0].id)
        assert await of_log(world) == (2, [str(made[0].id)])


async def test_what_a_log_has_that_was_made_anew_is_compared_from_its_beginning(
    settings: Settings, start: Any, fresh_database: FreshDatabase
) -> None:
    async with start(settings) as world:
        person = world.person(relation(MUNICIPALITY))
        made = world.cv(person)
        await world.log.send(made)
        await world.arrived(1)
        await world.database.execute("update log_positions set next_offset = 1000, begun_at = 900")
    async with start(settings) as world:
        await eventually(lambda: _is_at(world, 1))
        await world.database.execute("delete from seen_events")
        assert await of_log(world) == (1, [str(made.id)])


async def _is_at(world: World, end: int) -> None:
    assert await world.database.fetchval("select sum(next_offset) from log_positions") == end


class Owner:
    """An owner of one CV, as it is compared with."""

    def __init__(self, versions: dict[Any, int]) -> None:
        self._versions = versions

    async def states(self, subjects: Any, /) -> list[Any]:
        return [Unknown(subject) for subject in subjects]

    async def page(self, _after: Any, _limit: int, /) -> Any:
        raise NotImplementedError

    async def ranges(self, first: int, last: int, /) -> dict[int, Digest]:
        numbers = {subject.bytes[0] for subject in self._versions}
        return {number: Digest(1, 0) for number in numbers if first <= number <= last}

    async def versions(self, number: int, /) -> dict[Any, int]:
        return {s: v for s, v in self._versions.items() if s.bytes[0] == number}


async def test_cvs_that_differ_from_their_owner_are_named(world: World) -> None:
    same, behind = world.person(relation(MUNICIPALITY)), world.person(relation(MUNICIPALITY))
    newest = [world.cv(same), world.cv(behind)]
    await world.log.send(*newest)
    await world.arrived(2)
    theirs = {same.cv_id: newest[0].version, behind.cv_id: newest[1].version + 5}
    compared = await comparing.compare_owners(world.database, Owner(theirs), Owner({}))
    assert compared.differences == [
        comparing.Difference(behind.cv_id, newest[1].version, newest[1].version + 5)
    ]


async def test_citizens_placed_by_a_version_that_their_owner_has_lost_are_named(world: World) -> None:
    same, further, older, gone = persons = [world.person(relation(MUNICIPALITY)) for _ in range(4)]
    await world.log.send(*[world.at_registry(person) for person in persons])
    await world.arrived(4)
    theirs = {same.person_id: 2, further.person_id: 3, older.person_id: 1, world.person().person_id: 1}
    compared = await comparing.compare_owners(world.database, Owner({}), Owner(theirs))
    lost = {one.subject: (one.ours, one.owners) for one in compared.lost}
    assert lost == {older.person_id: (2, 1), gone.person_id: (2, None)}


async def test_a_cv_whose_citizen_has_no_number_is_followed_like_any_other(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    await world.log.send(world.at_registry(person), world.cv(person))
    await world.arrived(2)
    await world.log.send(world.at_registry(person, cvNumber=None))
    await world.arrived(3)
    newest = world.cv(person, "deleted", "DELETED")
    await world.log.send(newest)
    await world.arrived(4)
    compared = await comparing.compare_owners(
        world.database, Owner({person.cv_id: newest.version}), Owner({})
    )
    assert compared.differences == []
    [item] = (await world.snapshot(HERE)).json()["items"]
    assert (item["version"], item["change"], item["cvNumber"]) == (newest.version, "deleted", None)


async def test_a_log_that_cannot_be_read_now_is_503(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.log.send(world.cv(world.person(relation(MUNICIPALITY))))
    await world.arrived(1)

    async def away(_self: Log) -> None:
        raise KafkaConnectionError

    monkeypatch.setattr(Log, "start", away)
    headers = world.headers(None, "operator")
    answers = [
        await world.client.post(
            "/internal/operations/feed/verify-log",
            json={"topic": TOPIC, "partition": number},
            headers=headers,
        )
        for number in range(6)
    ]
    assert {answer.status_code for answer in answers} == {200, 503}, "an empty partition needs no Kafka"


async def test_only_an_operator_may_ask(world: World) -> None:
    for service in ("stranger", "gateway"):
        answer = await world.client.get("/internal/operations/feed", headers=world.headers(None, service))
        assert answer.status_code == 403
    body = {"topic": "nothing", "partition": 0}
    headers = world.headers(None, "operator")
    answer = await world.client.post("/internal/operations/feed/verify-log", json=body, headers=headers)
    assert answer.status_code == 404
