"""What readiness shows, when a follower counts as stuck, and what the topology test sees."""

import asyncio
import contextlib
import time
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from cv_contracts.events.cv_registry import CitizenChanged, CVChanged
from cv_contracts.topics import topic_of
from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.follow.follower import Follower
from servicekit.follow.freshness import FRESH_FOR, fresh_partitions_sql
from servicekit.follow.health import OWNER_FAILED_WITHIN, FollowerStuck, FollowHealth, NotLive
from servicekit.follow.pending import back_off
from servicekit.follow.projection import Announced
from servicekit.follow.testing import CITIZENS, Copies, EventLog, OwnedStates, following, make_live
from servicekit.follow.topology_testing import Subscription, assert_follows_contracts, subscriptions
from servicekit.settings import KafkaSettings
from servicekit.testing import end, eventually

pytestmark = pytest.mark.infra


async def test_readiness_needs_a_live_generation_and_shows_where_each_projection_stands(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    owner, copies = OwnedStates(), await Copies(database).create()
    follower = Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])
    async with EventLog(kafka_settings) as log, following(follower):
        with pytest.raises(NotLive):
            await follower.health.ready()
        await make_live(database)
        await log.send(owner.put(uuid4(), 1))
        await log.raw(b"nobody", b"{", [], partition=0)
        await log.beat()

        async def shown() -> None:
            await follower.health.measure()
            detail = (await follower.health.ready())["copies"]
            assert detail["lag"] == 0
            assert detail["unreadable"] == 1
            assert detail["pending"] == 0
            assert detail["heartbeat_age"] < 30
            assert detail["since_progress"] < 30

        await eventually(shown)


async def test_a_subject_that_waits_too_long_is_an_alarm_and_not_one_each_time(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    await make_live(database)
    follower = Follower(database, kafka_settings, "cv-status", [Copies(database).projection(OwnedStates())])
    pending = (
        "insert into pending_subjects (projection, subject, version, next_try, reason, first_seen)"
        " values ('copies', $1, 1, now() + interval '1 hour', 'owner-unknown', now() - $2 * interval '1 second')"
    )
    with capture_logs() as told:
        await database.execute(pending, uuid4(), 200.0)
        await follower.health.measure()
        assert told == []
        await database.execute(pending, uuid4(), 400.0)
        await follower.health.measure()
        await follower.health.measure()
    assert [(one["event"], one["count"]) for one in told] == [("pending_too_long", 2)]
    await follower.health._drop_consumer()


async def test_lag_is_what_the_broker_has_and_the_database_does_not(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    owner, copies = OwnedStates(), await Copies(database).create()
    await make_live(database)
    follower = Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])
    async with EventLog(kafka_settings) as log:
        await log.send(*[owner.put(uuid4(), 1) for _ in range(25)])
    await follower.health.measure()
    assert (await follower.health.ready())["copies"]["lag"] == 25
    await follower.health._drop_consumer()


