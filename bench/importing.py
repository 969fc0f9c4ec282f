"""P12: the import of citizens with CVs (validated, with events) against a bare COPY of the same rows."""

import asyncio
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil

from bench.measured import Row, Servers, megabytes
from cvhub.people import import_lines
from cvhub.servers.process import last_lines

TABLES = ("citizens", "cvs", "cv_revisions", "asylum_transitions", "outbox")
SOME, MANY = 100_000, 1_000_000


async def run(servers: Servers) -> list[Row]:
    citizens = MANY if servers.million else SOME
    file = servers.folder / "citizens.ndjson"
    servers.say(f"P12 {citizens:,} citizens: made")
    with file.open("wb") as out:
        out.writelines(import_lines(citizens))
    dsn = await servers.database()
    await _import(servers, Path(os.devnull), dsn)
    servers.say(f"P12 {citizens:,} citizens: imported")
    begun = time.perf_counter()
    memory = await _import(servers, file, dsn)
    ours = citizens / (time.perf_counter() - begun)
    servers.note(f"P12: the importing processes took {memory} MB at most")
    file.unlink()
    servers.say("P12 bare COPY of the same rows")
    peer = citizens / await _bare(dsn)
    return [Row.against(f"P12 import of {citizens:,} citizens with CVs, citizens/s", [ours], [peer])]


async def _import(servers: Servers, file: Path, dsn: str) -> int:
    """Import as an operator would; give the most memory that its processes took together, in MB."""
    environment = {
        **os.environ,
        "POSTGRES__DSN": dsn,
        "KAFKA__BOOTSTRAP_SERVERS": servers.kafka.bootstrap_servers,
        "IDENTITY__KEY_FILE": os.devnull,
        "IDENTITY__TRUSTED_FILE": os.devnull,
        "REQUEST_SECRET": "only for this measurement",
    }
    with (servers.folder / "import.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cv_registry", "import", str(file), env=environment, stdout=log, stderr=log
        )
        ended = asyncio.create_task(process.wait())
        most = 0
        while not ended.done():
            await asyncio.wait([ended], timeout=0.5)
            with suppress(psutil.Error):
                most = max(most, megabytes(process.pid))
    if process.returncode != 0:
        raise RuntimeError(
            f"the import ended with {process.returncode}: {last_lines(servers.folder / 'import.log', 1)}"
        )
    return most


async def _bare(dsn: str) -> float:
    """Copy all rows out and in again, into tables with the same indexes; give the seconds that the copying in took."""
    connection = await asyncpg.connect(dsn)
    seconds = 0.0
    try:
        for table in TABLES:
            with tempfile.TemporaryFile() as rows:
                await connection.copy_from_table(table, output=rows, format="binary")
                rows.seek(0)
                await connection.execute(f"CREATE TABLE bare_{table} (LIKE {table} INCLUDING ALL)")
                begun = time.perf_counter()
                await connection.copy_to_table(f"bare_{table}", source=rows, format="binary")
                seconds += time.perf_counter() - begun
    finally:
        await connection.close()
    return seconds
