"""A back-up of every database, restored to a new server by the scripts that an operator would use."""

import hashlib
import hmac
import json
import os
import re
import subprocess
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from cv_contracts.event import Event
from cv_contracts.events.cv_registry import CitizenChanged, CVChanged
from cv_contracts.topics import topic_of
from cv_registry.holdings import HOLDINGS
from cvhub.servers.postgres import _program
from cvhub.services import SERVICES
from cvhub.testing import Postgres, _private_postgres
from servicekit.data.postgres import migrate
from servicekit.testing import free_port

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


def run(postgres: Postgres, *command: str | Path, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own scripts
        command, env=environment(postgres) | more, capture_output=True, text=True, check=False
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
async def test_the_roles_get_their_password_and_no_list_of_processes_shows_it(
    new_server: Postgres, tmp_path: Path
) -> None:
    told, watched = tmp_path / "told", tmp_path / "psql"
    watched.write_text(f'#!/bin/sh\necho "$@" >> {told}\nexec {_program("psql")} "$@"\n')
    watched.chmod(0o700)
    path = f"{tmp_path}:{environment(new_server)['PATH']}"
    done = run(new_server, "sh", ROOT / "deploy/postgres/databases.sh", PATH=path, DATABASES="cv_status")
    assert done.returncode == 0, done.stderr
    assert "cv_status" in told.read_text()
    assert PASSWORD not in told.read_text()
    (role,) = await rows(
        new_server, "select rolpassword from pg_authid where rolname = 'cv_status'", database="postgres"
    )
    assert is_password(role["rolpassword"], PASSWORD)


async def logs_in(postgres: Postgres, database: str, password: str) -> bool:
    """Try the role of a service, whose name is its database's."""
    server = urlsplit(postgres.dsn).netloc.rpartition("@")[2]
    try:
        connection = await asyncpg.connect(f"postgresql://{database}:{password}@{server}/{database}")
    except asyncpg.InvalidPasswordError:
        return False
    await connection.close()
    return True


@pytest.mark.infra
async def test_a_role_may_have_a_password_of_its_own_which_opens_no_other(new_server: Postgres) -> None:
    own = "only-of-cv-status"
    made = {"DATABASES": "cv_status cv_search", "CV_STATUS_PASSWORD": own}
    script = ROOT / "deploy/postgres/databases.sh"
    refused = run(new_server, "sh", script, **made, POSTGRES_PASSWORD="")
    assert refused.returncode != 0
    assert "CV_SEARCH_PASSWORD" in refused.stderr
    known = "select rolname from pg_roles where rolname in ('cv_status', 'cv_search')"
    assert await rows(new_server, known, database="postgres") == []
    done = run(new_server, "sh", script, **made)
    assert done.returncode == 0, done.stderr
    assert await logs_in(new_server, "cv_status", own)
    assert not await logs_in(new_server, "cv_status", PASSWORD)
    assert await logs_in(new_server, "cv_search", PASSWORD)
    assert not await logs_in(new_server, "cv_search", own)


def is_password(kept: str, password: str) -> bool:
    """Compare a password with what PostgreSQL keeps of it: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> (RFC 5803)."""
    _, iterations, salt, keys = re.split(r"[$:]", kept, maxsplit=3)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b64decode(salt), int(iterations))
    return b64decode(keys.split(":")[1]) == hmac.digest(salted, b"Server Key", "sha256")


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


@pytest.fixture
async def backed_up(own_postgres: Postgres, tmp_path: Path) -> Path:
    """Make a back-up of databases of which the registry's and the status' have tables."""
    assert run(own_postgres, "sh", ROOT / "deploy/postgres/databases.sh").returncode == 0
    for service in OWNERS[:2]:
        assert service.migrations is not None
        await migrate(dsn(own_postgres, service.database), service.migrations)
    backup = tmp_path / "backup"
    assert run(own_postgres, BACKUP, backup).returncode == 0
    return backup


