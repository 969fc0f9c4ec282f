"""P9: the registry's durable write path in process against a bare update and an outbox row, both by 16 writers.

Ours reads and validates a ReplaceCV body, decides access, locks the key, gives a version, keeps the revision and writes
the event. The peer updates one row of the same size and inserts an outbox row, in one transaction and nothing more.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
from pydantic import SecretStr

from bench.measured import Row, Servers
from cv_citizens.danish_time import utc_now
from cv_citizens.testing import a_caller
from cv_registry.calls import WriteCall
from cv_registry.parts import assemble
from cv_registry.replacing import METHOD
from cv_registry.settings import Settings
from cv_registry.testing import NO_KAFKA, a_citizen, a_cv
from servicekit.data.postgres import migrate
from servicekit.memory import collect_seldom
from servicekit.settings import IdentitySettings, PostgresSettings
from servicekit.web.identity import generate_key

WRITERS = 16
CITIZENS = 1_600
SECONDS, ROUNDS = 4.0, 4
Write = Callable[[int], Awaitable[None]]

_BARE = """
CREATE TABLE bare (id int PRIMARY KEY, version bigint NOT NULL, body bytea NOT NULL) WITH (fillfactor = 80);
CREATE TABLE bare_outbox (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL, payload bytea NOT NULL)
"""


async def run(servers: Servers) -> list[Row]:
    dsn = await servers.database()
    await migrate(dsn, "cv_registry.migrations")
    body = json.dumps(a_full_cv()).encode()
    key_file = servers.folder / "cv-registry.pem"
    key_file.write_bytes(generate_key()[0])
    async with _ours(dsn, key_file, body) as our_write, _peer(dsn, body) as peer_write:
        ours, peer = [], []
        for number in range(ROUNDS):
            servers.say(f"P9 round {number + 1} of {ROUNDS}")
            peer.append(await _rate(peer_write))
            ours.append(await _rate(our_write))
    return [Row.against(f"P9 durable write path, {WRITERS} writers, writes/s", ours, peer, at_least=0.6)]


def a_full_cv() -> dict[str, Any]:
    """Make a CV of some 3 KB, as the other benchmarks use."""
    cv = a_cv()
    parts = cv["CV"]
    job = {
        **parts["PreviousJobExperienceCollection"][0],
        "SummaryText": "Ansvar for opgaver og kolleger. " * 7,
    }
    parts["PreviousJobExperienceCollection"] = [job] * 5
    parts["EducationCollection"] *= 3
    parts["QualificationCollection"] *= 8
    cv["JobTargetCollection"] *= 3
    return cv


async def _rate(write: Write) -> float:
    """Let all writers write for so long; give the writes per second. No two of them write the same citizen."""
    begun = time.perf_counter()
    done = count()

    async def writer(number: int) -> None:
        citizen = number
        while time.perf_counter() - begun < SECONDS:
            await write(citizen)
            next(done)
            citizen = (citizen + WRITERS) % CITIZENS

    await asyncio.gather(*(writer(number) for number in range(WRITERS)))
    return next(done) / (time.perf_counter() - begun)


@asynccontextmanager
async def _ours(dsn: str, key_file: Path, body: bytes) -> AsyncIterator[Write]:
    settings = Settings(
        postgres=PostgresSettings(dsn=dsn, pool_min=WRITERS, pool_max=WRITERS),
        kafka=NO_KAFKA,
        identity=IdentitySettings(key_file=key_file, trusted_file=Path(os.devnull)),
        request_secret=SecretStr("a secret for benchmarks"),
    )
    async with assemble(settings, utc_now) as parts:
        citizens = [a_citizen() for _ in range(CITIZENS)]
        await parts.intake.take_all(citizens)
        calls = [WriteCall(METHOD, a_caller(), citizen["personNumber"], None) for citizen in citizens]

        async def write(citizen: int) -> None:
            await parts.replacing.replace(calls[citizen], body, None)

        for citizen in range(CITIZENS):
            await write(citizen)
        # As the service does once it has started.
        collect_seldom()
        yield write


@asynccontextmanager
async def _peer(dsn: str, body: bytes) -> AsyncIterator[Write]:
    async with asyncpg.create_pool(dsn, min_size=WRITERS, max_size=WRITERS) as pool:
        await pool.execute(_BARE)
        await pool.executemany(
            "INSERT INTO bare VALUES ($1, 0, $2)", [(number, body) for number in range(CITIZENS)]
        )

        async def write(citizen: int) -> None:
            async with pool.acquire() as conn, conn.transaction():
                await conn.execute(
                    "UPDATE bare SET version = version + 1, body = $2 WHERE id = $1", citizen, body
                )
                await conn.execute(
                    "INSERT INTO bare_outbox (key, payload) VALUES ($1, $2)", str(citizen), b'{"version": 1}'
                )

        yield write
