"""P3: the relay drains a full outbox, against the raw aiokafka producer with the same records, in turns.

Ours reads the rows, sends them with acks from all, and deletes what is acknowledged; the peer has its records ready in
memory and only sends them. Both are idempotent, to the same topic, with the keys in the same order.
"""

import asyncio
import secrets
import time
from datetime import UTC, datetime
from uuid import uuid4

from bench.measured import Row, Servers
from cv_contracts.envelope import data_json, headers
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.topics import topic_of
from servicekit import kafka
from servicekit.data.postgres import Database, migrate
from servicekit.kafka_admin import ensure_topics
from servicekit.publish.outbox import Outbox
from servicekit.publish.relay import Relay
from servicekit.settings import KafkaSettings, PostgresSettings

SOURCE = "cv-registry"
TOPIC = topic_of(CVChanged)
CHUNK = 5_000
ROWS, ROUNDS = 40_000, 3


async def run(servers: Servers) -> list[Row]:
    settings = KafkaSettings(
        bootstrap_servers=servers.kafka.bootstrap_servers, topic_prefix=f"bench{secrets.token_hex(4)}."
    )
    await ensure_topics(settings, [TOPIC])
    dsn = await servers.database()
    await migrate(dsn)
    database = await Database.connect(PostgresSettings(dsn=dsn), "bench")
    ours, peer = [], []
    try:
        for number in range(ROUNDS):
            servers.say(f"P3 round {number + 1} of {ROUNDS}")
            # New subjects each time: neither side profits from keys whose partition is already known.
            events = _events(ROWS)
            peer.append(ROWS / await _raw(settings, events))
            kafka.partition_of.cache_clear()
            ours.append(ROWS / await _relayed(database, settings, events))
    finally:
        await database.close()
    return [Row.against(f"P3 relay drains {ROWS:,} outbox rows, records/s", ours, peer, at_least=0.5)]


def _events(rows: int) -> list[CVChanged]:
    subjects = [uuid4() for _ in range(rows // 2)]
    now = datetime.now(UTC)
    return [
        CVChanged(id=uuid4(), subject=subjects[n % len(subjects)], version=n, time=now, change="replaced")
        for n in range(rows)
    ]


async def _raw(settings: KafkaSettings, events: list[CVChanged]) -> float:
    records = [(data_json(event), str(event.subject).encode(), headers(event, SOURCE)) for event in events]
    producer = kafka.producer(settings, "bench", max_batch_size=16_384, linger_ms=2)
    await producer.start()
    topic = settings.topic_prefix + TOPIC.name
    begun = time.perf_counter()
    sent = [await producer.send(topic, value, key, headers=attributes) for value, key, attributes in records]
    await asyncio.gather(*sent)
    took = time.perf_counter() - begun
    await producer.stop()
    return took


async def _relayed(database: Database, settings: KafkaSettings, events: list[CVChanged]) -> float:
    outbox = Outbox()
    for at in range(0, len(events), CHUNK):
        async with database.write("bench") as tx:
            await outbox.add(tx, *events[at : at + CHUNK])
    relay = Relay(database, settings, SOURCE, outbox)
    begun = time.perf_counter()
    task = asyncio.create_task(relay.run())
    while (await relay.backlog()).rows and not task.done():  # noqa: ASYNC110 - asked of the database
        await asyncio.sleep(0.02)
    took = time.perf_counter() - begun
    relay.stop()
    await task
    return took
