"""P7: a changed CV is found, and searches go on beside it, at 200 changes a second, over HTTP and Kafka.

One process of cv-search follows and writes, another answers.

Its two owners are a stand-in in this process, so that what is measured is cv-search's own work: record read, state fetched,
document made, index committed, found. A change counts as visible when a search for its new word answers with it.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import orjson

from bench.measured import Row, Servers
from bench.system import System
from cv_citizens.testing import JOBCENTER, a_caller
from cv_contracts.codelists import default
from cv_contracts.events.cv_registry import CitizenChanged, CVChanged
from cv_contracts.topics import topic_of
from cv_contracts.wire.replace_cv import ReplaceCVRequest
from cv_registry.content import content_json
from cv_search.document import Documents
from cv_search.testing import Owners, search_input
from cvhub.people import SEED
from cvhub.synthetic import citizens
from servicekit.data.postgres import migrate
from servicekit.follow.testing import EventLog
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually, free_port
from servicekit.web.identity import ServiceSigner, load_private_key

NAME, WRITER = "cv-search", "its writer"
CVS, MILLION_CVS = 30_000, 500_000
MADE = 3_000
"""Different CVs; more have the same content under other ids."""
RATE, SECONDS, ROUNDS = 200, 12.0, 3
LOOKED_FOR_EVERY, LOOK_AGAIN_AFTER = 0.25, 0.05
BEAT_EVERY = 5.0
LOOKS = 10
"""So often a word that never comes is looked for while nothing changes: about as often as one that does."""
DIFFERENT = 2_000
"""Different searches, far more than a reader remembers the groups of: what is measured is searching, not remembering."""


@dataclass
class _Copy:
    """One CV in the service's database, as its owner would tell it."""

    cv_id: UUID
    person_id: UUID
    content: dict[str, Any]
    version: int = 1


async def run(servers: Servers) -> list[Row]:
    async with System.prepared(servers, f"fresh{uuid4().hex[:6]}") as system:
        owners = Owners()
        await owners.start()
        system.stack.push_async_callback(owners.stop)
        dsn = await servers.database()
        await migrate(dsn, "cv_search.migrations")
        copies = await _fill(servers, dsn, MILLION_CVS if servers.million else CVS)
        begun = time.perf_counter()
        await _start(system, owners, dsn)
        built = time.perf_counter() - begun
        async with httpx.AsyncClient(base_url=system.url(NAME), timeout=30, trust_env=False) as client:
            rows = await _measured(servers, system, owners, copies, client)
        size = sum(file.stat().st_size for file in (system.folder / "index").rglob("*") if file.is_file())
        servers.note(f"P7 {len(copies):,} CVs: {size / 1e6:,.0f} MB of index; {system.memory()}")
        return [*rows, Row.alone("P7 documents made and indexed, CVs/s", len(copies) / built)]


