"""`python -m bench.whole`: one of each service under load, then under three times the load, then at rest again.

500 GetCV/s, 100 writes/s, 10 searches/s by an open-loop client, 5 followers of the feed, and once a second a search that must
already find what was just written. Prints a table, writes build/load.json and docs/load.svg.
"""

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import psutil
import uvloop
from rich.console import Console

from bench.gateway import _request
from bench.judging import FOLLOWERS, OVER, RECOVERY_SECONDS, Samples, Watched, overload, usual
from bench.measured import Row, megabytes
from bench.plot import per_second, svg
from cv_contracts.methods import METHODS
from cvhub.filling import fill
from cvhub.idp.__main__ import client_secret
from cvhub.idp.client import fetch_token
from cvhub.people import SEED
from cvhub.ports import DEFAULT_PORTS
from cvhub.stack import Stack
from cvhub.state import State
from cvhub.steps import Steps
from cvhub.synthetic import SyntheticCitizen, citizens
from servicekit.testing import free_port

RATES = {"GetCV": 500, "ReplaceCV": 100, "SearchCVText": 10}
READ, WRITTEN = 5_000, 2_000
STATUSES = (1, 2)
MAIL = 3
MEMORY_EVERY = 5.0
"""Seconds between two looks at what each process takes."""
SCOPES = ["cv.read", "cv.write", "cv.search", "cv.changes", "cv.status", "contact.write"]
RAMP, WARM_UP = 5.0, 30.0
"""Seconds of half the load, then of all of it, before anything counts: until then code is compiled and caches fill."""
WORDS = ("lager", "sygeplejerske", "tømrer", "kontor", "salg", "chauffør", "pædagog", "rengøring")
CLIENT = Path(__file__).with_name("open_load.py")
PLOT = Path("docs/load.svg")
PATHS = {method.name: method.path for method in METHODS}


@dataclass(frozen=True, slots=True)
class Whole:
    """The running system and who calls it."""

    stack: Stack
    headers: Mapping[str, str]
    people: Sequence[SyntheticCitizen]

    @property
    def port(self) -> int:
        return self.stack.ports["gateway"]

    def memory(self) -> dict[str, int]:
        return {name: megabytes(pid) for name, pid in self.stack.supervisor.pids.items()}

    async def load(self, times: float, seconds: float, rates: Mapping[str, int] = RATES) -> Samples:
        """Run the client; gives what became of each request."""
        spec = self.stack.state.folder / "load.json"
        streams = [
            {"name": name, "per_second": rate * times, "requests": self._requests(name)}
            for name, rate in rates.items()
        ]
        spec.write_text(json.dumps({"port": self.port, "seconds": seconds, "streams": streams}))
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(CLIENT), str(spec), stdout=asyncio.subprocess.PIPE, limit=2**30
        )
        output, _ = await process.communicate()
        found: Samples = json.loads(output)
        return found

    def _requests(self, name: str) -> list[str]:
        if name == "GetCV":
            return [_request("GET", PATHS[name], self._of(one)) for one in self.people[:READ]]
        if name == "ReplaceCV":
            return [self._replace(one) for one in self.people[-WRITTEN:]]
        if name == "SetCvStatus":
            return [self._set_status(one, status) for status in STATUSES for one in self.people[-WRITTEN:]]
        if name == "SavePersonContactData":
            return [self._save_mail(one, n) for n, one in enumerate(self.people[-WRITTEN:])]
        return [_request("POST", PATHS[name], self.headers, search_body(word)) for word in WORDS]

    def _replace(self, one: SyntheticCitizen) -> str:
        body = json.dumps({**(one.cv or {}), "ContactInformation": {}}).encode()
        return _request("PUT", PATHS["ReplaceCV"], self._of(one), body)

    def _set_status(self, one: SyntheticCitizen, status: int) -> str:
        set_ = {
            "PersonCivilRegistrationIdentifier": one.person_number,
            "CvCustomerIdentifier": one.cv_number,
            "CvStatusIdentifier": status,
        }
        return _request(
            "POST", PATHS["SetCvStatus"], self.headers, json.dumps({"CvStatusSet": set_}).encode()
        )

    def _save_mail(self, one: SyntheticCitizen, number: int) -> str:
        mail = {"PersonContactData": f"borger{number}@example.com", "PersonContactDataTypeIdentifier": MAIL}
        body = json.dumps({"PersonContactDataCollection": [mail]}).encode()
        return _request("POST", PATHS["SavePersonContactData"], self._of(one), body)

    def _of(self, one: SyntheticCitizen) -> dict[str, str]:
        return {**self.headers, "x-civilregistrationidentifier": one.person_number}


