import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord, TopicPartition

from cv_contracts.envelope import headers, read
from cv_contracts.events.cv_registry import CitizenHeartbeat, CVChanged
from cv_contracts.topics import TOPICS
from cvhub.testing import FreshDatabase, Kafka, Postgres
from servicekit import kafka
from servicekit.data.postgres import Database, migrate
from servicekit.kafka_admin import ensure_topics
from servicekit.observe.telemetry import with_traceparent
from servicekit.publish import relay as relay_module
from servicekit.publish.outbox import Outbox
from servicekit.publish.relay import Relay
from servicekit.settings import KafkaSettings, PostgresSettings
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

SOURCE = "cv-registry"
TOPIC = "cv-registry.cv-changed"
LONG = timedelta(seconds=30)


@pytest_asyncio.fixture
async def database(fresh_database: FreshDatabase) -> AsyncIterator[Database]:
    settings = await fresh_database("servicekit.migrations")
    database = await Database.connect(settings.model_copy(update={"pool_max": 18}), "test")
    await database.execute("create table things (id uuid primary key, version bigint not null)")
    yield database
    await database.close()


@asynccontextmanager
async def running(*relays: Relay) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        yield
    finally:
        for relay in relays:
            relay.stop()
        for task in tasks:
            with suppress(TimeoutError):
                await asyncio.wait_for(task, 60)


async def write(database: Database, outbox: Outbox, subject: UUID, pause: float = 0) -> CVChanged:
    """Publish one more version of a thing, with a pause inside the transaction."""
    async with database.write(str(subject)) as tx:
        previous = await tx.conn.fetchval("select version from things where id = $1", subject)
        version = tx.version_after(previous)
        await tx.conn.execute(
            "insert into things values ($1, $2) on conflict (id) do update set version = $2", subject, version
        )
        event = CVChanged(id=uuid4(), subject=subject, version=version, time=tx.now, change="replaced")
        await outbox.add(tx, event)
        if pause:
            await tx.conn.execute("select pg_sleep($1)", pause)
    return event


