"""P14: contact data: saves and verifications per second, look-ups over a million contacts against ten thousand, rotation.

In process, as the service does them: access decided from the replica, values sealed, versions given, events and access rows
durable. Nothing is sent while it is measured: the providers are away.
"""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import orjson
from pydantic import SecretStr

from bench.measured import Row, Servers
from contact_verification.calls import Call
from contact_verification.keys import Keys, Vault
from contact_verification.looking_up import BY_MOBILE
from contact_verification.parts import Parts, assemble
from contact_verification.rotation import Progress, rotate
from contact_verification.saving import METHOD
from contact_verification.settings import CodeSettings, Settings
from contact_verification.testing import EMAIL, MOBILE
from contact_verification.verifying import VERIFY
from cv_citizens.danish_time import utc_now
from cv_citizens.testing import JOBNET, a_caller
from servicekit.data.consistency import ConsistencyToken
from servicekit.data.postgres import Database, migrate
from servicekit.follow.testing import make_live
from servicekit.memory import collect_seldom
from servicekit.settings import IdentitySettings, KafkaSettings, PostgresSettings
from servicekit.web.identity import generate_key

CALLERS = 16
FEW, MANY = 10_000, 1_000_000
CHUNK = 50_000
WRITTEN = 4_000
SECONDS = 4.0
FLAT = 0.8
OLD, NEW = "old:a data key for benchmarks", "new:another key for benchmarks"
_BEATS = """
insert into follow_positions (projection, topic, partition, next_offset, heartbeat_at)
select 'citizens', 'cv-registry.citizen-changed', p, 0, now() from generate_series(0, 5) p
on conflict (projection, topic, partition) do update set heartbeat_at = excluded.heartbeat_at
"""
"""Said every few seconds, as the registry does, so that the replica stays fresh."""


class Enough(Exception):  # noqa: N818 - ends a measurement
    """The rate is known."""


async def run(servers: Servers) -> list[Row]:
    dsn = await servers.database()
    await migrate(dsn, "contact_verification.migrations")
    key_file = servers.folder / "contact-verification.pem"
    key_file.write_bytes(generate_key()[0])
    settings = _settings(dsn, key_file)
    async with assemble(settings, utc_now) as parts:
        await make_live(parts.database, "citizens")
        beating = asyncio.create_task(_beat(parts.database))
        keys = Keys.from_settings(settings)
        servers.say("P14 filling")
        await _fill(parts.database, keys, 0, FEW)
        collect_seldom()
        saved = await _saves(parts, servers)
        verified = await _verifications(parts, keys, servers)
        servers.say("P14 look-ups over 10,000")
        few = await _rate(lambda n: _look_up(parts, n % FEW))
        for begin in range(FEW, MANY, CHUNK):
            servers.say(f"P14 filling {begin:,}")
            await _fill(parts.database, keys, begin, min(begin + CHUNK, MANY))
        await parts.database.execute("analyze periods")
        servers.say("P14 look-ups over 1,000,000")
        many = await _rate(lambda n: _look_up(parts, n * 7_919 % MANY))
        servers.say("P14 rotation")
        rotated = await _rotation(parts.database, keys)
        beating.cancel()
    flat = Row.against(f"P14 look-up by phone, {MANY:,} contacts against {FEW:,}, /s", [many], [few], FLAT)
    return [
        Row.alone(f"P14 SavePersonContactData, two types, {CALLERS} callers, /s", saved),
        Row.alone(f"P14 VerifyPersonContactData, {CALLERS} callers, /s", verified),
        flat,
        Row.alone("P14 rotate-keys, values/s", rotated),
    ]


async def _beat(database: Database) -> None:
    while True:
        await database.execute(_BEATS)
        await asyncio.sleep(3)


def _settings(dsn: str, key_file: Path) -> Settings:
    return Settings(
        postgres=PostgresSettings(dsn=dsn, pool_min=CALLERS, pool_max=CALLERS),
        kafka=KafkaSettings(bootstrap_servers="127.0.0.1:9"),
        identity=IdentitySettings(key_file=key_file, trusted_file=Path(os.devnull)),
        request_secret=SecretStr("a secret for benchmarks"),
        data_keys=SecretStr(OLD),
        blind_secret=SecretStr("a blind key for benchmarks"),
        code_secret=SecretStr("a code key for benchmarks"),
        codes=CodeSettings(attempts=100),
    )


def _person(n: int) -> UUID:
    return UUID(int=(0x9E3779B97F4A7C15 * (n + 1)) % 2**64 << 64 | n)


def _mobile(n: int) -> str:
    return f"+4526{n:06}"


