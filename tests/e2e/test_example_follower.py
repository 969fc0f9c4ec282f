"""The example of docs/examples as a process of its own: its table is in step, through restarts of every part and its own."""

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.e2e.caller import Caller
from tests.e2e.load import load
from tests.e2e.system import REGISTRY, System

from cvhub.servers.process import ServerProcess
from servicekit.testing import eventually

pytestmark = pytest.mark.timeout(400)

EXAMPLE = Path(__file__).parents[2] / "docs/examples/sqlite_follower.py"
FEED = "change-feed"
PATIENCE = timedelta(seconds=90)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "copy.sqlite"


@pytest.fixture
def example(system: System, caller: Caller, table: Path) -> Iterator[ServerProcess]:
    sent = {name: value for name, value in caller._headers().items() if value is not None}
    token = sent.pop("authorization").removeprefix("Bearer ")
    process = ServerProcess(
        "example-follower",
        [sys.executable, str(EXAMPLE), system.url("gateway"), str(table)],
        log=system.state.logs / "example-follower.log",
        env={
            **os.environ,
            "CVHUB_TOKEN": token,
            "CVHUB_HEADERS": json.dumps(sent),
            "CVHUB_POLL_SECONDS": "5",
        },
    )
    process.start()
    yield process
    process.stop()


def copied(table: Path) -> dict[str, int]:
    with sqlite3.connect(f"file:{table}?mode=ro", uri=True) as connection:
        return dict(connection.execute("select cv_id, version from cvs"))


@pytest.mark.long
async def test_the_table_is_what_the_registry_has_after_restarts_of_every_part(
    system: System, caller: Caller, example: ServerProcess, table: Path
) -> None:
    async def in_step() -> None:
        rows = await system.rows("select cv_id, version from cvs")
        assert copied(table) == {str(row["cv_id"]): row["version"] for row in rows}

    await eventually(in_step, PATIENCE)
    async with load(caller) as writers:
        for part in (FEED, "Kafka", "gateway", REGISTRY, "PostgreSQL"):
            await writers.has_grown(20)
            example.kill()
            await asyncio.to_thread(system.kill, part)
            example.start()
            await asyncio.to_thread(system.revive, part)
        await writers.has_grown(20)
    await eventually(in_step, PATIENCE)
