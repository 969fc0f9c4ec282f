"""The core of the feed: every record once, rising positions, who sees what, waiting without skipping."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from change_feed import leading
from change_feed.settings import Settings
from change_feed.testing import World, event
from cv_citizens.testing import JOBNET, MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation
from cv_contracts.events.contact_verification import ContactSaved
from cv_contracts.events.cv_status import StatusSet
from servicekit.follow import health
from servicekit.observe import metrics
from servicekit.settings import TelemetrySettings
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

WRITERS = """
select pid from pg_stat_activity where datname = current_database() and application_name = 'change-feed writer'
"""
HERE, THERE, EVERYWHERE = a_caller(MUNICIPALITY), a_caller(OTHER_MUNICIPALITY), a_caller(JOBNET)


Told = Callable[[str], float]


@pytest.fixture
def told() -> Iterator[Told]:
    """Give the value that a gauge has now, -1 for none."""
    reader = InMemoryMetricReader()
    metrics.setup("change-feed", TelemetrySettings(), reader=reader)

    def value(name: str) -> float:
        data = json.loads(reader.get_metrics_data().to_json())  # type: ignore[union-attr]
        found = data["resource_metrics"][0]["scope_metrics"][0]["metrics"]
        points = [one["data"]["data_points"] for one in found if one["name"] == name]
        return float(points[0][0]["value"]) if points and points[0] else -1

    yield value
    metrics.shutdown()


async def test_every_public_record_is_an_entry_and_a_heartbeat_is_none(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    await world.log.send(
        world.at_registry(person),
        world.cv(person, "created"),
        event(StatusSet, person.cv_id, 1, cv_version=1),
        event(ContactSaved, person.person_id, 1),
    )
    await world.log.beat()
    await world.arrived(4)
    events = await world.all_of(HERE)
    assert {e["type"].split(".")[3] for e in events} == {
        "citizen-changed",
        "cv-changed",
        "status-set",
        "contact-saved",
    }
    assert {e["data"]["cvNumber"] for e in events} == {person.cv_number}
    assert {e["subject"] for e in events} == {str(person.cv_id)}


async def test_positions_and_arrival_times_rise_strictly(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    for _ in range(5):
        await world.log.send(*[world.cv(person) for _ in range(20)])
    await world.arrived(100)
    events = await world.all_of(HERE)
    arrived = [e["arrived"] for e in events]
    assert len(arrived) == 100
    assert arrived == sorted(set(arrived))
    versions = [e["data"]["version"] for e in events]
    assert versions == sorted(versions)


async def test_a_record_that_comes_again_changes_nothing(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    first, second = world.cv(person), world.cv(person)
    await world.log.send(first, second, first, second)
    await world.arrived(2)
    await world.log.send(first, world.cv(person))
    await world.arrived(3)


async def test_a_record_that_cannot_be_read_is_a_row_that_is_told_of_and_holds_nothing_up(
    settings: Settings,
    start: Callable[..., AbstractAsyncContextManager[World]],
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "LOOK_EVERY", 1.0)
    async with start(settings) as world:
        await eventually(lambda: told("unreadable.rows") == 0)
        person = world.person(relation(MUNICIPALITY))
        await world.log.raw("cv-registry.cv-changed", str(person.cv_id).encode(), b"{", [("ce_id", None)])
        await world.log.send(world.cv(person))
        await world.arrived(1)
        [row] = await world.rows("select reason, value from unreadable_records where projection = 'feed'")
        assert (row["reason"], row["value"]) == ("null-header", b"{")
        await eventually(lambda: told("unreadable.rows") == 1)

        async def is_shown() -> bool:
            ready = await world.client.get("/health/ready")
            return bool(ready.json()["checks"]["feed"]["unreadable"] == 1)

        await eventually(is_shown)


async def test_a_handover_is_an_entry_that_the_old_authority_sees_as_leaving_and_the_new_one_as_coming(
    world: World,
) -> None:
    person = world.person(relation(MUNICIPALITY))
    cv = str(person.cv_id)
    await world.log.send(world.at_registry(person), world.cv(person, "created"))
    await world.arrived(2)
    assert [change for _, change in await world.shown(HERE)] == ["changed", "created"]
    await world.log.send(world.at_registry(person, relations=[relation(OTHER_MUNICIPALITY)]))
    await world.arrived(4)
    assert await world.shown(HERE) == [(cv, "left")]
    assert await world.shown(THERE) == [(cv, "came"), (cv, "changed")]
    assert (cv, "handed-over") in await world.shown(EVERYWHERE)
    await world.log.send(world.cv(person))
    await world.arrived(5)
    assert await world.shown(HERE) == [(cv, "left")]
    assert await world.shown(THERE) == [(cv, "came"), (cv, "changed"), (cv, "replaced")]


async def test_who_gets_a_citizen_back_sees_again_what_arrived_in_its_time(world: World) -> None:
    person = world.person(relation(MUNICIPALITY))
    await world.log.send(world.cv(person, "created"))
    await world.arrived(1)
    await world.log.send(world.at_registry(person, relations=[relation(OTHER_MUNICIPALITY)]))
    await world.arrived(3)
    await world.log.send(world.cv(person))
    await world.arrived(4)
    await world.log.send(world.at_registry(person, relations=[relation(MUNICIPALITY)]))
    await world.arrived(6)
    assert [change for _, change in await world.shown(HERE)] == ["created", "left", "came", "changed"]
    assert [change for _, change in await world.shown(THERE)] == ["left"]


async def test_while_the_registry_is_away_the_feed_waits_and_then_has_everything(world: World) -> None:
    world.registry.mode = "error"
    person = world.person(relation(MUNICIPALITY))
    await world.log.send(world.cv(person))

    async def waits() -> None:
        detail = (await world.client.get("/health/ready")).json()["checks"]["feed"]
        assert detail["trouble"] == "RegistryAway"

    await eventually(waits)
    await world.arrived(0)
    world.registry.mode = "ok"
    await world.arrived(1)
    assert [change for _, change in await world.shown(HERE)] == ["replaced"]


async def test_a_writer_that_waits_for_the_registry_stays_the_writer(
    settings: Settings,
    start: Callable[..., AbstractAsyncContextManager[World]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leading, "_SESSION", {**leading._SESSION, "idle_session_timeout": "2500"})
    monkeypatch.setattr(leading, "LONGEST_WAIT", 0.5)
    async with start(settings) as world:
        writer = await world.rows(WRITERS)
        world.registry.mode = "error"
        await world.log.send(world.cv(world.person(relation(MUNICIPALITY))))
        for _ in range(7):
            await asyncio.sleep(0.5)
            assert await world.rows(WRITERS) == writer
        world.registry.mode = "ok"
        await world.arrived(1)
        assert await world.rows(WRITERS) == writer


async def test_a_broker_that_takes_no_offsets_holds_nothing_up(
    settings: Settings,
    start: Callable[..., AbstractAsyncContextManager[World]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []

    async def asks_for_ever(*offsets: object) -> None:
        asked.append(offsets)
        await asyncio.Event().wait()

    monkeypatch.setattr(AIOKafkaConsumer, "commit", asks_for_ever)
    async with start(settings) as world:
        [[writer]] = await world.rows(WRITERS)
        person = world.person(relation(MUNICIPALITY))
        for entries in (1, 2):
            await world.log.send(world.cv(person))
            await world.arrived(entries)
            [[edge]] = await world.rows("select edge from feed")
            await eventually(partial(_has_moved, world, edge))
        assert [row["pid"] for row in await world.rows(WRITERS)] == [writer]
        assert len(asked) == 1, "the feed waits for each"


async def _has_moved(world: World, edge: int) -> None:
    assert (await world.rows("select edge from feed"))[0][0] > edge


async def test_how_old_the_edge_is_can_be_watched_and_grows_while_the_feed_waits(
    settings: Settings, start: Callable[..., AbstractAsyncContextManager[World]], told: Told
) -> None:
    async with start(settings) as world:
        await eventually(lambda: 0 <= told("feed.edge.age") < 1.5)
        world.registry.mode = "error"
        await world.log.send(world.cv(world.person(relation(MUNICIPALITY))))
        await eventually(lambda: told("feed.edge.age") > 2)
        world.registry.mode = "ok"
        await eventually(lambda: told("feed.edge.age") < 1.5)


async def test_an_entry_about_nobody_the_registry_knows_is_shown_to_those_who_see_all(world: World) -> None:
    await world.log.send(event(StatusSet, uuid4(), 1))
    await world.arrived(1)
    assert len(await world.all_of(EVERYWHERE)) == 1
    assert await world.all_of(HERE) == []


async def test_the_list_has_what_was_put_in(world: World) -> None:
    begun = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    person = world.person(relation(MUNICIPALITY))
    made = world.cv(person, "created")
    await world.log.send(made)
    await world.arrived(1)
    answer = await world.changes(HERE, begun)
    assert answer.status_code == 200, answer.text
    [item] = answer.json()["CVUpdateList"]
    assert item["CVNumber"] == person.cv_number
    assert item["CVIsDeleted"] is False
    assert datetime.fromisoformat(item["RevisionDate"]) == made.time
    assert answer.json()["LastPageNumber"] == 1


async def test_a_cv_that_goes_over_to_another_person_holds_nothing_up(world: World) -> None:
    first, second = world.person(relation(MUNICIPALITY)), world.person(relation(OTHER_MUNICIPALITY))
    await world.log.send(world.cv(first))
    await world.arrived(1)
    merged = world.at_registry(second, cvId=str(first.cv_id), cvNumber=first.cv_number)
    await world.log.send(merged)
    await world.arrived(2)
    await world.log.send(world.cv(first))
    await world.arrived(3)


async def test_an_entry_says_what_it_is_and_nothing_of_the_person(world: World) -> None:
    person = world.person(relation(MUNICIPALITY), familyName="Hemmelig")
    await world.log.send(world.cv(person))
    await world.arrived(1)
    [row] = await world.rows("select * from entries")
    [cv] = await world.rows("select * from cvs")
    stored = str(dict(row)) + str(dict(cv))
    assert person.state["personNumber"] not in stored
    assert "Hemmelig" not in stored
