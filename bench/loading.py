"""`python -m bench.loading`: a file of citizens is loaded while one of each service serves; the import is killed half-way and begun again.

GetCV and ReplaceCV come at a steady rate all the while, about citizens who were there before. At the end each copy is compared with
its owner. Prints a table, writes build/loading.json.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import orjson
import psutil
import uvloop
from rich.console import Console

from bench.judging import Samples, percentile
from bench.measured import Row
from bench.whole import Whole, running
from cvhub.keys import key_file
from cvhub.operator import Calls, Place
from cvhub.people import SEED
from cvhub.servers.guard import guard
from cvhub.services import SERVICES
from cvhub.synthetic import citizens
from servicekit.testing import eventually

REGISTRY, FEED = "cv-registry", "change-feed"
RATES = {"GetCV": 50, "ReplaceCV": 5}
SERVED, FIRST_LOADED = 5_000, 1_000_000
SPOILT_EVERY = 10_000
"""Each so many lines one is no citizen, for the report of refused lines."""
WARM_UP, CALM, SLICE = 5.0, 20.0, 10.0
LINES_REFUSED = 2
LOOK, PATIENCE, VERIFY_SECONDS = timedelta(seconds=0.5), timedelta(minutes=20), 300.0
OPERATIONS = "/internal/operations"


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
    async with _importing(whole, file) as first:
        while await _in_registry(whole, "select max(lines) from imports") < count // 2:
            if first.returncode is not None:
                raise RuntimeError(f"the import ended with {first.returncode} before it was half done")
            await asyncio.sleep(LOOK.total_seconds())
    async with _importing(whole, file) as second:
        code = await second.wait()
    seconds = time.perf_counter() - begun
    report = file.with_name(file.name + ".refused")
    refused = len(report.read_bytes().splitlines()) if report.exists() else 0
    if code != (LINES_REFUSED if refused else 0):
        raise RuntimeError(f"the import ended with {code}")
    return Loaded(seconds, refused)


@asynccontextmanager
async def _importing(whole: Whole, file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Import as long as the block lasts: who leaves it earlier kills the import."""
    registry = next(service for service in SERVICES if service.name == REGISTRY)
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


async def _in_registry(whole: Whole, query: str) -> int:
    registry = next(service for service in SERVICES if service.name == REGISTRY)
    connection = await asyncpg.connect(whole.stack.environment(registry)["POSTGRES__DSN"])
    try:
        return int(await connection.fetchval(query) or 0)
    finally:
        await connection.close()


def processor(whole: Whole) -> dict[str, float]:
    """Give the seconds of processor that each part has used, its children included."""
    used = {}
    for name, pid in whole.stack.supervisor.pids.items():
        process = psutil.Process(pid)
        used[name] = sum(_used(one) for one in (process, *process.children(recursive=True)))
    return used


def _used(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


async def agreements(whole: Whole) -> list[Row]:
    """Wait until each copy has all that its owner has; raises StillFailing where one never does."""
    urls = {service.name: f"http://127.0.0.1:{whole.stack.ports[service.name]}" for service in SERVICES}
    operator = Calls(Place(urls, key_file(whole.stack.state.keys, "operator")))
    begun, rows = time.perf_counter(), list[Row]()

    async def wait(what: str, check: Callable[[], Awaitable[None]]) -> None:
        await eventually(check, PATIENCE, LOOK)
        rows.append(Row.alone(f"after the last line, {what} within s", time.perf_counter() - begun))

    async def sent() -> None:
        assert await _in_registry(whole, "select count(*) from outbox") == 0

    await wait("all was sent", sent)
    for service, name in await asyncio.to_thread(_projections, operator):
        await wait(f"{service} had all ({name})", partial(_is_as_its_owner, operator, service, name))
    await wait("the feed had all", partial(_feed_is_as_its_owner, operator))
    return rows


def _projections(operator: Calls) -> list[tuple[str, str]]:
    found = []
    for service in (one.name for one in SERVICES if one.migrations):
        answer = operator("GET", service, f"{OPERATIONS}/projections").raise_for_status().json()
        found += [(service, row["name"]) for row in answer["projections"]]
    return found


async def _is_as_its_owner(operator: Calls, service: str, name: str) -> None:
    """Ask first how far it is, for comparing costs the more the more differs."""
    answer = await asyncio.to_thread(operator, "GET", service, f"{OPERATIONS}/projections")
    [row] = [row for row in answer.raise_for_status().json()["projections"] if row["name"] == name]
    assert (row["lag"], row["pending"]) == (0, 0)
    path = f"{OPERATIONS}/projections/{name}/verify"
    compared = await asyncio.to_thread(operator, "POST", service, path, timeout=VERIFY_SECONDS)
    if compared.status_code != httpx.codes.NOT_FOUND:
        assert compared.raise_for_status().json()["total"] == 0


async def _feed_is_as_its_owner(operator: Calls) -> None:
    path = f"{OPERATIONS}/feed/verify-owners"
    compared = await asyncio.to_thread(operator, "POST", FEED, path, timeout=VERIFY_SECONDS)
    assert compared.raise_for_status().json()["differences"] == []


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
    making = asyncio.create_task(asyncio.to_thread(write, file, count))
    async with running(folder / "state", SERVED, console) as whole:
        await making
        console.print(f" {count:,} lines, {file.stat().st_size / 1e9:.2f} GB")
        await whole.load(1, WARM_UP, RATES)
        calm = await whole.load(1, CALM, RATES)
        most, before, meanwhile = whole.memory(), processor(whole), list[Samples]()
        loading = asyncio.create_task(load(whole, file, count))
        while not loading.done():
            meanwhile.append(await whole.load(1, SLICE, RATES))
            most = {name: max(mb, most.get(name, 0)) for name, mb in whole.memory().items()}
        loaded = await loading
        console.print(f" Loaded in {loaded.seconds:.0f} s")
        agreed = await agreements(whole)
        used = {name: seconds - before[name] for name, seconds in processor(whole).items()}
        afterwards = await whole.load(1, CALM, RATES)
    return [
        Row.alone(f"import of {count:,} citizens, one kill included, citizens/s", count / loaded.seconds),
        Row.alone("lines refused and reported", loaded.refused),
        *latencies("before", [calm]),
        *latencies("meanwhile", meanwhile),
        *latencies("afterwards", [afterwards]),
        *agreed,
        *(Row.alone(f"processor, ms per citizen: {name}", s * 1000 / count) for name, s in used.items()),
        *(Row.alone(f"most memory, MB: {name}", mb) for name, mb in most.items()),
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
