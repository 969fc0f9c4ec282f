"""The import of a file: rows, refusals, resuming, citizens that are there already; on a real PostgreSQL."""

import asyncio
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from cv_registry.imports.report import Report
from cv_registry.imports.running import Import, run_import
from cv_registry.settings import SERVICE, Settings
from cv_registry.testing import RegistryClient, a_citizen, a_cv, a_person_number, some_settings
from servicekit.data.postgres import Database
from servicekit.settings import PostgresSettings
from servicekit.testing import eventually
from servicekit.web.testing import Identities

pytestmark = pytest.mark.infra

NO_REPORT = Report(None)

_REGISTER = """
INSERT INTO citizens (person_id, person_number, cv_id, version, source_version, state, personal, changed_at)
VALUES (gen_random_uuid(), $1, gen_random_uuid(), 1, 0, '{}', '', now())
"""


@pytest_asyncio.fixture
async def settings(postgres: PostgresSettings, identities: Identities) -> Settings:
    return some_settings(postgres, identities.settings(SERVICE))


def line(**members: Any) -> bytes:
    return json.dumps({"citizen": a_citizen(), "cv": a_cv(), **members}).encode() + b"\n"


async def test_imported_citizens_are_read_like_any_other(
    registry: RegistryClient, settings: Settings, database: Database, tmp_path: Path
) -> None:
    plain, archived, bare = a_citizen(), a_citizen(), a_citizen()
    dates = {"AsylumCVTransitionDate": "2026-11-20", "CVEditEndDate": "2026-11-25"}
    file = tmp_path / "citizens.ndjson"
    file.write_bytes(
        line(citizen=plain, cvState="ACTIVE", asylum=dates)
        + line(citizen=archived, cvState="ARCHIVED", asylum=None)
        + line(citizen=bare, cv=None)
    )
    assert await run_import(settings, str(file)) == 0
    assert (await registry.get(plain["personNumber"])).status_code == 200
    assert (await registry.get(archived["personNumber"])).json()["code"] == 4753
    assert (await registry.get(bare["personNumber"])).json()["code"] == 4755
    assert (await registry.replace(plain["personNumber"])).status_code == 200
    events = await database.fetch(
        "SELECT payload FROM outbox WHERE partition IS NULL AND aggregatetype LIKE '%cv-changed' ORDER BY seq"
    )
    changes = [json.loads(row["payload"])["change"] for row in events]
    assert changes == ["created", "archived", "replaced"]
    assert await database.fetchval("SELECT count(*) FROM outbox WHERE aggregatetype LIKE '%asylum%'") == 1


