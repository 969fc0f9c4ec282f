"""P2: from the commit of a write to its being applied at a follower; and how many records per second a follower takes.

The times are PostgreSQL's own: of the registry's commit of a citizen, and of cv-status' commit of its replica, in real
processes over a real Kafka. Nothing polls for them while it is measured.
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx

from bench.measured import Row, Servers
from bench.system import System
from cv_contracts.envelope import data_json, headers, key
from cv_contracts.events.cv_registry import CitizenChanged
from cv_contracts.topics import topic_of
from servicekit import kafka
from servicekit.data.postgres import Database, migrate
from servicekit.follow.follower import Follower
from servicekit.follow.projection import Applicable, Connection, Projection
from servicekit.follow.states import Known, SubjectState
from servicekit.kafka_admin import ensure_topics
from servicekit.settings import KafkaSettings, PostgresSettings

CITIZENS = 20_000
RATE, AT_ONCE, SECONDS = 500, 10, 10
RECORDS, ROUNDS = 30_000, 3
TOPIC = topic_of(CitizenChanged)

_WRITTEN = "SELECT person_id, version, pg_xact_commit_timestamp(xmin) FROM citizens WHERE changed_at >= $1"
# Of the generation that was live at first, where it is still there; of the next one, once that has taken its place.
_APPLIED = """
SELECT person_id, version, pg_xact_commit_timestamp(xmin) FROM citizens WHERE generation >= $1 ORDER BY generation DESC
"""
_LIVE = "SELECT generation FROM projection_generations WHERE projection = 'citizens' AND status = 'live'"
_REBUILD = """
INSERT INTO projection_generations (projection, generation, status)
SELECT 'citizens', max(generation) + 1, 'building' FROM projection_generations WHERE projection = 'citizens'
"""


async def run(servers: Servers) -> list[Row]:
    await _timed_commits(servers)
    async with System.prepared(servers, "p2") as system:
        people = await system.fill(CITIZENS)
        await system.start_owners()
        await system.delivered()
        await system.until("cv-status", f"SELECT count(*) >= {CITIZENS} FROM citizens")
        await _write(system, people[: RATE * 2])
        rows = await _latency(system, people[: RATE * SECONDS], "")
        rows += await _latency(system, people[RATE * SECONDS : 2 * RATE * SECONDS], ", while it is rebuilt")
        servers.note(f"P2 memory: {system.memory()}")
    return [*rows, await _throughput(servers)]


async def _timed_commits(servers: Servers) -> None:
    connection = await asyncpg.connect(servers.postgres.dsn)
    await connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    await connection.close()
    await asyncio.to_thread(servers.postgres.restart)


async def _latency(system: System, people: Sequence[dict[str, Any]], when: str) -> list[Row]:
    """Change each of these citizens once, at 500 a second; give the times from commit to commit."""
    system.servers.say(f"P2 {RATE} writes/s{when}")
    status = await asyncpg.connect(system.dsn["cv-status"])
    registry = await asyncpg.connect(system.dsn["cv-registry"])
    generation = await status.fetchval(_LIVE)
    if when:
        await status.execute(_REBUILD)
    begun = datetime.now(UTC)
    wrote = await _write(system, people)
    await system.delivered()
    await asyncio.sleep(1)
    written = {row[0]: (row[1], row[2]) for row in await registry.fetch(_WRITTEN, begun)}
    applied = {row[0]: (row[1], row[2]) for row in await status.fetch(_APPLIED, generation)}
    if when:
        swapped = await _swapped(system, status)
        system.servers.note(f"P2 the rebuild took {(swapped - begun).total_seconds():.1f} s")
    await status.close()
    await registry.close()
    took = [
        applied[person][1] - at
        for person, (version, at) in written.items()
        if person in applied and applied[person][0] == version
    ]
    if len(took) < 0.95 * len(people) and not when:
        raise RuntimeError(f"only {len(took)} of {len(people)} writes were applied")
    ms = sorted(one / timedelta(milliseconds=1) for one in took)
    percentiles = quantiles(ms, n=100)
    name = f"P2 commit to applied at {wrote:.0f} writes/s{when}"
    return [
        Row.alone(f"{name}, p50 ms", percentiles[49], ("<=", 10)),
        Row.alone(f"{name}, p99 ms", percentiles[98], ("<=", 50)),
    ]


async def _swapped(system: System, status: "asyncpg.Connection[asyncpg.Record]") -> datetime:
    await system.until(
        "cv-status", "SELECT NOT EXISTS (SELECT FROM projection_generations WHERE status = 'building')"
    )
    at: datetime = await status.fetchval(
        "SELECT max(swapped_at) FROM projection_generations WHERE projection = 'citizens'"
    )
    return at


async def _write(system: System, people: Sequence[dict[str, Any]]) -> float:
    """Deliver changed citizens to the intake, evenly; give the writes per second that it came to."""
    signer = system.signer("citizen-intake")
    begun = time.perf_counter()
    async with httpx.AsyncClient(base_url=system.url("cv-registry"), timeout=30, trust_env=False) as client:

        async def deliver(number: int, some: Sequence[dict[str, Any]]) -> None:
            await asyncio.sleep(max(0.0, begun + number * AT_ONCE / RATE - time.perf_counter()))
            changed = [_moved(line["citizen"]) for line in some]
            answer = await client.post(
                "/internal/citizens",
                json={"citizens": changed},
                headers={"authorization": f"Bearer {signer.token('cv-registry')}"},
            )
            assert {one["outcome"] for one in answer.json()["results"]} == {"applied"}

        parts = [people[at : at + AT_ONCE] for at in range(0, len(people), AT_ONCE)]
        await asyncio.gather(*(deliver(number, some) for number, some in enumerate(parts)))
    return len(people) / (time.perf_counter() - begun)


def _moved(citizen: dict[str, Any]) -> dict[str, Any]:
    """Give the citizen one source version later, in another street."""
    address = {**citizen["address"], "addressLine": f"Prøvevej {secrets.randbelow(10**9)}"}
    return {**citizen, "sourceVersion": time.time_ns() // 1000, "address": address}


async def _throughput(servers: Servers) -> Row:
    """Let our follower and a bare consumer take the same records; the owner's answers and the table cost nothing here."""
    settings = KafkaSettings(
        bootstrap_servers=servers.kafka.bootstrap_servers, topic_prefix=f"follow{secrets.token_hex(4)}."
    )
    await ensure_topics(settings, [TOPIC])
    await _produce(settings)
    ours, peer = [], []
    for number in range(ROUNDS):
        servers.say(f"P2 records, round {number + 1} of {ROUNDS}")
        peer.append(RECORDS / await _bare(settings, number))
        ours.append(RECORDS / await _followed(servers, settings))
    return Row.against("P2 follower against getmany and commit, records/s", ours, peer)


