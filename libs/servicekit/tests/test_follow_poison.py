"""Every way in which a record can be bad, over TCP against a real broker, with good records around it."""

from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from cv_contracts import envelope
from cv_contracts.topics import MAX_RECORD_BYTES
from servicekit import kafka as clients
from servicekit.data.postgres import Database
from servicekit.follow.follower import Follower, group_of
from servicekit.follow.testing import CITIZENS, Copies, EventLog, OwnedStates, changed, following, make_live
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

SUSPECT = UUID("0f3b7a51-5a3c-4f5f-9d0c-3a52d80f4a11")


@pytest_asyncio.fixture
async def database(database: Database) -> Database:
    await make_live(database)
    return database


def headers_of_a_good_record(**replaced: bytes | None) -> list[tuple[str, bytes | None]]:
    given: dict[str, bytes | None] = dict(envelope.headers(changed(SUSPECT, 5), "cv-registry"))
    given |= {name.replace("content_type", "content-type"): value for name, value in replaced.items()}
    return list(given.items())


VALUE = envelope.data_json(changed(SUSPECT, 5))
TYPE = "dk.cvhub.cv-registry.citizen-changed"

TRAPS: dict[str, tuple[bytes | None, list[tuple[str, bytes | None]], str]] = {
    "null header": (VALUE, headers_of_a_good_record(ce_id=None), "null-header"),
    "header that is not UTF-8": (VALUE, headers_of_a_good_record(ce_type=b"\xff\xfe"), "bad-utf8"),
    "no headers": (VALUE, [], "missing-attribute"),
    "truncated JSON": (VALUE[:-3], headers_of_a_good_record(), "bad-json"),
    "tombstone": (None, headers_of_a_good_record(), "tombstone"),
    "tombstone without headers": (None, [], "tombstone"),
    "empty value": (b"", headers_of_a_good_record(), "bad-json"),
    "value that is no object": (b"[]", headers_of_a_good_record(), "bad-data"),
    "value that is not UTF-8": (b"\xff\x00", headers_of_a_good_record(), "bad-json"),
    "unknown type": (VALUE, headers_of_a_good_record(ce_type=b"dk.cvhub.weather.rained.v1"), "unknown-type"),
    "unknown major version": (
        VALUE,
        headers_of_a_good_record(ce_type=f"{TYPE}.v2".encode()),
        "unknown-version",
    ),
    "field of a wrong kind": (b'{"version":"x"}', headers_of_a_good_record(), "bad-data"),
    "as long as the broker takes": (
        b'{"version":5,"change":"changed","x":"' + b"x" * (MAX_RECORD_BYTES - 2_000) + b"",
        headers_of_a_good_record(),
        "bad-json",
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
async def test_a_bad_record_in_a_batch_of_ten_becomes_a_row_and_the_nine_are_applied(
    trap: str, database: Database, kafka_settings: KafkaSettings
) -> None:
    value, headers, reason = TRAPS[trap]
    owner, copies = OwnedStates(), await Copies(database).create()
    people = [uuid4() for _ in range(9)]
    events = [owner.put(person, 10 + n) for n, person in enumerate(people)]
    owner.put(SUSPECT, 5)
    follower = Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])
    async with EventLog(kafka_settings) as log:
        for event in events[:4]:
            await log.send(event, partition=0)
        await log.raw(str(SUSPECT).encode(), value, headers, partition=0)
        for event in events[4:]:
            await log.send(event, partition=0)
        async with following(follower):
            await eventually(lambda: _has(copies, {p: 10 + n for n, p in enumerate(people)}))
            rows = await database.fetch("select * from unreadable_records")
            assert [(r["reason"], r["partition"], r["offset"], r["value"]) for r in rows] == [
                (reason, 0, 4, value)
            ]
            await eventually(lambda: _committed(kafka_settings, 0, 10))
            await eventually(lambda: _has(copies, {SUSPECT: 5}))
            await eventually(lambda: _nothing_pending(database))
    assert await copies.doubled() == 0


