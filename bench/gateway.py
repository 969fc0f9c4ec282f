"""P1: GetCV through the gateway against a bare FastAPI + asyncpg service; GetCvStatus and ReplaceCV beside it.

Both sides answer the same bodies from the same PostgreSQL to the same client, in turns, each alone on the machine.
Ours checks the token, decides access where the data are and writes a durable access row before each answer.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from bench.bare import CREATE
from bench.measured import Row, Servers
from bench.system import System
from cv_contracts.methods import METHODS
from servicekit.testing import free_port

CITIZENS = 10_000
REPLACED = 1_000
CONNECTIONS = 32
SECONDS, ROUNDS = 6.0, 4
LOAD = Path(__file__).with_name("load.py")
JOBNET = {"type": 101, "code": "1"}
STAR = {"type": 100, "code": "1"}
REPLACE_CV = "/v6/Cv"


async def run(servers: Servers) -> list[Row]:
    async with System.prepared(servers, "p1") as system:
        people = await system.fill(CITIZENS)
        await system.start_owners()
        await system.start_gateway()
        bare = await servers.database()
        system.ports["bare"] = free_port()
        await system.start("bare", "-m", "bench.bare", DSN=bare, PORT=str(system.ports["bare"]))
        await system.delivered()
        await system.until("cv-status", f"SELECT count(*) >= {CITIZENS} FROM citizens")
        numbers = [line["citizen"]["personNumber"] for line in people]
        get_cv = await _against(system, Read("GetCV", JOBNET, (bare, "cv"), goal=0.8), numbers)
        status = await _against(system, Read("GetCvStatus", STAR, (bare, "cvstatus")), numbers)
        replace = await _replace(system, people)
        servers.note(f"P1 memory after the load: {system.memory()}")
    return [get_cv, status, replace]


@dataclass(frozen=True, slots=True)
class Read:
    """A read that is measured; the bare service answers it from the table of `peer` (DSN, table)."""

    method: str
    organisation: Mapping[str, Any]
    peer: tuple[str, str]
    goal: float | None = None

    @property
    def path(self) -> str:
        return next(method.path for method in METHODS if method.name == self.method)


async def _against(system: System, read: Read, numbers: Sequence[str]) -> Row:
    name = f"P1 {read.method}"
    headers = system.headers(read.organisation)
    numbers = await _copy_answers(system, read, headers, numbers)
    await system.vacuumed()
    requests = [_request("GET", read.path, {**headers, "x-civilregistrationidentifier": n}) for n in numbers]
    rates: dict[str, list[float]] = {"gateway": [], "bare": []}
    told: dict[str, str] = {}
    for number in range(ROUNDS):
        for side in ("gateway", "bare") if number % 2 else ("bare", "gateway"):
            system.servers.say(f"{name}: {side}, round {number + 1} of {ROUNDS}")
            result = await _load(system, side, requests)
            rates[side].append(result["per_second"])
            told[side] = _told(result)
    for side, what in told.items():
        system.servers.note(f"{name}, {side}: {what}")
    return Row.against(f"{name} through the gateway, requests/s", rates["gateway"], rates["bare"], read.goal)


def _told(result: Mapping[str, Any]) -> str:
    """Say of one round how long an answer took, and how much processor time each process spent on it."""
    spent = ", ".join(f"{name} {us:.0f} µs" for name, us in result["cpu_us"].items() if us >= 1)
    return f"p50 {result['p50_ms']:.1f} ms, p99 {result['p99_ms']:.1f} ms; processor time per answer: {spent}"


async def _replace(system: System, people: Sequence[dict[str, Any]]) -> Row:
    """Replace the CVs of those who may be replaced, each with the CV that is there."""
    headers = {**system.headers(JOBNET), "content-type": "application/json"}
    requests: list[str] = []
    async with httpx.AsyncClient(base_url=system.url("gateway"), timeout=30, trust_env=False) as client:
        for line in people:
            if len(requests) == REPLACED:
                break
            if line.get("cv") is None:
                continue
            body = json.dumps({**line["cv"], "ContactInformation": {}}).encode()
            one = {**headers, "x-civilregistrationidentifier": line["citizen"]["personNumber"]}
            if (await client.put(REPLACE_CV, content=body, headers=one)).status_code == 200:
                requests.append(_request("PUT", REPLACE_CV, one, body))
    system.servers.say("P9 ReplaceCV through the gateway")
    result = await _load(system, "gateway", requests, connections=16)
    return Row.alone("P9 ReplaceCV through the gateway, 16 callers, writes/s", result["per_second"])


def _request(verb: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> str:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    length = f"content-length: {len(body)}\r\n" if body else ""
    return f"{verb} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{lines}{length}\r\n{body.decode()}"


async def _copy_answers(
    system: System, read: Read, headers: Mapping[str, str], numbers: Sequence[str]
) -> list[str]:
    """Give the bare service the very bodies that ours answers; citizens of whom there is none are left out."""
    rows: list[tuple[str, bytes]] = []
    async with httpx.AsyncClient(base_url=system.url("gateway"), timeout=30, trust_env=False) as client:

        async def copy(some: Sequence[str]) -> None:
            for number in some:
                answer = await client.get(
                    read.path, headers={**headers, "x-civilregistrationidentifier": number}
                )
                if answer.status_code == 200:
                    rows.append((number, answer.content))

        system.servers.say(f"{read.method}: the answers are copied for the peer")
        await asyncio.gather(*(copy(numbers[n::8]) for n in range(8)))
    if len(rows) < len(numbers) / 2:
        raise RuntimeError(f"only {len(rows)} of {len(numbers)} are answered")
    dsn, table = read.peer
    connection = await asyncpg.connect(dsn)
    await connection.execute(CREATE.format(table))
    await connection.copy_records_to_table(table, records=rows)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
    return [number for number, _ in rows]


async def _load(
    system: System, side: str, requests: Sequence[str], connections: int = CONNECTIONS
) -> dict[str, Any]:
    spec = system.folder / "load.json"
    asked = {"port": system.ports[side], "connections": connections, "seconds": SECONDS, "warm_up": 1.5}
    spec.write_text(json.dumps({**asked, "requests": requests}))
    before = system.processor_seconds()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(LOAD), str(spec), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    result: dict[str, Any] = json.loads(output)
    if result["failures"]:
        raise RuntimeError(f"{result['failures']} requests failed, the first: {result['first_failure']}")
    result["cpu_us"] = {
        name: (after - before[name]) / result["answers"] * 1e6
        for name, after in system.processor_seconds().items()
    }
    return result