async def _fill(database: Database, keys: Keys, begin: int, end: int) -> None:
    """Make citizens of the replica, each with a mobile number."""
    now = datetime.now(UTC)
    async with database.pool.acquire() as conn:
        await conn.copy_records_to_table("citizens", records=_citizens(begin, end))
        periods = list(_periods(keys, now, begin, end))
        await conn.copy_records_to_table("periods", records=periods)
        persons = [(row[1], 1, 1, 0) for row in periods]
        await conn.copy_records_to_table("persons", records=persons)
        contacts = [(row[1], MOBILE, 1, row[0], 1, None, None) for row in periods]
        await conn.copy_records_to_table("contacts", records=contacts)


def _citizens(begin: int, end: int) -> Iterator[tuple[object, ...]]:
    for n in range(begin, end):
        person, cv_number = _person(n), f"{10_000_000 + n}"
        state = {"cvId": str(person), "cvNumber": cv_number, "relations": []}
        yield 1, person, person, f"0101{n:06}", cv_number, 1, n % 6, orjson.dumps(state).decode()


def _periods(keys: Keys, now: datetime, begin: int, end: int) -> Iterator[tuple[object, ...]]:
    for n in range(begin, end):
        period, value = uuid4(), _mobile(n)
        sealed = keys.vault.seal(value, period)
        blind = keys.blind.of(MOBILE, value)
        yield period, _person(n), MOBILE, blind, sealed.key_id, sealed.box, now, None


async def _saves(parts: Parts, servers: Servers) -> float:
    """Save a mail address and a landline number for citizens who have neither."""
    servers.say("P14 saves")
    return await _all(lambda n: _save(parts, n))


async def _save(parts: Parts, n: int) -> None:
    items = [
        {"PersonContactData": f"citizen{n}@example.com", "PersonContactDataTypeIdentifier": EMAIL},
        {"PersonContactData": f"+4533{100_000 + n}", "PersonContactDataTypeIdentifier": 2},
    ]
    body = orjson.dumps({"PersonContactDataCollection": items})
    await parts.saving(_call(METHOD, f"0101{n:06}"), body)


async def _verifications(parts: Parts, keys: Keys, servers: Servers) -> float:
    servers.say("P14 verifications")
    rows = await parts.database.fetch("select person_id, period_id, salt from codes where type = $1", EMAIL)
    codes = {row["person_id"]: keys.codes.code(row["salt"], row["period_id"]) for row in rows}
    return await _all(lambda n: _verify(parts, n, codes[_person(n)]))


async def _verify(parts: Parts, n: int, code: str) -> None:
    body = {
        "CvCustomerIdentifier": f"{10_000_000 + n}",
        "VerificationCode": code,
        "PersonContactDataTypeIdentifier": EMAIL,
    }
    await parts.verifying.verify(_call(VERIFY), json.dumps(body).encode())


async def _look_up(parts: Parts, n: int) -> None:
    answer = await parts.looking_up.by_mobile(_call(BY_MOBILE), orjson.dumps({"mobiltelefon": _mobile(n)}))
    if f"0101{n:06}".encode() not in answer:
        raise LookupError("a contact was not found")


def _call(method: int, citizen: str = "") -> Call:
    return Call(method, a_caller(JOBNET), ConsistencyToken(), citizen)


async def _rotation(database: Database, keys: Keys) -> float:
    """Reseal for so long as the others are measured; the service would go on where this stops."""
    begun, told = time.perf_counter(), 0.0

    def tell(progress: Progress) -> None:
        nonlocal told
        told = progress.per_second if progress.done else told
        if time.perf_counter() - begun > SECONDS:
            raise Enough

    vault = Vault.from_text(f"{NEW},{OLD}")
    with suppress(Enough):
        await rotate(database, replace(keys, vault=vault), tell)
    return told


async def _all(work: Callable[[int], Awaitable[None]]) -> float:
    """Do it once for each of WRITTEN citizens; gives how many in a second."""
    begun = time.perf_counter()

    async def one(first: int) -> None:
        for n in range(first, WRITTEN, CALLERS):
            await work(n)

    await asyncio.gather(*(one(first) for first in range(CALLERS)))
    return WRITTEN / (time.perf_counter() - begun)


async def _rate(work: Callable[[int], Awaitable[None]]) -> float:
    """Do it for so long; gives how many in a second."""
    begun, done = time.perf_counter(), count()

    async def one() -> None:
        while time.perf_counter() - begun < SECONDS:
            await work(next(done))

    await asyncio.gather(*(one() for _ in range(CALLERS)))
    return next(done) / (time.perf_counter() - begun)
