import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.producer.message_accumulator import BatchBuilder
from structlog.testing import capture_logs

from cv_contracts.events.cv_registry import CVChanged
from servicekit import kafka
from servicekit.data.postgres import Database
from servicekit.publish import relay as relay_module
from servicekit.publish import sending
from servicekit.publish.outbox import Outbox, OutboxRow
from servicekit.publish.refused import discard, refused, retry
from servicekit.publish.relay import Relay
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

SOURCE = "cv-registry"
TOPIC = "cv-registry.cv-changed"
SMALL, LARGE = b"{}", b"x" * 5_000
versions = count(1)


@asynccontextmanager
async def relaying(database: Database, settings: KafkaSettings) -> AsyncIterator[Relay]:
    relay = Relay(database, settings, SOURCE, Outbox())
    task = asyncio.create_task(relay.run())
    yield relay
    relay.stop()
    await asyncio.wait_for(task, 60)


def row(subject: UUID, payload: bytes = SMALL, topic: str = TOPIC, partition: int | None = None) -> OutboxRow:
    return OutboxRow(
        uuid4(),
        topic,
        str(subject),
        CVChanged.TYPE,
        payload,
        next(versions),
        datetime.now(UTC),
        None,
        partition,
    )


async def add(database: Database, *rows: OutboxRow) -> None:
    async with database.write("k") as tx:
        await Outbox().add_rows(tx, rows)


async def limit_records(settings: KafkaSettings, size: int) -> None:
    await configure(settings, {"max.message.bytes": str(size)})


async def configure(settings: KafkaSettings, configs: Mapping[str, str]) -> None:
    """Give the topic these settings, and the broker's own ones for the rest."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        topic = ConfigResource(ConfigResourceType.TOPIC, settings.topic_prefix + TOPIC, configs=dict(configs))
        await admin.alter_configs([topic])
        asked = ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=dict.fromkeys(configs))

        async def in_force() -> None:
            (answer,) = await admin.describe_configs([asked])
            assert {entry[0]: entry[1] for entry in answer.resources[0][4]} == configs

        await eventually(in_force)
    finally:
        await admin.close()


async def records(settings: KafkaSettings, topic: str = TOPIC) -> list[ConsumerRecord[bytes, bytes]]:
    """Give what the topic holds, partition by partition."""
    consumer = kafka.consumer(settings, group_id=None)
    await consumer.start()
    try:
        partitions = [TopicPartition(settings.topic_prefix + topic, n) for n in range(6)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found = []
        for partition in partitions:
            consumer.seek(partition, 0)
        while any([await consumer.position(p) < ends[p] for p in partitions]):
            for chunk in (await consumer.getmany(timeout_ms=200)).values():
                found += chunk
    finally:
        await consumer.stop()
    return found


async def delivered(settings: KafkaSettings, topic: str = TOPIC) -> list[UUID]:
    """Give the ids of the events, partition by partition."""
    found = await records(settings, topic)
    return [UUID(dict(record.headers)["ce_id"].decode()) for record in found]


def set_clock(monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    """Let the host's clock, by which the producer dates records, be wrong."""
    append = BatchBuilder.append

    def dated(batch: BatchBuilder, *, timestamp: int | None, **record: Any) -> Any:
        wrong = round((time.time() + ahead.total_seconds()) * 1000)
        return append(batch, timestamp=wrong if timestamp is None else timestamp, **record)

    monkeypatch.setattr(BatchBuilder, "append", dated)


async def waiting(database: Database, rows: int) -> None:
    assert await database.fetchval("select count(*) from outbox") == rows


def one_partition(number: int) -> list[UUID]:
    """Give subjects whose records all go to one partition, and so into one batch."""
    subjects = (uuid4() for _ in range(1_000))
    return [s for s in subjects if kafka.partition_of(str(s).encode(), 6) == 0][:number]


