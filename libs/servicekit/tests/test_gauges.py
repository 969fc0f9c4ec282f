"""What is told of how a service stands is true now: what cannot be measured is not told, least of all as it last was."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest

from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.follow.follower import Follower
from servicekit.follow.generations import Generations
from servicekit.follow.testing import Copies, EventLog, OwnedStates, make_live
from servicekit.observe import metrics
from servicekit.publish import relay as relay_module
from servicekit.publish.outbox import Outbox
from servicekit.publish.relay import Relay
from servicekit.settings import KafkaSettings
from servicekit.testing import end, eventually, free_port

pytestmark = pytest.mark.infra

Told = Callable[[], dict[str, float]]
NOTHING_WAITS = {"outbox.backlog.rows": 0.0, "outbox.backlog.age": 0.0, "outbox.refused.rows": 0.0}
BY_THE_DATABASE = {
    "builds.held",
    "events.gaps",
    "heartbeat.age",
    "pending.age",
    "pending.rows",
    "unreadable.rows",
}
POOL = {"pool.connections.idle", "pool.connections.used"}


def told_of(told: Told) -> set[str]:
    return set(told()) - POOL


def nowhere() -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=f"127.0.0.1:{free_port()}", request_timeout=timedelta(milliseconds=200)
    )


def test_what_has_no_value_now_is_not_told(told: Told) -> None:
    value: list[float | None] = [3.0]
    metrics.observe("pending.rows", lambda: value[0])
    assert told()["pending.rows"] == 3.0
    value[0] = None
    assert "pending.rows" not in told()
    value[0] = 0.0
    assert told()["pending.rows"] == 0.0


async def test_the_outbox_is_told_of_once_it_was_looked_at_and_while_its_database_answers(
    told: Told, fresh_database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "MEASURE_EVERY", timedelta(milliseconds=20))
    database = await Database.connect(await fresh_database("servicekit.migrations"), "gauge-tests")
    relay = Relay(database, nowhere(), "cv-registry", Outbox())
    assert told_of(told) == set()
    watching = asyncio.create_task(relay.watch_forever())
    await eventually(lambda: told().items() >= NOTHING_WAITS.items())
    await database.close()
    await eventually(lambda: told_of(told) == set())
    await end(watching)


async def test_a_follower_tells_what_the_broker_and_the_database_say_while_they_answer(
    told: Told, fresh_database: FreshDatabase, kafka_settings: KafkaSettings
) -> None:
    database = await Database.connect(await fresh_database("servicekit.migrations"), "gauge-tests")
    owner, copies = OwnedStates(), await Copies(database).create()
    await make_live(database)
    health = Follower(database, kafka_settings, "cv-status", [copies.projection(owner)]).health
    assert told_of(told) == set()
    async with EventLog(kafka_settings) as log:
        await log.send(owner.put(uuid4(), 1))
    await health._look()
    assert told()["events.lag"] == 1
    assert told_of(told) == {*BY_THE_DATABASE, "events.lag"}
    assert told()["heartbeat.age"] > 30, "no heartbeat was ever read: nothing is fresh"
    await health._drop_consumer()
    health._kafka = nowhere()
    await health._look()
    assert told_of(told) == BY_THE_DATABASE
    await database.close()
    await health._look()
    assert told_of(told) == set()
    assert await health.standing() == {}


async def test_a_build_that_waits_for_an_operator_is_told_until_one_decides(
    told: Told, database: Database, kafka_settings: KafkaSettings
) -> None:
    projection = (await Copies(database).create()).projection(OwnedStates())
    await make_live(database)
    health = Follower(database, kafka_settings, "cv-status", [projection]).health
    generations = Generations(database, projection.name)

    async def held() -> float:
        await health.measure()
        return told()["builds.held"]

    assert await held() == 0
    async with database.write(generations.key) as tx:
        build = await generations.start(tx)
    assert await held() == 0
    await generations.hold(build)
    assert await held() == 1
    assert (await health.ready())["copies"]["held"] is True
    async with database.write(generations.key) as tx:
        await generations.give_up(tx)
    assert await held() == 0
    await health._drop_consumer()