async def records(settings: KafkaSettings, topic: str = TOPIC) -> list[ConsumerRecord]:
    """Give all records of a topic, partition by partition."""
    consumer = kafka.consumer(settings, group_id=None)
    await consumer.start()
    try:
        name = settings.topic_prefix + topic
        partitions = [TopicPartition(name, n) for n in range(6)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[ConsumerRecord] = []
        for partition in partitions:
            consumer.seek(partition, 0)
        while any([await consumer.position(p) < ends[p] for p in partitions]):
            for chunk in (await consumer.getmany(timeout_ms=200)).values():
                found += chunk
        return found
    finally:
        await consumer.stop()


def events_of(found: Sequence[ConsumerRecord]) -> list[CVChanged]:
    events = [read(record.headers, record.value) for record in found]
    assert all(isinstance(event, CVChanged) for event in events)
    return [event for event in events if isinstance(event, CVChanged)]


def first_deliveries(events: Sequence[CVChanged]) -> dict[UUID, list[int]]:
    """Give the versions per subject in the order of their first delivery; a repeat must be the same event."""
    versions: dict[UUID, list[int]] = defaultdict(list)
    seen: dict[UUID, CVChanged] = {}
    for event in events:
        if event.id in seen:
            assert event == seen[event.id]
        else:
            seen[event.id] = event
            versions[event.subject].append(event.version)
    return versions


def more_was_sent(relays: Sequence[Relay], count: int) -> bool:
    return sum(relay.progress.sent for relay in relays) > count


async def empty(database: Database) -> None:
    assert await database.fetchval("select count(*) from outbox") == 0


async def test_a_record_says_what_the_contract_says_and_its_row_is_gone(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    outbox = Outbox()
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with with_traceparent(traceparent):
        event = await write(database, outbox, uuid4())
    row = await database.fetchval("select tracingspancontext from outbox")
    async with running(Relay(database, kafka_settings, SOURCE, outbox)):
        await eventually(lambda: empty(database))
    (record,) = await records(kafka_settings)
    assert read(record.headers, record.value) == event
    assert sorted(record.headers) == sorted(headers(event, SOURCE, row))
    assert traceparent[:35] == dict(record.headers)["ce_traceparent"].decode()[:35]
    assert record.key == str(event.subject).encode()
    assert record.partition == kafka.partition_of(record.key, 6)


async def test_order_per_key_holds_under_16_writers_with_pauses_inside_their_transactions(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    outbox = Outbox()
    subjects = [uuid4() for _ in range(50)]
    written: dict[UUID, list[int]] = defaultdict(list)

    async def writer(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - repeatable
        for _ in range(40):
            event = await write(database, outbox, chance.choice(subjects), chance.choice([0, 0, 0.002, 0.02]))
            written[event.subject].append(event.version)

    relay = Relay(database, kafka_settings, SOURCE, outbox)
    async with running(relay):
        await asyncio.gather(*(writer(n) for n in range(16)))
        await eventually(lambda: empty(database), LONG)
    found = events_of(await records(kafka_settings))
    assert len(found) == len({event.id for event in found}) == relay.progress.sent == 640
    delivered = first_deliveries(found)
    assert delivered == {subject: sorted(versions) for subject, versions in written.items()}


async def test_a_relay_that_dies_after_the_send_and_before_the_delete_repeats_the_same_events_only(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    outbox = Outbox()
    subjects = [uuid4() for _ in range(5)]
    written = [await write(database, outbox, subject) for _ in range(4) for subject in subjects]
    first = Relay(database, kafka_settings, SOURCE, outbox)
    async with database.pool.acquire() as conn:
        await conn.execute("begin; select 1 from outbox for update")
        dying = asyncio.create_task(first.run())
        await eventually(lambda: first.progress.sent == 20)
        dying.cancel()
        with suppress(asyncio.CancelledError):
            await dying
        await conn.execute("rollback")
    assert await database.fetchval("select count(*) from outbox") == 20
    async with running(Relay(database, kafka_settings, SOURCE, outbox)):
        await eventually(lambda: empty(database))
    found = events_of(await records(kafka_settings))
    assert len(found) == 40
    assert {event.id for event in found} == {event.id for event in written}
    assert all(versions == sorted(versions) for versions in first_deliveries(found).values())


async def test_of_two_relays_one_works_and_the_other_takes_over_each_time_a_connection_is_killed(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    outbox = Outbox()
    relays = [Relay(database, kafka_settings, SOURCE, outbox) for _ in range(2)]
    subjects = [uuid4() for _ in range(20)]
    writing = True

    async def writer(seed: int) -> int:
        chance, count = random.Random(seed), 0  # noqa: S311 - repeatable
        while writing:
            await write(database, outbox, chance.choice(subjects), chance.choice([0, 0.005]))
            count += 1
        return count

    async with running(*relays):
        writers = [asyncio.create_task(writer(n)) for n in range(4)]
        for _ in range(4):
            await eventually(
                partial(more_was_sent, relays, sum(relay.progress.sent for relay in relays) + 10)
            )
            # The one before may have sent as many while its connection was being killed.
            await eventually(lambda: sum(relay.progress.active for relay in relays) == 1)
            await database.execute(
                "select pg_terminate_backend(pid) from pg_locks "
                "where locktype = 'advisory' and objsubid = 2 and granted and pid in "
                "(select pid from pg_stat_activity where application_name = 'cv-registry-relay')"
            )
        writing = False
        total = sum(await asyncio.gather(*writers))
        await eventually(lambda: empty(database), LONG)
    found = events_of(await records(kafka_settings))
    assert len({event.id for event in found}) == total
    assert all(versions == sorted(versions) for versions in first_deliveries(found).values())


async def test_a_relay_that_says_nothing_any_more_loses_its_lease_although_its_connection_stands(
    database: Database, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(relay_module._SESSION, "idle_session_timeout", "1000")
    outbox = Outbox()
    silent, other = (Relay(database, kafka_settings, SOURCE, outbox) for _ in range(2))
    async with silent._lease() as lease, running(other):
        assert lease is not None
        await write(database, outbox, uuid4())
        await eventually(lambda: empty(database))
        assert lease.lost.done()


async def test_the_session_of_a_lease_ends_with_its_holder_and_reads_in_the_order_of_the_key(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    async with Relay(database, kafka_settings, SOURCE, Outbox())._lease() as lease:
        assert lease is not None
        names = ("idle_session_timeout", "tcp_keepalives_idle", "synchronous_commit", "statement_timeout")
        shown = [await lease.conn.fetchval(f"show {name}") for name in names]
        assert shown == ["30s", "4", "off", "10s"]
        gone = list(range(500))
        plan = str(await lease.conn.fetch("explain " + relay_module._EXCHANGE, gone, [500], [], 500))
    assert "Index Scan using outbox_pkey" in plan
    assert not [way for way in ("Seq Scan", "Bitmap", "Hash", "Merge", "Sort") if way in plan]


async def test_rows_written_here_are_sent_at_once_and_not_at_the_next_look(
    database: Database, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "SHORTEST_POLL", LONG)
    monkeypatch.setattr(relay_module, "LONGEST_POLL", LONG)
    outbox = Outbox()
    relay = Relay(database, kafka_settings, SOURCE, outbox)
    async with running(relay):
        for sent in range(3):
            await write(database, outbox, uuid4())
            await eventually(partial(more_was_sent, [relay], sent), LONG / 3)
            await eventually(lambda: empty(database), LONG / 3)


async def test_what_was_sent_stays_for_the_next_rows_and_is_gone_once_the_relay_has_stopped(
    database: Database, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "LINGER", timedelta(minutes=10))
    outbox = Outbox()
    relay = Relay(database, kafka_settings, SOURCE, outbox)
    # A row that is read before its writer wakes the relay would be deleted at once.
    await write(database, outbox, uuid4())
    async with running(relay):
        for sent in range(3):
            await eventually(partial(more_was_sent, [relay], sent))
            assert await database.fetchval("select count(*) from outbox") == 1
            await write(database, outbox, uuid4())
        await eventually(partial(more_was_sent, [relay], 3))
    assert await database.fetchval("select count(*) from outbox") == 0


async def test_rows_written_elsewhere_are_sent_soon(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    relay = Relay(database, kafka_settings, SOURCE, Outbox())
    async with running(relay):
        await eventually(lambda: relay.progress.active)
        await write(database, Outbox(), uuid4())
        await eventually(lambda: relay.progress.sent == 1)
    assert not relay.progress.active


async def test_a_row_that_names_a_partition_goes_there(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    outbox = Outbox()
    async with database.write("heartbeat") as tx:
        for partition in range(6):
            beat = CitizenHeartbeat(
                id=uuid4(), subject=UUID(int=0), version=tx.version_after(None), time=tx.now
            )
            await outbox.add_rows(tx, [outbox.row(beat, partition)])
    async with running(Relay(database, kafka_settings, SOURCE, outbox)):
        await eventually(lambda: empty(database))
    found = await records(kafka_settings, "cv-registry.citizen-changed")
    assert sorted(record.partition for record in found) == list(range(6))


async def test_a_backlog_is_told_with_its_age(database: Database, kafka_settings: KafkaSettings) -> None:
    outbox = Outbox()
    relay = Relay(database, kafka_settings, SOURCE, outbox)
    assert (await relay.backlog()).oldest == timedelta(0)
    async with database.write("k") as tx:
        old = datetime.now(UTC) - timedelta(minutes=5)
        await outbox.add(tx, CVChanged(id=uuid4(), subject=uuid4(), version=1, time=old, change="created"))
    backlog = await relay.backlog()
    assert (backlog.rows, backlog.refused) == (1, 0)
    assert timedelta(minutes=5) <= backlog.oldest < timedelta(minutes=6)
    await database.execute("update outbox set time = now() + interval '1 minute'")
    assert (await relay.backlog()).oldest == timedelta(0), "the clock of a writer may be ahead"


async def test_a_broker_that_is_down_delays_records_and_loses_none(
    own_kafka: Kafka, database: Database
) -> None:
    settings = KafkaSettings(bootstrap_servers=own_kafka.bootstrap_servers, topic_prefix="down.")
    await ensure_topics(settings, TOPICS)
    outbox = Outbox()
    relay = Relay(database, settings, SOURCE, outbox)
    subjects = [uuid4() for _ in range(5)]
    async with running(relay):
        written = [await write(database, outbox, subject) for subject in subjects]
        await eventually(lambda: empty(database))
        own_kafka.kill()
        written += [await write(database, outbox, subject) for _ in range(10) for subject in subjects]
        assert (await relay.backlog()).rows == 50
        own_kafka.start()
        await eventually(lambda: empty(database), LONG)
    found = events_of(await records(settings))
    assert {event.id for event in found} == {event.id for event in written}
    assert all(versions == sorted(versions) for versions in first_deliveries(found).values())


async def test_a_database_that_restarts_delays_records_and_loses_none(
    own_postgres: Postgres, kafka_settings: KafkaSettings
) -> None:
    await migrate(own_postgres.dsn)
    database = await Database.connect(PostgresSettings(dsn=own_postgres.dsn), "test")
    await database.execute("create table things (id uuid primary key, version bigint not null)")
    outbox = Outbox()
    relay = Relay(database, kafka_settings, SOURCE, outbox)
    subject = uuid4()
    async with running(relay):
        written = [await write(database, outbox, subject)]
        await eventually(lambda: relay.progress.sent == 1)
        own_postgres.restart()
        written.append(await eventually(lambda: write(database, outbox, subject)))
        await eventually(lambda: empty(database), LONG)
    await database.close()
    found = first_deliveries(events_of(await records(kafka_settings)))
    assert found[subject] == [event.version for event in written]