async def test_an_unreadable_record_makes_its_key_pending_until_the_owner_was_asked(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    owner, copies = OwnedStates(), await Copies(database).create()
    owner.trouble = ConnectionRefusedError()
    follower = Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])
    async with EventLog(kafka_settings) as log, following(follower):
        await log.raw(str(SUSPECT).encode(), None, [], partition=3)
        row = await eventually(lambda: _pending(database))
        assert (row["subject"], row["version"], row["partition"]) == (SUSPECT, 0, 3)
        await eventually(lambda: _committed(kafka_settings, 3, 1))
        assert SUSPECT not in await copies.versions()

        owner.put(SUSPECT, 77)
        owner.trouble = None
        await eventually(lambda: _has(copies, {SUSPECT: 77}))
        await eventually(lambda: _nothing_pending(database))


class NotUtf8(str):
    """A header name that is sent as bytes no text has."""

    __slots__ = ()

    def encode(self, *_args: str) -> bytes:
        return b"\xff\xfe\xc3("


async def test_a_header_whose_name_is_not_utf_8_neither_stops_the_partition_nor_costs_the_record(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    owner, copies = OwnedStates(), await Copies(database).create()
    people = [uuid4() for _ in range(5)]
    events = [owner.put(person, 10 + n) for n, person in enumerate(people)]
    producer = clients.producer(kafka_settings, "follow-tests", enable_idempotence=False)
    batch = producer.create_batch()
    batch._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, -1, 100_000)
    for n, event in enumerate(events[:4]):
        odd = [(NotUtf8("odd"), b"x")] if n in (1, 2) else []
        headers = [*envelope.headers(event, "cv-registry"), *odd] if n != 2 else odd
        batch.append(
            key=envelope.key(event), value=envelope.data_json(event), timestamp=None, headers=headers
        )
    await producer.start()
    async with EventLog(kafka_settings) as log:
        await (await producer.send_batch(batch, kafka_settings.topic_prefix + CITIZENS.name, partition=0))
        await producer.stop()
        await log.send(events[4], partition=0)
        async with following(Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])):
            await eventually(lambda: _has(copies, {p: 10 + n for n, p in enumerate(people)}))
            await eventually(lambda: _committed(kafka_settings, 0, 5))
    rows = await database.fetch("select * from unreadable_records")
    assert [(row["reason"], row["offset"]) for row in rows] == [("missing-attribute", 2)]
    assert rb"\\xff\\xfe" in rows[0]["headers"]


async def test_a_record_read_again_is_one_unreadable_row(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    owner, copies = OwnedStates(), await Copies(database).create()
    async with EventLog(kafka_settings) as log:
        await log.raw(b"nobody", b"{", [], partition=1)
        async with following(Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])):
            await eventually(lambda: _committed(kafka_settings, 1, 1))
        await database.execute("update follow_positions set next_offset = 0")
        async with following(Follower(database, kafka_settings, "cv-status", [copies.projection(owner)])):
            await eventually(lambda: _position(database, 1, 1))
    assert await database.fetchval("select count(*) from unreadable_records") == 1
    assert await database.fetchval("select count(*) from pending_subjects") == 0


async def _has(copies: Copies, expected: dict[UUID, int]) -> None:
    versions = await copies.versions()
    assert {s: versions.get(s) for s in expected} == expected


async def _nothing_pending(database: Database) -> None:
    assert await database.fetchval("select count(*) from pending_subjects") == 0


async def _pending(database: Database) -> dict[str, object]:
    rows = await database.fetch("select * from pending_subjects where reason = 'owner-unreachable'")
    assert len(rows) == 1
    return dict(rows[0])


async def _position(database: Database, partition: int, offset: int) -> None:
    query = "select next_offset from follow_positions where partition = $1"
    assert await database.fetchval(query, partition) == offset


async def _committed(kafka: KafkaSettings, partition: int, offset: int) -> None:
    consumer = clients.consumer(kafka, group_id=group_of("cv-status", "copies"))
    await consumer.start()
    try:
        topic_partition = TopicPartition(kafka.topic_prefix + CITIZENS.name, partition)
        assert await consumer.committed(topic_partition) == offset
    finally:
        await consumer.stop()