async def test_bad_lines_are_refused_with_their_number_and_the_rest_is_imported(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "citizens.ndjson"
    taken = a_citizen(cvNumber="12345678")
    file.write_bytes(
        line(citizen=taken)
        + b"{\n"
        + line(citizen=a_citizen(personNumber="0000000000"))
        + line(cv={**a_cv(), "ContactInformation": {"E-mail": "nobody@example.dk"}})
        + line(cv=None, cvState="ACTIVE")
        + line(citizen=a_citizen(cvNumber="12345678"))
        + line()
        + line(cv={**a_cv(), "CV": {**a_cv()["CV"], "ProfessionalSummaryText": {"HTMLText": "<" * 40_000}}})
    )
    assert await run_import(settings, str(file)) == 2
    refused = [json.loads(text) for text in (tmp_path / "citizens.ndjson.refused").read_text().splitlines()]
    assert sorted(entry["line"] for entry in refused) == [2, 3, 4, 5, 6, 8]
    assert "nobody@" not in str(refused)
    reasons = {entry["line"]: entry["errors"][0] for entry in refused}
    assert reasons[4]["element"] == "ContactInformation.E-mail"
    assert "SavePersonContactData" in reasons[4]["reason"]
    assert reasons[8]["element"] == "CV.ProfessionalSummaryText.HTMLText"
    assert await database.fetchval("SELECT count(*) FROM citizens") == 2


async def test_a_file_that_is_not_there_is_said_in_one_line(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"nowhere cannot be read: No such file"):
        await run_import(settings, str(tmp_path / "nowhere"))


async def test_a_file_imported_again_changes_nothing(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "citizens.ndjson"
    file.write_bytes(b"".join(line() for _ in range(20)))
    assert await run_import(settings, str(file)) == 0
    before = await database.fetchval("SELECT count(*) FROM outbox")
    assert await run_import(settings, str(file)) == 0
    assert await database.fetchval("SELECT count(*) FROM outbox") == before


async def test_a_file_that_was_corrected_anywhere_is_another_file(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "citizens.ndjson"
    wrong = line(citizen=a_citizen(givenName="Aase"))
    head = (json.dumps({"citizen": a_citizen(), "cv": None}).encode() + b" " * 10_000 + b"\n") * 200
    file.write_bytes(head + wrong)
    assert await run_import(settings, str(file)) == 0
    right = wrong.replace(b"Aase", b"Ines").replace(b'"sourceVersion": 1', b'"sourceVersion": 2')
    file.write_bytes(head + right)
    assert await run_import(settings, str(file)) == 0
    assert (
        await database.fetchval("SELECT max(state ->> 'givenName') FROM citizens WHERE source_version = 2")
        == "Ines"
    )


async def test_a_run_that_goes_on_counts_the_lines_that_were_refused_before_it(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "citizens.ndjson"
    bad, good = b"{}\n", line()
    file.write_bytes(bad + good + good)
    assert await run_import(settings, str(file)) == 2
    await database.execute("UPDATE imports SET lines = 2")
    assert await run_import(settings, str(file)) == 2
    assert await run_import(settings, str(file)) == 2, "with nothing left to do"
    file.write_bytes(good)
    assert await run_import(settings, str(file)) == 0


async def test_an_interrupted_import_goes_on_where_it_stopped(settings: Settings, database: Database) -> None:
    lines = [line() for _ in range(10)]
    await Import(settings, database, "a-file", NO_REPORT).run(io.BytesIO(b"".join(lines[:6])))
    rest = Import(settings, database, "a-file", NO_REPORT)
    await rest.run(io.BytesIO(b"".join(lines)))
    assert (rest.summary.lines, rest.summary.imported, rest.summary.updated) == (10, 4, 0)
    assert await database.fetchval("SELECT count(*) FROM citizens") == 10


async def test_known_citizens_go_through_the_ordinary_intake(settings: Settings, database: Database) -> None:
    citizen = a_citizen()
    run = Import(settings, database, None, NO_REPORT)
    twice = line(citizen=citizen) + line(citizen={**citizen, "sourceVersion": 2, "enrolled": False})
    await run.run(io.BytesIO(twice))
    assert (run.summary.imported, run.summary.updated) == (1, 1)
    assert await database.fetchval("SELECT source_version FROM citizens") == 2
    assert await database.fetchval("SELECT count(*) FROM cv_revisions") == 1


async def test_an_import_that_meets_a_delivery_of_the_same_citizens_in_a_ring_tries_again(
    settings: Settings, database: Database
) -> None:
    """Each waits for the other: the server ends the import's transaction, which has waited for longer."""
    first, second = a_citizen(), a_citizen()
    run = Import(settings, database, None, NO_REPORT)

    async def waits() -> None:
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        assert await database.fetchval(waiting) == 1

    async with database.pool.acquire() as conn, conn.transaction():
        await conn.execute("SET LOCAL deadlock_timeout = '60s'")
        await conn.execute(_REGISTER, second["personNumber"])
        importing = asyncio.create_task(run.run(io.BytesIO(line(citizen=first) + line(citizen=second))))
        await eventually(waits)
        await conn.execute(_REGISTER, first["personNumber"])
    await importing
    assert (run.summary.imported, run.summary.updated) == (0, 2)


async def test_a_line_under_a_former_number_of_somebody_here_registers_nobody(
    registry: RegistryClient, settings: Settings, database: Database
) -> None:
    citizen = a_citizen(sourceVersion=2, formerPersonNumber=a_person_number())
    await registry.register(citizen)
    run = Import(settings, database, None, NO_REPORT)
    await run.run(io.BytesIO(line(citizen=a_citizen(personNumber=citizen["formerPersonNumber"]))))
    assert (run.summary.imported, run.summary.updated) == (0, 1)
    assert await database.fetchval("SELECT array_agg(person_number) FROM citizens") == [
        citizen["personNumber"]
    ]


@pytest.mark.parametrize(
    ("done", "kept"), [(9, b'{"line":1}\n{"line":7}\n'), (6, b'{"line":1}\n'), (0, None)]
)
def test_a_report_that_broke_off_goes_on_after_its_last_whole_line_that_counts(
    tmp_path: Path, done: int, kept: bytes | None
) -> None:
    report = tmp_path / "citizens.ndjson.refused"
    report.write_bytes(b'{"line":1}\n{"line":7}\n{"line":8')
    count = Report(tmp_path / "citizens.ndjson").go_on_after(done)
    assert count == (0 if kept is None else kept.count(b"\n"))
    assert (report.read_bytes() if report.exists() else None) == kept


def many(count: int) -> Iterator[bytes]:
    """Give lines of citizens with CVs, every thousandth of which is no line at all."""
    cv = json.dumps(a_cv()).encode()
    for number in range(1, count + 1):
        yield b"{}\n" if number % 1_000 == 0 else b'{"citizen":%b,"cv":%b}\n' % (_citizen(number), cv)


def _citizen(number: int) -> bytes:
    day, month, rest = number % 28 + 1, number // 28 % 12 + 1, number // 336
    return json.dumps(
        a_citizen(personNumber=f"{day:02}{month:02}{rest // 1000 % 90 + 10:02}{rest % 1000 + 5000}")
    ).encode()


@pytest.mark.parametrize(
    "count", [8_000, pytest.param(1_000_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
async def test_a_file_killed_in_the_middle_is_imported_whole_while_the_registry_serves(
    registry: RegistryClient, settings: Settings, database: Database, tmp_path: Path, count: int
) -> None:
    file, report = tmp_path / "citizens.ndjson", tmp_path / "citizens.ndjson.refused"
    with file.open("wb") as out:
        out.writelines(many(count))
    served = a_citizen(personNumber="0101104999")
    await registry.register(served)
    process = await _importing(settings, file)
    try:
        await eventually(lambda: _lines_done(database, count // 4), timeout=timedelta(minutes=30))
    finally:
        workers = psutil.Process(process.pid).children()
        process.kill()
        await process.wait()
    assert len(workers) > 0
    await eventually(lambda: not any(map(_works, workers)))
    ended = asyncio.create_task((await _importing(settings, file)).wait())
    calls = 0
    while not ended.done() or calls == 0:
        assert (await registry.replace(served["personNumber"])).status_code == 200
        assert (await registry.get(served["personNumber"])).status_code == 200
        calls += 1
        # Often enough to notice what the import holds up, and not so often that it is the import which is held up.
        await asyncio.sleep(0.05)
    assert ended.result() == 2, "lines were refused"
    refused = [json.loads(text)["line"] for text in report.read_text().splitlines()]
    assert refused == list(range(1_000, count + 1, 1_000))
    assert await database.fetchval("SELECT count(*) FROM citizens") == 1 + count - len(refused)
    assert await database.fetchval("SELECT count(*) FROM cvs") == 1 + count - len(refused)
    told = "SELECT count(*) FROM outbox WHERE aggregatetype LIKE '%citizen-changed' AND partition IS NULL"
    assert await database.fetchval(told) == 1 + count - len(refused), "each was told once"


def _works(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


async def _importing(settings: Settings, file: Path) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "POSTGRES__DSN": settings.postgres.dsn,
        "KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "IDENTITY__KEY_FILE": str(settings.identity.key_file),
        "IDENTITY__TRUSTED_FILE": str(settings.identity.trusted_file),
        "REQUEST_SECRET": "a secret for tests only",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cv_registry", "import", str(file), env=environment
    )


async def _lines_done(database: Database, least: int) -> None:
    assert (await database.fetchval("SELECT max(lines) FROM imports") or 0) >= least