async def _measured(
    servers: Servers, system: System, owners: Owners, copies: list[_Copy], client: httpx.AsyncClient
) -> list[Row]:
    search = _Search(system.folder / "gateway.pem", client)
    kafka = KafkaSettings(bootstrap_servers=servers.kafka.bootstrap_servers, topic_prefix=system.prefix)
    quiet, busy = [], []
    spent = {name: _Spent(system) for name in ("without changes", "with changes")}
    worker = _CaseWorker(system)
    async with EventLog(kafka, topic_of(CVChanged)) as log, _fresh(kafka, search):
        begin = len(await worker.searched(0, SECONDS / 4))
        changes = _Changes(owners, log, copies, search)
        for number in range(ROUNDS):
            servers.say(f"P7 round {number + 1} of {ROUNDS}")
            async with meanwhile(changes.look_for_nothing()), spent["without changes"].noted():
                without = await worker.searched(begin, SECONDS)
            async with meanwhile(changes.change(), changes.look()), spent["with changes"].noted():
                beside = await worker.searched(begin, SECONDS)
            # The same searches on both sides: a kind costs ten times what another does.
            same = min(len(without), len(beside))
            quiet.append(sorted(without[:same]))
            busy.append(sorted(beside[:same]))
            begin += max(len(without), len(beside))
    worker.close()
    visible = sorted(changes.visible)
    for name, one in spent.items():
        servers.note(f"P7 processor time {name}, of {ROUNDS * SECONDS:.0f} s: {one}")
    servers.note(
        f"P7 {changes.sent / (ROUNDS * SECONDS):.0f} changes/s were sent, {len(visible)} were looked for"
    )
    p95 = visible[len(visible) * 95 // 100]
    return [
        Row.alone("P7 a change is found after, p50 s", visible[len(visible) // 2]),
        Row.alone("P7 a change is found after, p95 s", p95, ("<=", 1.0)),
        _slower("p50", [one[len(one) // 2] for one in busy], [one[len(one) // 2] for one in quiet]),
        _slower(
            "p95", [one[len(one) * 95 // 100] for one in busy], [one[len(one) * 95 // 100] for one in quiet]
        ),
    ]


def _slower(name: str, busy: Sequence[float], quiet: Sequence[float]) -> Row:
    row = Row.against(f"P7 search {name} ms, with changes against without", busy, quiet)
    ratio = row.ratio or 0.0
    return Row(row.name, row.ours, row.peer, row.ratio, "<= 1.25x", ratio <= 1.25)


class _Search:
    """Searches as the gateway asks, one after the other."""

    def __init__(self, key: Path, client: httpx.AsyncClient) -> None:
        self._signer = ServiceSigner("gateway", load_private_key(key))
        self._client = client

    async def __call__(self, **wanted: Any) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self._signer.token(NAME, a_caller(JOBCENTER))}"}
        body = orjson.dumps({"searchInput": search_input(**wanted)})
        answer = await self._client.post("/v6/Cv/search", content=body, headers=headers)
        if answer.status_code != 200:
            raise RuntimeError(f"a search was answered {answer.status_code}")
        result: dict[str, Any] = orjson.loads(answer.content)["SearchCVTextResult"]
        return result


def _wishes() -> list[dict[str, Any]]:
    """Make up searches as case workers type them: of each kind as many, in a random order that is always the same."""
    lists, rng = default(), random.Random(7)  # noqa: S311
    titles = [one.title for one in lists.occupations.values()]
    skills = [one.name for one in lists.qualifications.values()]
    codes = [one.code for one in lists.postal_codes.values() if not one.box]

    def one(number: int) -> dict[str, Any]:
        near = {"CloseToPostalCode": rng.choice(codes)}
        match number % 6:
            case 0:
                return {"SearchString": rng.choice(titles)}
            case 1:
                return {"SearchString": rng.choice(skills), "ShowOnlyEnrolled": True}
            case 2:
                return {"SearchString": rng.choice(titles).split()[0], **near}
            case 3:
                return {"ShowOnlyEnrolled": True, **near}
            case 4:
                return {"SearchString": rng.choice(titles), "DriversLicenses": ["B"], "Languages": ["Dansk"]}
            case _:
                return {"SearchString": f"{rng.choice(titles)} {rng.choice(skills)}", **near}

    return [one(number) for number in range(DIFFERENT)]


class _CaseWorker:
    """Searches in a process of its own, so that no search waits for the one that makes the changes."""

    def __init__(self, system: System) -> None:
        self._url, self._key = system.url(NAME), system.folder / "gateway.pem"
        self._process = ProcessPoolExecutor(1, get_context("spawn"))

    async def searched(self, begin: int, seconds: float) -> list[float]:
        """Search for so long, beginning at one of the wishes; gives the times in ms, in their order."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._process, _searched, self._url, self._key, begin, seconds)

    def close(self) -> None:
        self._process.shutdown()


def _searched(url: str, key: Path, begin: int, seconds: float) -> list[float]:
    return asyncio.run(_searched_for(url, key, begin, seconds))


async def _searched_for(url: str, key: Path, begin: int, seconds: float) -> list[float]:
    took: list[float] = []
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        search, until = _Search(key, client), time.perf_counter() + seconds
        for wanted in itertools.islice(itertools.cycle(_wishes()), begin, None):
            begun = time.perf_counter()
            await search(**wanted)
            took.append((time.perf_counter() - begun) * 1000)
            if begun > until:
                break
    return took


class _Changes:
    """Changes CVs at the rate, and looks for some of them until they are found."""

    def __init__(self, owners: Owners, log: EventLog, copies: list[_Copy], search: _Search) -> None:
        self._owners = owners
        self._log = log
        self._copies = itertools.cycle(copies)
        self._search = search
        self.sent = 0
        self.visible: list[float] = []

    async def change(self) -> None:
        begun, sent = time.perf_counter(), 0
        while True:
            due = int((time.perf_counter() - begun) * RATE) - sent
            await self._log.send(*[self._replaced("ord") for _ in range(due)])
            sent += due
            await asyncio.sleep(0.005)

    async def look(self) -> None:
        while True:
            await asyncio.sleep(LOOKED_FOR_EVERY)
            word = _new_word()
            begun = time.perf_counter()
            await self._log.send(self._replaced(word))
            while not await self._is_found(word):  # noqa: ASYNC110 - in another process
                await asyncio.sleep(LOOK_AGAIN_AFTER)
            self.visible.append(time.perf_counter() - begun)

    async def look_for_nothing(self) -> None:
        while True:
            await asyncio.sleep(LOOKED_FOR_EVERY)
            word = _new_word()
            for _ in range(LOOKS):
                await self._is_found(word)
                await asyncio.sleep(LOOK_AGAIN_AFTER)

    async def _is_found(self, word: str) -> bool:
        """Look for exactly that word: in quotes no typo is forgiven, which would cost more than finding it."""
        return bool((await self._search(SearchString=f'"{word}"'))["CVPersons"])

    def _replaced(self, word: str) -> CVChanged:
        """Let the owner have the next CV anew; gives the record that tells of it."""
        copy = next(self._copies)
        copy.version += 1
        self.sent += 1
        text = f"{word} nummer {copy.version}"
        copy.content["CV"]["ProfessionalSummaryText"] = {"HTMLText": text, "PlainText": text}
        self._owners.put("cvs", copy.cv_id, copy.version, _state(copy))
        return CVChanged(
            id=uuid4(), subject=copy.cv_id, version=copy.version, time=datetime.now(UTC), change="replaced"
        )


def _new_word() -> str:
    return "nyt" + "".join(chr(ord("a") + int(digit, 16)) for digit in uuid4().hex[:12])


@asynccontextmanager
async def _fresh(kafka: KafkaSettings, search: "_Search") -> AsyncIterator[None]:
    """Say that all is heard of the citizens, as the registry does, so that nobody need be asked about them."""
    async with EventLog(kafka, topic_of(CitizenChanged)) as log:

        async def beat() -> None:
            while True:
                await log.beat()
                await asyncio.sleep(BEAT_EVERY)

        async with meanwhile(beat()):
            await eventually(lambda: search(ResultsPerPage=100))
            yield


@asynccontextmanager
async def meanwhile(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do this work meanwhile; raises what it raised."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


class _Spent:
    """How long each process kept a processor busy in all blocks so far."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._seconds: Counter[str] = Counter()

    @asynccontextmanager
    async def noted(self) -> AsyncIterator[None]:
        before = self._now()
        yield
        self._seconds += self._now() - before

    def _now(self) -> "Counter[str]":
        return Counter(self._system.processor_seconds() | {"measuring": time.process_time()})

    def __str__(self) -> str:
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self._seconds.items())


def _state(copy: _Copy) -> dict[str, Any]:
    return {
        "state": "ACTIVE",
        "personId": str(copy.person_id),
        "revisionDate": datetime.now(UTC).isoformat(),
        "content": copy.content,
    }


async def _fill(servers: Servers, dsn: str, count: int) -> list[_Copy]:
    """Put CVs into the service's tables as its projections would have."""
    servers.say(f"P7 {count:,} CVs")
    lists = default()
    made = [
        (
            one.citizen,
            orjson.loads(b"{" + content_json(ReplaceCVRequest.from_json(_body(one.cv)), lists) + b"}"),
        )
        for one in citizens(SEED, MADE)
        if one.cv is not None and one.cv_state == "ACTIVE" and not one.citizen.get("dead")
    ]
    documents, today = Documents(lists), datetime.now(UTC).date()
    made = [one for one in made if _is_searchable(documents, *one, today)]
    connection = await asyncpg.connect(dsn)
    await connection.execute(_LIVE)
    copies: list[_Copy] = []
    for begin in range(0, count, 5_000):
        some = [
            _copied(number, *made[number % len(made)]) for number in range(begin, min(begin + 5_000, count))
        ]
        for table, columns, rows in zip(
            _TABLES, _COLUMNS, zip(*(one[1] for one in some), strict=True), strict=True
        ):
            await connection.copy_records_to_table(table, records=rows, columns=columns)
        copies += [copy for copy, _ in some]
    await connection.execute("vacuum analyze")
    await connection.close()
    return copies


_LIVE = """
insert into projection_generations (projection, generation, status, snapshot_done)
values ('cvs', 1, 'live', true), ('statuses', 1, 'live', true), ('citizens', 1, 'live', true)
"""
_TABLES = ("cv_parts", "citizen_parts")
_COLUMNS = (("generation", "cv_id", "part"), ("generation", "person_id", "cv_id", "part"))


def _is_searchable(documents: Documents, citizen: dict[str, Any], content: dict[str, Any], day: date) -> bool:
    """Tell whether a search may find it at all: a change of any other is looked for in vain."""
    copy, citizen = (
        _Copy(uuid4(), uuid4(), content),
        {**citizen, "cvId": str(uuid4()), "cvNumber": "10000000"},
    )
    return documents.document(copy.cv_id, _state(copy), citizen, None, day) is not None


def _copied(number: int, citizen: dict[str, Any], content: dict[str, Any]) -> tuple[_Copy, Any]:
    copy = _Copy(uuid4(), uuid4(), {**content, "CV": dict(content["CV"])})
    part = {**citizen, "cvId": str(copy.cv_id), "cvNumber": str(10_000_000 + number)}
    rows = (
        (1, copy.cv_id, orjson.dumps(_state(copy))),
        (1, copy.person_id, copy.cv_id, orjson.dumps(part)),
    )
    return copy, rows


def _body(cv: dict[str, Any]) -> bytes:
    return orjson.dumps({**cv, "ContactInformation": {}})


async def _start(system: System, owners: Owners, dsn: str) -> None:
    """Start one process that follows and writes, and one that answers."""
    system.dsn[NAME] = dsn
    environment = system.surroundings(NAME) | {"REGISTRY_URL": owners.url, "STATUS_URL": owners.url}
    environment["INDEX__FOLDER"] = str(Path(system.folder) / "index")
    system.patience = 900
    system.ports[WRITER] = free_port()
    writer = environment | {"ROLE": "write", "HTTP__PORT": str(system.ports[WRITER])}
    await system.start(WRITER, "-m", "cv_search", **writer)
    await system.start(NAME, "-m", "cv_search", **environment, ROLE="search")