def search_body(text: str) -> bytes:
    given = {
        "Id": "00000000-0000-0000-0000-000000000000",
        "GroupLimit": 64,
        "ShowOnlyEnrolled": False,
        "PageNumber": 1,
        "ResultsPerPage": 25,
        "OrganisationCode": 0,
        "OrganisationTypeIdentifier": 0,
        "IsDateIntervalSpecified": False,
        "UpdatedBefore": "2100-01-01T00:00:00Z",
        "UpdatedLaterThan": "2000-01-01T00:00:00Z",
        "SearchString": text,
    }
    return json.dumps({"searchInput": given}).encode()


@asynccontextmanager
async def running(folder: Path, number: int, console: Console) -> AsyncIterator[Whole]:
    """Start one of each service, filled with so many citizens."""
    state = State(folder)
    state.prepare()
    steps = Steps(console)
    stack = Stack(state, {name: free_port() for name in DEFAULT_PORTS}, steps)
    try:
        await asyncio.to_thread(stack.start)
        await asyncio.to_thread(fill, stack, steps, number)
        people = [
            one
            for one in citizens(SEED, number)
            if one.cv_state == "ACTIVE" and not one.citizen.get("dead") and not one.case
        ]
        whole = Whole(stack, await asyncio.to_thread(_headers, stack), people)
        await is_found(whole, console)
        yield whole
    finally:
        await asyncio.to_thread(stack.stop)


def _headers(stack: Stack) -> dict[str, str]:
    token = fetch_token(
        f"http://127.0.0.1:{stack.ports['idp']}",
        client_secret(stack.state.idp),
        organisations=["101:1"],
        scopes=SCOPES,
        own=None,
    )
    return {
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "x-activeorganisation-type": "101",
        "x-activeorganisation-code": "1",
        "x-requestuser-name": "Load",
        "x-requestuser-type": "2",
        "x-requestuser-identifier": "load",
    }


def _client(whole: Whole, timeout: float) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{whole.port}", timeout=timeout, trust_env=False)


async def is_found(whole: Whole, console: Console) -> None:
    """Wait until the search index and the feed have all that was imported: a write is found, and comes out of the feed."""
    with console.status("The search index and the feed take in what was imported"):
        async with _client(whole, timeout=15) as client:
            for _ in range(2_000):
                watched = Watched()
                await _probe(whole, client, watched)
                if watched.found and watched.found[0] < 1:
                    return
                await asyncio.sleep(0.5)
    raise RuntimeError("the followers never caught up")


async def _probe(whole: Whole, client: httpx.AsyncClient, watched: Watched) -> None:
    """Write, and search with the write's consistency token: the answer waits until the index has the write."""
    one = whole.people[secrets.randbelow(WRITTEN) - WRITTEN]
    body = json.dumps({**(one.cv or {}), "ContactInformation": {}}).encode()
    headers = {**whole.headers, "x-civilregistrationidentifier": one.person_number}
    saved = await client.put(PATHS["ReplaceCV"], content=body, headers=headers)
    if saved.status_code != 200:
        return
    token = {"x-consistency-token": saved.headers["x-consistency-token"]}
    begun = time.perf_counter()
    while time.perf_counter() - begun < 60:
        found = await client.post(
            PATHS["SearchCVText"], content=search_body("lager"), headers={**whole.headers, **token}
        )
        if found.status_code == 200:
            watched.found.append(time.perf_counter() - begun)
            return
        await asyncio.sleep(0.05)