async def test_a_follower_that_gets_nowhere_while_everybody_answers_ends(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    health = await _with_a_backlog(database, kafka_settings, OwnedStates())
    with pytest.raises(FollowerStuck):
        await health.watch_forever()


async def test_a_follower_that_stood_still_may_go_on(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    """A process that was stopped, or whose machine slept, has got nowhere since, and is not to blame for it."""
    health = await _with_a_backlog(database, kafka_settings, OwnedStates())
    health._looked_at = time.monotonic() - 60
    await health._look()
    assert (await health.standing())["copies"]["since_progress"] < 30
    health._progress_at = {"copies": time.monotonic() - 60}
    with pytest.raises(FollowerStuck):
        await health._look()
    await health._drop_consumer()


async def test_a_follower_that_gets_nowhere_is_not_hidden_by_another_instance_that_does(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    health = await _with_a_backlog(database, kafka_settings, OwnedStates())
    lags = await health._lags(health._followings[0], {})
    mine = {partition for partition, lag in lags.items() if lag}
    others = min(set(lags) - mine)
    health._assigned_to = lambda _: mine

    async def another_goes_on() -> None:
        for offset in range(1, 10_000):
            await database.execute(
                "insert into follow_positions (projection, topic, partition, next_offset) values ('copies', $1, $2, $3)"
                " on conflict (projection, topic, partition) do update set next_offset = $3",
                CITIZENS.name,
                others,
                offset,
            )

    going = asyncio.create_task(another_goes_on())
    with pytest.raises(FollowerStuck):
        await asyncio.wait_for(health.watch_forever(), 60)
    await end(going)


async def test_an_owner_that_does_not_answer_is_not_the_followers_fault(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    owner = OwnedStates()
    owner.trouble = ConnectionRefusedError()
    health = await _with_a_backlog(database, kafka_settings, owner)
    someone = uuid4()
    await health._followings[0].owner.ask({someone: Announced(someone, 1)})
    await health._look()
    await health._drop_consumer()


async def test_an_owner_that_did_not_answer_long_ago_excuses_nobody(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    owner = OwnedStates()
    owner.trouble = ConnectionRefusedError()
    health = await _with_a_backlog(database, kafka_settings, owner)
    asked, someone = health._followings[0].owner, uuid4()
    await asked.ask({someone: Announced(someone, 1)})
    asked._failed_at -= OWNER_FAILED_WITHIN
    with pytest.raises(FollowerStuck):
        await health.watch_forever()


async def test_a_broker_that_does_not_answer_is_not_the_followers_fault(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    health = await _with_a_backlog(database, kafka_settings, OwnedStates())
    health._kafka = KafkaSettings(
        bootstrap_servers="127.0.0.1:1", request_timeout=timedelta(milliseconds=200)
    )
    await health._drop_consumer()
    await health._look()


async def test_ages_go_on_growing_while_the_broker_does_not_answer(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    """Whoever is alarmed by them would else be told of the last moment at which all was well."""
    owner, copies = OwnedStates(), await Copies(database).create()
    await make_live(database)
    follower = Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])
    async with EventLog(kafka_settings) as log, following(follower):
        await log.beat()

        async def beaten() -> None:
            await follower.health.measure()
            assert (await follower.health.ready())["copies"]["heartbeat_age"] < 30

        await eventually(beaten)
    health = follower.health
    health._kafka = KafkaSettings(
        bootstrap_servers="127.0.0.1:1", request_timeout=timedelta(milliseconds=200)
    )
    await health._drop_consumer()
    await database.execute("update follow_positions set heartbeat_at = now() - interval '1 minute'")
    await database.execute(
        "insert into pending_subjects (projection, subject, version, next_try, reason, first_seen)"
        " values ('copies', $1, 1, now(), 'owner-away', now() - interval '2 minutes')",
        uuid4(),
    )
    await health._look()
    shown = (await health.ready())["copies"]
    assert shown["heartbeat_age"] >= 60
    assert shown["pending_age"] >= 120
    assert shown["lag"] is None, "nobody knows how many records the broker has"


@pytest.mark.parametrize(
    ("made", "age"),
    [
        ("now() - interval '20 s'", 20),
        ("now() + interval '4 s'", -4),
        ("now() - interval '40 s'", 40),
        ("now() + interval '10 s'", 40),
        ("case when p > 0 then now() end", 60),
        ("case when p = 0 then now() - interval '2 minutes' end", 120),
    ],
)
async def test_heartbeats_are_told_to_be_stale_exactly_where_freshness_does_not_accept_them(
    database: Database, kafka_settings: KafkaSettings, made: str, age: float
) -> None:
    await make_live(database)
    health = Follower(
        database, kafka_settings, "cv-status", [Copies(database).projection(OwnedStates())]
    ).health
    await database.execute(
        "insert into follow_positions (projection, topic, partition, next_offset, heartbeat_at)"
        f" select 'copies', $1, p, 1, {made} from generate_series(0, $2 - 1) p",
        CITIZENS.name,
        CITIZENS.partitions,
    )
    await health.measure()
    told = (await health.standing())["copies"]["heartbeat_age"]
    assert told == pytest.approx(age, abs=2)
    fresh = await database.fetchval(f"select {fresh_partitions_sql('copies', CITIZENS)}")
    assert (told < FRESH_FOR.total_seconds()) is (len(fresh) == CITIZENS.partitions)
    await health._drop_consumer()


async def test_a_topic_that_has_no_heartbeats_is_never_stale_for_want_of_them(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    await make_live(database)
    projection = Copies(database).projection(OwnedStates(), topic=topic_of(CVChanged))
    health = Follower(database, kafka_settings, "contact-verification", [projection]).health
    await health.measure()
    assert (await health.standing())["copies"]["heartbeat_age"] is None
    await health._drop_consumer()


async def test_a_database_that_does_not_answer_is_not_the_followers_fault(
    database: Database, kafka_settings: KafkaSettings, fresh_database: FreshDatabase
) -> None:
    gone = await Database.connect(await fresh_database("servicekit.migrations"), "health-tests")
    await make_live(gone)
    health = await _with_a_backlog(gone, kafka_settings, OwnedStates(), live=False)
    await gone.close()
    await health._look()
    await health._drop_consumer()


class Stops:
    """A client whose stop() takes a cancellation for that of a task of its own, as aiokafka's does."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()

    async def end_offsets(self, _partitions: object) -> None:
        raise ConnectionResetError

    async def stop(self) -> None:
        self.stopping.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def test_a_cancellation_that_a_stopping_client_swallows_ends_the_watch_all_the_same(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    health = await _with_a_backlog(database, kafka_settings, OwnedStates())
    await health._drop_consumer()
    stops = Stops()
    health._consumer = stops
    watching = asyncio.create_task(health.watch_forever())
    await stops.stopping.wait()
    watching.cancel()
    done, _ = await asyncio.wait({watching}, timeout=60)
    assert done
    assert watching.cancelled()


def test_the_wait_for_the_next_try_doubles_from_a_second_to_five_minutes_with_jitter() -> None:
    for attempts, seconds in [(0, 1), (1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (1000, 300)]:
        delays = {back_off(attempts) for _ in range(50)}
        assert len(delays) > 1
        assert all(0.75 * seconds <= delay <= 1.25 * seconds for delay in delays)


async def test_subscribers_are_what_the_contracts_say(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    projection = Copies(database).projection(OwnedStates())
    follower = Follower(database, kafka_settings, "cv-status", [projection])
    assert subscriptions(follower.broker) == [
        Subscription(
            topic=kafka_settings.topic_prefix + CITIZENS.name,
            group="cv-status.copies",
            ack_policy="nack_on_error",
            offset_reset="earliest",
            auto_commit=False,
            batch=True,
        )
    ]
    assert_follows_contracts(follower, "cv-status", kafka_settings.topic_prefix)


async def test_the_topology_test_sees_a_topic_too_many_and_one_too_few(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    citizens = Copies(database).projection(OwnedStates())
    follower = Follower(database, kafka_settings, "cv-registry", [citizens])
    with pytest.raises(AssertionError):
        assert_follows_contracts(follower, "cv-registry", kafka_settings.topic_prefix)
    with pytest.raises(AssertionError):
        assert_follows_contracts(
            Follower(database, kafka_settings, "cv-status", []), "cv-status", kafka_settings.topic_prefix
        )
    assert topic_of(CitizenChanged) is CITIZENS
    with pytest.raises(AssertionError):
        assert_follows_contracts(
            Follower(
                database,
                kafka_settings,
                "cv-status",
                [
                    citizens,
                    replace(citizens, name="again", topic=replace(CITIZENS, name="cv-status.status-set")),
                ],
            ),
            "cv-status",
            kafka_settings.topic_prefix,
        )


async def _with_a_backlog(
    database: Database, kafka: KafkaSettings, owner: OwnedStates, *, live: bool = True
) -> FollowHealth:
    """A follower that never runs: its records wait, and a minute has gone by since its last progress."""
    if live:
        await make_live(database)
    follower = Follower(database, kafka, "cv-status", [Copies(database).projection(owner)])
    async with EventLog(kafka) as log:
        await log.send(owner.put(uuid4(), 1))
    health = follower.health
    await health.measure()
    health._stuck_after = 30.0
    health._progress_at = {"copies": time.monotonic() - 60}
    return health
