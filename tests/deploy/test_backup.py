"""A back-up of every database, restored to a new server by the scripts that an operator would use."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from cv_contracts.event import Event
from cv_contracts.events.cv_registry import CitizenChanged, CVChanged
from cv_contracts.topics import topic_of
from cv_registry.erasing import HOLDINGS
from cvhub.servers.postgres import _program
from cvhub.services import SERVICES
from cvhub.testing import Postgres, _private_postgres
from servicekit.data.postgres import migrate

ROOT = Path(__file__).parents[2]
BACKUP = ROOT / "deploy/backup/backup.sh"
RESTORE = ROOT / "deploy/backup/restore.sh"
OWNERS = [service for service in SERVICES if service.migrations]
PASSWORD = "only-in-this-test"

CITIZEN = """
insert into citizens (person_id, person_number, cv_id, cv_number, version, source_version, state, personal, changed_at)
values ($1, $2, $3, $4, $5, 1, '{}', '', now())
"""


MERGED = "insert into merged_persons values ($1, $2, 'one person', 'test', now())"


def test_the_repetition_of_erasures_removes_all_that_the_registry_holds_of_a_citizen() -> None:
    script = RESTORE.with_name("repeat_erasures.sql").read_text()
    held = {"request_log", *(held.table for held in HOLDINGS.rows)}
    assert set(re.findall(r"delete from (\w+)", script)) == held
    assert set(re.findall(r"person_id, '(\w+)' from t", script)) == held


def test_every_database_is_in_the_back_up() -> None:
    (listed,) = re.findall(r"^databases=\(([^)]*)\)$", BACKUP.read_text(), re.MULTILINE)
    assert set(listed.split()) == {service.database for service in OWNERS}


def environment(postgres: Postgres) -> dict[str, str]:
    parts = urlsplit(postgres.dsn)
    tools = str(Path(_program("pg_dump")).parent)
    return {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PGHOST": str(parts.hostname),
        "PGPORT": str(parts.port),
        "PGUSER": str(parts.username),
        "PGPASSWORD": str(parts.password),
        "POSTGRES_PASSWORD": PASSWORD,
    }


def run(postgres: Postgres, *command: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own scripts
        command, env=environment(postgres), capture_output=True, text=True, check=False
    )


def dsn(postgres: Postgres, database: str) -> str:
    return urlsplit(postgres.dsn)._replace(path=f"/{database}").geturl()


async def rows(
    postgres: Postgres, query: str, *args: object, database: str = "cv_registry"
) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn(postgres, database))
    try:
        return list(await connection.fetch(query, *args))
    finally:
        await connection.close()


@pytest.fixture
def new_server() -> Iterator[Postgres]:
    yield from _private_postgres()


@pytest.mark.infra
async def test_a_back_up_is_restored_to_a_new_server_and_later_erasures_are_repeated(
    own_postgres: Postgres, new_server: Postgres, tmp_path: Path
) -> None:
    assert run(own_postgres, "sh", ROOT / "deploy/postgres/databases.sh").returncode == 0
    for service in OWNERS:
        role = f"postgresql://{service.database}:{PASSWORD}@{urlsplit(own_postgres.dsn).netloc.rpartition('@')[2]}"
        await migrate(f"{role}/{service.database}", service.migrations)
    kept, erased = (uuid4(), uuid4()), (uuid4(), uuid4())
    for number, (person, cv) in enumerate((kept, erased)):
        await rows(own_postgres, CITIZEN, person, f"01020300{number:02}", cv, f"1000000{number}", 1)
        await rows(own_postgres, "insert into cv_revisions values ($1, 1, now(), '')", cv)
        await rows(own_postgres, MERGED, person, uuid4())

    backup, later = tmp_path / "backup", tmp_path / "later"
    assert run(own_postgres, BACKUP, backup).returncode == 0
    await _erase(own_postgres, erased[0], tmp_path)
    assert run(own_postgres, BACKUP, "--ledger", later).returncode == 0
    (erasure,) = await rows(own_postgres, "select version from erasures where subject = $1", erased[0])

    restored = run(new_server, RESTORE, backup, later / "erasures.csv")
    assert restored.returncode == 0, restored.stderr
    people = await rows(new_server, "select person_id from citizens")
    assert [row["person_id"] for row in people] == [kept[0]]
    assert [row["cv_id"] for row in await rows(new_server, "select cv_id from cv_revisions")] == [kept[1]]
    again = {row["subject"]: row["version"] for row in await rows(new_server, "select * from erasures")}
    assert set(again) == set(erased)
    assert again[erased[0]] > erasure["version"], (
        "followers that know the first erasure must hear of this one"
    )
    assert [row["person_id"] for row in await rows(new_server, "select * from merged_persons")] == [kept[0]]
    (receipt,) = await rows(new_server, "select * from erasure_receipts where subject = $1", erased[0])
    assert receipt["version"] == again[erased[0]], "what the order of this erasure waits for"
    assert json.loads(receipt["removed"]) == {"citizens": 1, "cv_revisions": 1, "merged_persons": 1}
    await _announced(new_server, dict(zip(erased, (CitizenChanged, CVChanged), strict=True)), again)
    for service in OWNERS:
        (owner,) = await rows(
            new_server,
            "select pg_get_userbyid(relowner) as name from pg_class where relname = 'schema_migrations'",
            database=service.database,
        )
        assert owner["name"] == service.database


async def _erase(postgres: Postgres, person: UUID, folder: Path) -> None:
    ledger = folder / "now.csv"
    ledger.write_text(f"{person},1,2026-11-22T12:00:00Z\n")
    table = "create temporary table ledger (subject uuid, version bigint, erased_at timestamptz)"
    copy = f"\\copy ledger from '{ledger}' with (format csv)"
    steps = ("-c", table, "-c", copy, "-f", RESTORE.with_name("repeat_erasures.sql"))
    done = run(postgres, "psql", "-X", "-v", "ON_ERROR_STOP=1", "-d", "cv_registry", *steps)
    assert done.returncode == 0, done.stderr


async def _announced(
    postgres: Postgres, told: Mapping[UUID, type[Event]], versions: Mapping[UUID, int]
) -> None:
    events = await rows(postgres, "select * from outbox order by seq")
    for event, (subject, kind) in zip(events, told.items(), strict=True):
        assert event["aggregatetype"] == topic_of(kind).name
        assert event["aggregateid"] == str(subject)
        assert event["type"] == kind.TYPE
        assert event["version"] == versions[subject]
        assert json.loads(event["payload"]) == {"version": versions[subject], "change": "erased"}


@pytest.mark.infra
async def test_a_damaged_back_up_and_a_server_in_use_are_refused(
    own_postgres: Postgres, tmp_path: Path
) -> None:
    assert run(own_postgres, "sh", ROOT / "deploy/postgres/databases.sh").returncode == 0
    await migrate(dsn(own_postgres, "cv_registry"), "cv_registry.migrations")
    backup = tmp_path / "backup"
    assert run(own_postgres, BACKUP, backup).returncode == 0
    refused = run(own_postgres, RESTORE, backup)
    assert refused.returncode == 1
    assert "restore into a new one" in refused.stderr
    with (backup / "cv_status.dump").open("ab") as dump:
        dump.write(b"x")
    assert run(own_postgres, RESTORE, backup).returncode == 1