async def _probing(whole: Whole, watched: Watched) -> None:
    async with _client(whole, timeout=15) as client:
        while True:
            try:
                await _probe(whole, client, watched)
            except httpx.HTTPError as error:
                watched.failures.append(type(error).__name__)
            await asyncio.sleep(1)


async def _following(whole: Whole, watched: Watched) -> None:
    """Follow the feed from its end, and note how old each event is when it comes."""
    async with _client(whole, timeout=65) as client:
        snapshot = await client.get("/v1/feed/cv/snapshot?limit=1", headers=whole.headers)
        after = snapshot.raise_for_status().json()["position"]
        while True:
            answer = await client.get(
                "/v1/feed/cv", params={"lastEventId": after, "timeout": 20_000}, headers=whole.headers
            )
            if answer.status_code != 200:
                watched.failures.append(f"feed {answer.status_code}")
                await asyncio.sleep(1)
                continue
            now = time.time()
            watched.followed += [
                now - datetime.fromisoformat(one["time"]).timestamp() for one in answer.json()
            ]
            after = answer.headers["x-feed-to"]


async def _looking_at_memory(whole: Whole, watched: Watched) -> None:
    while True:
        try:
            watched.memory.append(await asyncio.to_thread(whole.memory))
        except psutil.NoSuchProcess as error:
            watched.failures.append(type(error).__name__)
        await asyncio.sleep(MEMORY_EVERY)


@asynccontextmanager
async def watching(whole: Whole) -> AsyncIterator[Watched]:
    watched = Watched()
    tasks = [asyncio.create_task(_following(whole, watched)) for _ in range(FOLLOWERS)]
    tasks += [asyncio.create_task(one(whole, watched)) for one in (_probing, _looking_at_memory)]
    try:
        yield watched
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                watched.failures.append(f"{type(ended).__name__}: {ended}"[:200])


def _plot(phases: Sequence[tuple[str, float, Samples]]) -> str:
    lines: dict[str, list[tuple[float, float]]] = {f"{name} p99": [] for name in RATES}
    marks, begun = {}, 0.0
    for title, seconds, samples in phases:
        marks[title] = begun
        for name, found in samples.items():
            answered = [(begun + at, took) for at, took, status, _ in found if status == 200]
            lines[f"{name} p99"] += per_second(answered, 99)
        begun += seconds
    return svg("Latency of accepted requests, from the moment each was due", lines, marks)


async def run(given: argparse.Namespace, console: Console) -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="cvhub-load-"))
    async with running(given.kept or folder, given.citizens, console) as whole:
        await whole.load(0.5 * given.factor, RAMP)
        await whole.load(given.factor, WARM_UP)
        async with watching(whole) as watched:
            console.print(f" The load, {given.seconds:.0f} s")
            first = await whole.load(given.factor, given.seconds)
        console.print(f" Three times the load, {given.over:.0f} s, then the load again")
        second = await whole.load(OVER * given.factor, given.over)
        third = await whole.load(given.factor, 2 * RECOVERY_SECONDS)
    console.print(f" {watched.failures[:5]} {watched.grown()}", highlight=False)
    plot = _plot([("load", given.seconds, first), ("3x", given.over, second), ("load again", 0, third)])
    await asyncio.to_thread(PLOT.write_text, plot)
    return [*usual(first, watched), *overload(second, third)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.whole", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="of the load (default %(default)s)")
    parser.add_argument(
        "--over", type=float, default=30, help="of three times the load (default %(default)s)"
    )
    parser.add_argument(
        "--citizens", type=int, default=100_000, help="so many citizens (default %(default)s)"
    )
    parser.add_argument(
        "--factor",
        type=float,
        default=1,
        help="share of the load that is the load here (default %(default)s)",
    )
    parser.add_argument("--kept", type=Path, help="fills there once, and only measures the next time")
    console = Console()
    rows = uvloop.run(run(parser.parse_args(), console))
    for row in rows:
        met = {True: "met", False: "missed", None: ""}[row.met]
        console.print(f" {row.name}: {row.ours:g}  {row.goal or ''} {met}", highlight=False)
    Path("build").mkdir(exist_ok=True)
    Path("build/load.json").write_text(json.dumps([row.to_json() for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