async def _produce(settings: KafkaSettings) -> None:
    producer = kafka.producer(settings, "bench", max_batch_size=262_144, linger_ms=5)
    await producer.start()
    now = datetime.now(UTC)
    sent = []
    for number in range(RECORDS):
        event = CitizenChanged(id=uuid4(), subject=uuid4(), version=number + 1, time=now, change="changed")
        topic = settings.topic_prefix + TOPIC.name
        sent.append(
            await producer.send(topic, data_json(event), key(event), headers=headers(event, "cv-registry"))
        )
    await asyncio.gather(*sent)
    await producer.stop()


async def _bare(settings: KafkaSettings, number: int) -> float:
    consumer = kafka.consumer(settings, TOPIC.name, group_id=f"bare-{number}")
    await consumer.start()
    taken, begun = 0, time.perf_counter()
    while taken < RECORDS:
        batches = await consumer.getmany(timeout_ms=250, max_records=500)
        taken += sum(map(len, batches.values()))
        await consumer.commit()
    took = time.perf_counter() - begun
    await consumer.stop()
    return took


async def _followed(servers: Servers, settings: KafkaSettings) -> float:
    dsn = await servers.database()
    await migrate(dsn)
    database = await Database.connect(PostgresSettings(dsn=dsn), "bench")
    done = asyncio.Event()
    applied = 0

    async def fetch(subjects: Sequence[UUID]) -> Sequence[SubjectState]:
        return [Known(subject, RECORDS, {}) for subject in subjects]

    async def apply(_conn: Connection, _generation: int, states: Sequence[Applicable]) -> None:
        nonlocal applied
        applied += len(states)
        if applied == RECORDS:
            done.set()

    await database.execute(
        "insert into projection_generations (projection, generation, status) values ('bench', 1, 'live')"
    )
    projection = Projection(name="bench", topic=TOPIC, fetch=fetch, apply=apply)
    follower = Follower(database, settings, f"bench-{secrets.token_hex(4)}", [projection])
    begun = time.perf_counter()
    running = asyncio.create_task(follower.run())
    await done.wait()
    took = time.perf_counter() - begun
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await database.close()
    return took
