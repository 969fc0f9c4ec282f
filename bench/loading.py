"""`python -m bench.loading`: a file of citizens is loaded while one of each service serves; the import is killed half-way and begun again.

GetCV and ReplaceCV come at a steady rate all the while, about citizens who were there before. Prints a table, writes build/loading.json.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import uvloop
from rich.console import Console

from bench.measured import Row
from bench.whole import PATHS, Samples, Whole, is_found, percentile, running
from cvhub.people import SEED
from cvhub.servers.guard import guard
from cvhub.services import SERVICES
from cvhub.synthetic import citizens
from servicekit.testing import eventually

RATES = {"GetCV": 50, "ReplaceCV": 5}
SERVED, FIRST_LOADED = 10_000, 1_000_000
SPOILT_EVERY = 10_000
"""Each so many lines one is no citizen, for the report of refused lines."""
WARM_UP, CALM, SLICE = 5.0, 30.0, 10.0
LINES_REFUSED = 2
LOOK_SECONDS = 0.5
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of the file."""

    seconds: float
    refused: int


def write(file: Path, count: int) -> None:
    with file.open("wb") as out:
        for number, one in enumerate(citizens(SEED, count, start=FIRST_LOADED), 1):
            out.write(b"{}\n" if number % SPOILT_EVERY == 0 else orjson.dumps(one.import_line()) + b"\n")


async def load(whole: Whole, file: Path, count: int) -> Loaded:
    """Import the file as an operator would, and once more after a kill half-way."""
    begun = time.perf_counter()
    async with _connected(whole, "cv-registry") as registry, _importing(whole, file) as first:
        while (await registry.fetchval("select max(lines) from imports") or 0) < count // 2:
            if first.returncode is not None:
                raise RuntimeError(f"the import ended with {first.returncode} before it was half done")
            await asyncio.sleep(LOOK_SECONDS)
        first.kill()
        await first.wait()
    async with _importing(whole, file) as second:
        code = await second.wait()
    seconds = time.perf_counter() - begun
    refused = file.with_name(file.name + ".refused")
    lines = refused.read_bytes().splitlines() if refused.exists() else []
    if code != (LINES_REFUSED if lines else 0):
        raise RuntimeError(f"the import ended with {code}")
    return Loaded(seconds, len(lines))


@asynccontextmanager
async def _importing(whole: Whole, file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    registry = next(service for service in SERVICES if service.name == "cv-registry")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", registry.module, "import", str(file)),
        env={**os.environ, **whole.stack.environment(registry)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    guard().watch(process.pid)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        guard().forget(process.pid)


@asynccontextmanager
async def _connected(whole: Whole, service: str) -> AsyncIterator[Any]:
    of = next(one for one in SERVICES if one.name == service)
    connection = await asyncpg.connect(whole.stack.environment(of)["POSTGRES__DSN"])
    try:
        yield connection
    finally:
        await connection.close()


async def caught_up(whole: Whole, console: Console) -> tuple[float, float]:
    """Give after how many seconds the feed, and then the search too, had all that was written before now."""
    begun = time.perf_counter()
    one = whole.people[-1]
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{whole.port}", trust_env=False, timeout=30
    ) as client:
        saved = await client.put(
            PATHS["ReplaceCV"],
            json={**(one.cv or {}), "ContactInformation": {}},
            headers={**whole.headers, "x-civilregistrationidentifier": one.person_number},
        )
    event = saved.raise_for_status().json()["ServiceReceipt"]["MessageIdentifier"]
    async with _connected(whole, "change-feed") as feed:
        seen = "select exists (select from seen_events where event_id = $1)"
        await eventually(lambda: feed.fetchval(seen, event), PATIENCE, timedelta(seconds=LOOK_SECONDS))
    fed = time.perf_counter() - begun
    await is_found(whole, console)
    return fed, time.perf_counter() - begun


def latencies(when: str, slices: Sequence[Samples]) -> list[Row]:
    rows = []
    for name in RATES:
        found = [one for samples in slices for one in samples[name]]
        ms = [latency * 1000 for _, latency, status, _ in found if status == 200]
        rows += [
            Row.alone(f"{when}: {name}, p50 ms", percentile(ms, 50)),
            Row.alone(f"{when}: {name}, p99 ms", percentile(ms, 99)),
            Row.alone(f"{when}: {name}, not 200 of {len(found):,}", len(found) - len(ms)),
        ]
    return rows


async def run(given: argparse.Namespace, console: Console, folder: Path) -> list[Row]:
    count = given.citizens
    file = folder / "citizens.ndjson"
    with console.status(f"{count:,} citizens are made"):
        await asyncio.to_thread(write, file, count)
    console.print(f" {count:,} lines, {file.stat().st_size / 1e9:.2f} GB")
    async with running(folder / "state", SERVED, console) as whole:
        await whole.load(1, WARM_UP, RATES)
        calm = await whole.load(1, CALM, RATES)
        loading, meanwhile = asyncio.create_task(load(whole, file, count)), []
        while not loading.done():
            meanwhile.append(await whole.load(1, SLICE, RATES))
        loaded = await loading
        console.print(f" Loaded in {loaded.seconds:.0f} s")
        fed, found = await caught_up(whole, console)
        afterwards = await whole.load(1, CALM, RATES)
    return [
        Row.alone(f"import of {count:,} citizens, one kill included, citizens/s", count / loaded.seconds),
        Row.alone("lines refused and reported", loaded.refused),
        *latencies("before", [calm]),
        *latencies("meanwhile", meanwhile),
        *latencies("afterwards", [afterwards]),
        Row.alone("after the import, the feed had all within s", fed),
        Row.alone("after the import, the search had all within s", found),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.loading", description=__doc__)
    parser.add_argument(
        "--citizens", type=int, default=100_000, help="so many citizens are loaded (default %(default)s)"
    )
    given, console = parser.parse_args(), Console()
    with tempfile.TemporaryDirectory(prefix="cvhub-loading-") as folder:
        rows = uvloop.run(run(given, console, Path(folder)))
    for row in rows:
        console.print(f" {row.name}: {row.ours:g}", highlight=False)
    Path("build").mkdir(exist_ok=True)
    Path("build/loading.json").write_text(json.dumps([row.to_json() for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