async def test_a_record_that_the_broker_refuses_goes_aside_and_holds_back_only_its_key(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    await limit_records(kafka_settings, 2_000)
    bad, *others = one_partition(4)
    before, refused_row, after = row(bad), row(bad, LARGE), row(bad)
    good = [row(subject) for _ in range(3) for subject in others]
    await add(database, *good[:3], before, refused_row, *good[3:], after)
    async with relaying(database, kafka_settings) as relay:
        await eventually(lambda: waiting(database, 1))
        later = row(others[0])
        await add(database, later, row(bad))
        await eventually(lambda: waiting(database, 2))
        backlog = await relay.backlog()
    assert (backlog.rows, backlog.refused, relay.progress.refused) == (2, 1, 1)
    (record,) = await refused(database)
    assert (record.event_id, record.topic, record.size) == (refused_row.id, TOPIC, len(LARGE))
    assert record.reason == "MessageSizeTooLargeError"
    assert record.held_back == 2
    found = await delivered(kafka_settings)
    assert sorted(found) == sorted([row.id for row in [*good, before, later]])
    order = [found.index(row.id) for row in good[::3]]
    assert order == sorted(order)


async def test_rows_that_do_not_fit_into_one_batch_are_all_sent_in_order(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    """A small one after one that did not fit must not take its place."""
    subject = uuid4()
    rows = [row(subject, size * b"x") for size in [300_000, 300_000, 300_000, 300_000, 10] * 3]
    await add(database, *rows)
    async with relaying(database, kafka_settings) as relay:
        await eventually(lambda: waiting(database, 0))
    assert await delivered(kafka_settings) == [row.id for row in rows]
    assert relay.progress.sent == len(rows)


async def test_after_a_refusal_the_next_record_of_its_partition_is_sent_without_trouble(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    await limit_records(kafka_settings, 2_000)
    bad, other = one_partition(2)
    with capture_logs() as logs:
        async with relaying(database, kafka_settings) as relay:
            first, last = row(other), row(other)
            await add(database, first)
            await eventually(lambda: waiting(database, 0))
            large = row(bad, LARGE)
            await add(database, large)
            await eventually(lambda: relay.progress.refused == 1)
            await add(database, last)
            await eventually(lambda: waiting(database, 0))
    [said] = logs
    assert (said["event"], said["reason"]) == ("outbox_record_refused", "MessageSizeTooLargeError")
    assert (said["event_id"], said["topic"]) == (str(large.id), TOPIC)
    assert await delivered(kafka_settings) == [first.id, last.id]


async def test_a_retry_sends_the_record_before_the_later_ones_of_its_key(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    await limit_records(kafka_settings, 2_000)
    subject = uuid4()
    rows = [row(subject), row(subject, LARGE), row(subject), row(subject)]
    await add(database, *rows)
    async with relaying(database, kafka_settings):
        await eventually(lambda: waiting(database, 2))
        await limit_records(kafka_settings, 1_000_000)
        (record,) = await refused(database)
        assert await retry(database, record.seq, reason="the limit was raised", by="operator")
        await eventually(lambda: waiting(database, 0))
    assert await delivered(kafka_settings) == [row.id for row in rows]
    decision = await database.fetchrow("select * from outbox_decisions")
    assert decision is not None
    assert (decision["decision"], decision["event_id"]) == ("retry", rows[1].id)
    assert (decision["reason"], decision["decided_by"]) == ("the limit was raised", "operator")


async def test_a_discarded_record_lets_the_later_ones_of_its_key_go_on(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    subject = uuid4()
    rows = [row(subject, b"x" * 1_000_001), row(subject)]
    await add(database, *rows)
    async with relaying(database, kafka_settings):
        await eventually(lambda: waiting(database, 1))
        (record,) = await refused(database)
        assert record.reason == "too-large"
        assert await discard(database, record.seq, reason="was a mistake", by="operator")
        assert not await discard(database, record.seq, reason="was a mistake", by="operator")
        await eventually(lambda: waiting(database, 0))
    assert await delivered(kafka_settings) == [rows[1].id]


async def test_what_the_broker_refuses_for_its_date_waits_and_is_sent_in_order_once_the_clock_is_right(
    database: Database, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_the_sender = {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": "1000"}
    await configure(kafka_settings, by_the_sender)
    subject, other = one_partition(2)
    rows = [row(subject), row(other), row(subject)]
    await add(database, *rows)
    async with relaying(database, kafka_settings) as relay:
        with monkeypatch.context() as wrong:
            set_clock(wrong, timedelta(hours=1))
            await eventually(lambda: relay.progress.trouble == "InvalidTimestampError")
            assert await refused(database) == []
            await waiting(database, 3)
        await eventually(lambda: waiting(database, 0))
    assert await delivered(kafka_settings) == [row.id for row in rows]


@pytest.mark.parametrize("wrong", [timedelta(hours=2), timedelta(days=-40)])
async def test_records_are_dated_by_the_broker_whatever_the_senders_clock_says(
    database: Database, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch, wrong: timedelta
) -> None:
    set_clock(monkeypatch, wrong)
    await add(database, row(uuid4()))
    async with relaying(database, kafka_settings):
        await eventually(lambda: waiting(database, 0))
    (record,) = await records(kafka_settings)
    assert abs(time.time() - record.timestamp / 1000) < 60


async def test_a_decision_needs_a_reason_and_a_name(database: Database) -> None:
    with pytest.raises(ValueError, match="reason"):
        await discard(database, 1, reason=" ", by="operator")
    with pytest.raises(ValueError, match="name"):
        await retry(database, 1, reason="why", by="")


async def test_an_impossible_topic_and_a_partition_that_is_not_there_are_refused(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    good = row(uuid4())
    nowhere = [row(uuid4(), partition=partition) for partition in (-1, 6)]
    await add(database, row(uuid4(), topic="no topic"), *nowhere, good)
    async with relaying(database, kafka_settings):
        await eventually(lambda: waiting(database, 0))
    reasons = [record.reason for record in await refused(database)]
    assert reasons == ["invalid-topic", "no-such-partition", "no-such-partition"]
    assert await delivered(kafka_settings) == [good.id]


async def test_a_topic_that_is_missing_waits_alone_and_is_sent_once_it_is_there(
    database: Database, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TOPIC_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(sending, "TOPIC_PATIENCE_SECONDS", 0.3)
    early, good = [row(uuid4(), topic="not-yet") for _ in range(600)], row(uuid4())
    await add(database, *early, good)
    async with relaying(database, kafka_settings):
        await eventually(lambda: waiting(database, 600))
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_settings.bootstrap_servers)
        await admin.start()
        await admin.create_topics([NewTopic(kafka_settings.topic_prefix + "not-yet", 6, 1)])
        await eventually(lambda: waiting(database, 0))
        found = await delivered(kafka_settings, "not-yet")
        await admin.delete_topics([kafka_settings.topic_prefix + "not-yet"])
        await admin.close()
    assert sorted(found) == sorted(row.id for row in early)
    assert await delivered(kafka_settings) == [good.id]


async def test_the_list_begins_with_the_oldest_and_tells_how_many_later_ones_of_the_same_key_wait(
    database: Database,
) -> None:
    subject, other = uuid4(), uuid4()
    rows = [
        row(subject),
        row(subject),
        row(subject),
        row(subject, partition=1),
        row(subject, topic="another"),
        row(other, partition=1),
        row(subject),
    ]
    await add(database, *rows)
    for one in (rows[3], rows[1]):
        seq = await database.fetchval("select seq from outbox where id = $1", one.id)
        await database.execute(relay_module._MOVE_ASIDE, seq, "too-large")
    found = await refused(database)
    assert [(one.event_id, one.held_back) for one in found] == [(rows[1].id, 2), (rows[3].id, 0)]
    assert [one.event_id for one in await refused(database, 1)] == [rows[1].id]
    assert all(datetime.now(UTC) - one.refused_at < timedelta(minutes=1) for one in found)


async def test_what_was_refused_holds_back_later_rows_of_its_topic_key_and_partition_and_no_others(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    subject, other = uuid4(), uuid4()
    bad, worse = row(subject), row(subject, partition=1)
    held_back = [row(subject), row(subject, partition=1)]
    rows = [
        row(subject),
        row(subject, partition=1),
        bad,
        worse,
        row(other),
        row(other, partition=1),
        row(subject, topic="another"),
        row(subject, partition=2),
    ]
    paused = row(other, topic="paused")
    await add(database, *rows, paused, *held_back)
    relay, sender = Relay(database, kafka_settings, SOURCE, Outbox()), sending.Sender(kafka_settings, SOURCE)
    sender._pause("paused")
    async with relay._lease() as lease:
        assert lease is not None
        for one in (bad, worse):
            seq = await database.fetchval("select seq from outbox where id = $1", one.id)
            await database.execute(relay_module._MOVE_ASIDE, seq, "too-large")
        found = await relay._exchange(lease, sender, (), ())
        assert [one["id"] for one in found] == [one.id for one in rows if one not in (bad, worse)]
        seqs = [one["seq"] for one in found]
        found = await relay._exchange(lease, sender, seqs[:2], seqs[2:4])
        assert [one["seq"] for one in found] == seqs[4:]
    left = {one["id"] for one in await database.fetch("select id from outbox")}
    assert left == {one.id for one in (*rows[4:], paused, *held_back)}


async def test_a_record_that_was_put_back_is_the_oldest_that_waits_again(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    old, new = row(uuid4())._replace(time=datetime.now(UTC) - timedelta(minutes=5)), row(uuid4())
    await add(database, old, new)
    relay = Relay(database, kafka_settings, SOURCE, Outbox())
    seq = await database.fetchval("select seq from outbox where id = $1", old.id)
    await database.execute(relay_module._MOVE_ASIDE, seq, "too-large")
    assert (await relay.backlog()).oldest < timedelta(minutes=5)
    assert await retry(database, seq, reason="the limit was raised", by="operator")
    assert (await relay.backlog()).oldest >= timedelta(minutes=5)


async def test_what_was_sent_and_refused_and_what_waits_is_told_as_metrics(
    told: Callable[[], dict[str, float]],
    database: Database,
    kafka_settings: KafkaSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_module, "MEASURE_EVERY", timedelta(milliseconds=20))
    bad, good = uuid4(), uuid4()
    long_ago = datetime.now(UTC) - timedelta(minutes=5)
    held_back = [row(bad)._replace(time=long_ago), row(bad)]
    await add(database, row(good), row(good), row(good), row(bad, b"x" * 1_000_001), *held_back)
    async with relaying(database, kafka_settings) as relay:
        watching = asyncio.create_task(relay.watch_forever())

        def all_told() -> None:
            found = told()
            assert (found["outbox.sent"], found["outbox.refused"]) == (3, 1)
            assert (found["outbox.backlog.rows"], found["outbox.refused.rows"]) == (2, 1)
            assert 300 <= found["outbox.backlog.age"] < 400

        await eventually(all_told)
        await add(database, row(good))
        await eventually(lambda: told()["outbox.sent"] == 4)
        assert told()["outbox.send.duration"] >= 2
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