@pytest.mark.infra
async def test_what_is_wrong_with_a_restore_is_said_before_anything_is_made(
    own_postgres: Postgres, new_server: Postgres, backed_up: Path, tmp_path: Path
) -> None:
    async def refused(said: str, *given: str | Path, server: Postgres = new_server, **more: str) -> None:
        before = await rows(server, "select datname, oid from pg_database order by 1", database="postgres")
        done = run(server, RESTORE, backed_up, *given, **more)
        assert done.returncode == 1
        assert said in done.stderr
        assert before == await rows(
            server, "select datname, oid from pg_database order by 1", database="postgres"
        )

    await refused("restore into a new one", server=own_postgres)
    await refused("is PGPASSWORD that of postgres?", PGPORT=str(free_port()))
    await refused("there is no ledger", tmp_path / "mistyped.csv")
    (tmp_path / "other.csv").write_text("a,b,c\n")
    await refused("is no ledger of erasures", tmp_path / "other.csv")
    unsaid = "CV_SEARCH_PASSWORD: the password"
    await refused(unsaid, DATABASES="cv_status cv_search", CV_STATUS_PASSWORD="own", POSTGRES_PASSWORD="")
    await refused("a ledger is for cv_registry", backed_up / "erasures.csv", DATABASES="cv_status")
    missing = "cv_stats.dump is missing, damaged or not whole"
    await refused(missing, DATABASES="cv_stats")
    await refused(missing, DATABASES="cv_status cv_stats", CV_STATUS_PASSWORD="own", POSTGRES_PASSWORD="")
    for misspelled in ("cv-status", "cv.status", "../cv_status"):
        await refused(f"there is no database {misspelled}", DATABASES=f"cv_status {misspelled}")
    with (backed_up / "cv_status.dump").open("ab") as dump:
        dump.write(b"x")
    await refused("cv_status.dump is missing, damaged or not whole")


@pytest.mark.infra
async def test_a_restore_that_breaks_off_says_what_to_do(
    new_server: Postgres, backed_up: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.csv"
    ledger.write_text(f"{uuid4()},{2**63 - 1},2026-11-22T12:00:00Z\n")
    done = run(new_server, RESTORE, backed_up, ledger)
    assert done.returncode != 0
    assert "start no service, drop on this server what was made of" in done.stderr


@pytest.mark.infra
async def test_one_database_is_backed_up_and_restored_without_the_others(
    own_postgres: Postgres, backed_up: Path
) -> None:
    status = {"DATABASES": "cv_status"}
    assert run(own_postgres, BACKUP, backed_up, **status).returncode == 0
    renamed = "alter database cv_status rename to cv_status_old"
    await rows(own_postgres, renamed, database="postgres")
    # The role is there and keeps the password it has, so none is asked for.
    restored = run(own_postgres, RESTORE, backed_up, **status, POSTGRES_PASSWORD="")
    assert restored.returncode == 0, restored.stderr
    assert await logs_in(own_postgres, "cv_status", PASSWORD)
    tables = "select count(*) from pg_tables where schemaname = 'public'"
    assert await rows(own_postgres, tables, database="cv_status") == await rows(
        own_postgres, tables, database="cv_status_old"
    )


@pytest.mark.infra
async def test_back_ups_of_several_servers_come_together_in_one_folder(
    own_postgres: Postgres, new_server: Postgres, backed_up: Path, tmp_path: Path
) -> None:
    both = tmp_path / "both"
    for databases in ("cv_status", "cv_registry change_feed"):
        assert run(own_postgres, BACKUP, both, DATABASES=databases).returncode == 0
        assert (both / "erasures.csv").exists() == ("cv_registry" in databases)
    unknown = run(own_postgres, BACKUP, both, DATABASES="cv_stats")
    assert unknown.returncode == 1
    assert "there is no database cv_stats" in unknown.stderr
    restored = run(new_server, RESTORE, both)
    assert restored.returncode == 0, restored.stderr
    made = await rows(new_server, "select datname from pg_database", database="postgres")
    assert {row["datname"] for row in made} >= {"cv_status", "cv_registry", "change_feed"}
    assert "cv_search" not in {row["datname"] for row in made}
