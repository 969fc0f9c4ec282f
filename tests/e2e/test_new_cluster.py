"""The database server is lost; a back-up is restored to a new one: versions rise, positions hold, the erased stay erased."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest
from tests.e2e.caller import Caller, fault, population
from tests.e2e.load import Load, load, published
from tests.e2e.system import System

from cvhub.servers.postgres import _program
from cvhub.services import SERVICES
from servicekit.testing import eventually

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

BACKUP = Path(__file__).parents[2] / "deploy/backup"
PATIENCE = timedelta(seconds=90)
FEED = "change-feed"


@pytest.fixture
def own_system() -> Iterator[System]:
    made = System(150)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def script(system: System, *command: str | Path) -> None:
    parts = urlsplit(system.postgres.dsn)
    environment = {
        "PATH": f"{Path(_program('psql')).parent}:{os.environ['PATH']}",
        "PGHOST": str(parts.hostname),
        "PGPORT": str(parts.port),
        "PGUSER": str(parts.username),
        "PGPASSWORD": str(parts.password),
        "POSTGRES_PASSWORD": "until-the-stack-sets-its-own",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr


def erase(system: System, person: UUID, folder: Path) -> None:
    ledger = folder / "now.csv"
    ledger.write_text(f"{person},1,2026-11-22T12:00:00Z\n")
    script(
        system,
        *("psql", "-X", "-v", "ON_ERROR_STOP=1", "-d", "cv_registry"),
        *("-c", "create temporary table ledger (subject uuid, version bigint, erased_at timestamptz)"),
        *("-c", f"\\copy ledger from '{ledger}' with (format csv)"),
        *("-f", BACKUP / "repeat_erasures.sql"),
    )


async def lose_the_server(system: System) -> None:
    for service in reversed(SERVICES):
        await asyncio.to_thread(system.terminate, service.name)
    await asyncio.to_thread(system.kill, "PostgreSQL")
    shutil.rmtree(system.postgres.data)
    system.postgres.initialise()
    await asyncio.to_thread(system.revive, "PostgreSQL")


async def read_from(caller: Caller, position: str, wanted: set[str]) -> None:
    """Follow the feed as its description says, from a position of before, until all these events have come."""

    async def come() -> bool:
        nonlocal position
        answer = await caller.call("GET", f"/v1/feed/cv?lastEventId={position}&limit=1000")
        if answer.status_code == httpx.codes.CONFLICT:
            position = answer.json()["lastEventId"]
            return False
        assert answer.status_code == httpx.codes.OK, answer.text
        assert answer.headers["x-feed-from"] == position
        wanted.difference_update(event["eventid"] for event in answer.json())
        position = answer.headers["x-feed-to"]
        return not wanted

    await eventually(come, PATIENCE, timedelta(milliseconds=200))


async def test_a_lost_server_is_restored_to_a_new_one(
    own_system: System, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    system, caller = own_system, Caller(own_system, http)
    one = population(120)[-1]
    [row] = await system.rows("select person_id, cv_id from citizens where cv_number = $1", one.cv_number)
    async with load(caller) as early:
        await early.has_grown(100)
        await asyncio.to_thread(script, system, BACKUP / "backup.sh", tmp_path / "backup")
    snapshot = await caller.call("GET", "/v1/feed/cv/snapshot?limit=1")
    async with load(caller) as late:
        await late.has_grown(100)
    await asyncio.to_thread(erase, system, row["person_id"], tmp_path)
    await published(system, "cv-registry")
    await asyncio.to_thread(script, system, BACKUP / "backup.sh", "--ledger", tmp_path / "later")

    await lose_the_server(system)
    ledger = tmp_path / "later" / "erasures.csv"
    await asyncio.to_thread(script, system, BACKUP / "restore.sh", tmp_path / "backup", ledger)
    await system.stack._migrate()
    for service in SERVICES:
        await asyncio.to_thread(system.revive, service.name)

    assert fault(await caller.get_cv(one.person_number))[0] == httpx.codes.NOT_FOUND
    for replica in ("cv-status", "contact-verification"):
        await _forgotten(system, replica, row["person_id"])
    after = await _write_again(caller, late)
    await read_from(caller, snapshot.json()["position"], {str(one.event_id) for one in after.acknowledged})


async def _write_again(caller: Caller, late: Load) -> Load:
    """Versions of what is written now are above all that were given, those that the back-up never saw included."""
    async with load(caller) as after:
        await after.has_grown(150)
    assert after.failures == {}
    newest = {one.key: one.version for one in sorted(late.acknowledged, key=lambda one: one.version)}
    assert {one.key for one in after.acknowledged} & newest.keys()
    assert all(one.version > newest.get(one.key, 0) for one in after.acknowledged)
    return after


async def _forgotten(system: System, service: str, person: UUID) -> None:
    async def gone() -> bool:
        query = "select count(*) = 0 from citizens where person_id = $1"
        return bool(await system.value(query, person, service=service))

    await eventually(gone, PATIENCE)
