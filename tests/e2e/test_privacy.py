"""Nothing personal leaves the owners' databases: not into logs, spans, metrics, URLs, Kafka or temporary files.

A busy and unlucky system is watched: right calls, wrong calls with personal data in every place, refused callers, parts
that are killed. Then everything it said is searched; and to show that the search finds, one citizen is planted.
"""

import asyncio
import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote_plus

import httpx
import pytest
from tests.e2e.caller import JOBNET, Caller, cv_saying, population
from tests.e2e.collector import Collector, exported
from tests.e2e.door import Door
from tests.e2e.leaks import leaks
from tests.e2e.needles import Leak, Needles, needles_of
from tests.e2e.right_and_wrong import (
    IN_A_QUERY,
    MAIL,
    OWN_MAIL,
    OWN_PHONE,
    PHONE,
    REQUEST_ID,
    USER,
    USER_NAME,
    WORST,
    WRITTEN,
    contact_calls,
    right,
    right_and_wrong_calls,
    search_calls,
    soap_calls,
    status_and_feed_calls,
    wrong,
)
from tests.e2e.system import REGISTRY, DrilledStack, System
from typer.testing import CliRunner

from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.topics import topic_of
from cvhub.cli import app
from cvhub.people import SEED
from cvhub.services import HOLDERS, SERVICES, SINKS, Service
from cvhub.state import State
from cvhub.synthetic import SyntheticCitizen, citizens
from servicekit.kafka import producer
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually
from servicekit.web.tls import trusting

pytestmark = pytest.mark.timeout(400)

CITIZENS = 150
PLACES = (
    "log gateway.log",
    "log postgres.log",
    "telemetry /v1/traces",
    "telemetry /v1/metrics",
    "URL cv-registry",
    "URL cv-search",
    "Kafka key",
    "Kafka header",
    "Kafka value",
    "file leftover",
)
KINDS = {
    *("person number", "CV number", "name", "date of birth", "address", "e-mail", "phone", "text", "title"),
    "link",
}
PARTS = (*HOLDERS, SINKS)
"""Whom others call inside the system."""


@dataclass(frozen=True)
class Watched:
    """A system, and what it says to the outside; `doors` stand before the parts that others call."""

    system: System
    collector: Collector
    doors: Mapping[str, Door]

    async def leaks(self, needles: Needles) -> set[Leak]:
        return await leaks(needles, self.system, self.collector, self.doors)

    def operator(self, *command: str, told: str = "") -> int:
        """Do what an operator does from a terminal; gives the exit code."""
        urls = {part: door.url for part, door in self.doors.items() if part != SINKS}
        environment = self.system.operator_environment() | {
            "CVHUB_SERVICES": json.dumps(urls),
            "CVHUB_ERASURES": str(self.system.temporary / "orders.sqlite3"),
        }
        return CliRunner().invoke(app, command, input=told, env=environment).exit_code


class StackBehindDoors(DrilledStack):
    """A stack in which each part is called by its door."""

    def __init__(self, state: State, more: Mapping[str, str], doors: Mapping[str, Door]) -> None:
        super().__init__(state, more)
        self._doors = {f"http://127.0.0.1:{self.ports[part]}": door for part, door in doors.items()}
        for part, door in doors.items():
            door.servers = [self.ports[part]]

    def environment(self, service: Service) -> dict[str, str]:
        settings = super().environment(service)
        return settings | {
            name: door.url + value.removeprefix(url)
            for name, value in settings.items()
            for url, door in self._doors.items()
            if value == url or value.startswith(f"{url}/")
        }


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with Collector() as collector, ExitStack() as opened:
        doors = {part: opened.enter_context(Door(keeps=True)) for part in PARTS}
        settings = {
            "TELEMETRY__OTLP_ENDPOINT": collector.url,
            "TELEMETRY__SAMPLE_RATIO": "1",
            "TELEMETRY__METRICS_INTERVAL": "PT1S",
            "TELEMETRY__LOG_LEVEL": "debug",
        }
        system = System(CITIZENS, settings, partial(StackBehindDoors, doors=doors))
        try:
            system.start()
            yield Watched(system, collector, doors)
        finally:
            system.stop()


@pytest.fixture
def jobnet(watched: Watched, http: httpx.AsyncClient) -> Caller:
    return Caller(watched.system, http, client="one-system", user=USER, user_name=USER_NAME)


def _garbage(port: int, one: SyntheticCitizen) -> None:
    """Say what is not HTTP."""
    number = one.person_number.encode()
    for said in (
        number + b"\r\n\r\n",
        b"GET /v6/Cv HTTP/1.1\r\n" + number + b"\r\n\r\n",
        b"GET /v6/Cv HTTP/9.9\r\nhost: " + number + b"\r\n\r\n",
        b"PUT /v6/Cv HTTP/1.1\r\nhost: x\r\ncontent-length: " + number + b"x\r\n\r\n" + number,
        b"PUT /v6/Cv HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + number + b"z\r\n\r\n",
        b"\x16\x03\x01" + number,
    ):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.settimeout(1)
            connection.sendall(said)
            connection.recv(4096)


async def _intake(watched: Watched, http: httpx.AsyncClient, path: str, *bodies: Any) -> list[httpx.Response]:
    """Tell the registry of citizens all at once, as their source does."""
    token = watched.system.signer("citizen-intake").token(REGISTRY, None)
    url = f"{watched.doors[REGISTRY].url}/internal/citizens{path}"
    headers = {"authorization": f"Bearer {token}"}
    return list(await asyncio.gather(*(http.post(url, json=body, headers=headers) for body in bodies)))


async def _take_in(watched: Watched, http: httpx.AsyncClient, deliveries: list[Any]) -> None:
    """Deliver them: of those who all have one number, one is the first."""
    bodies = ({"citizens": some} for some in deliveries)
    *taken, of_text, empty = await _intake(watched, http, "", *bodies)
    outcomes = [one["outcome"] for answer in taken for one in right(answer).json()["results"]]
    assert outcomes.count("refused") >= len(outcomes) - 1
    wrong(of_text)
    wrong(empty)


def _deliveries(one: SyntheticCitizen, others: list[SyntheticCitizen]) -> list[Any]:
    """Give citizens that are refused: wrong values, and numbers that belong to somebody else."""
    wrong = [
        {**one.citizen, "gender": one.name},
        {**one.citizen, "personNumber": one.name},
        {**one.citizen, one.person_number: 1},
        {**one.citizen, "address": one.citizen["address"]["addressLine"]},
        {**one.citizen, "cvNumber": one.person_number},
        {"familyName": one.name},
    ]
    taken = [{**other.citizen, "cvNumber": one.cv_number, "sourceVersion": 2} for other in others]
    fresh = [one.citizen for one in citizens(SEED, 10, start=800_000)]
    same_number = [{**citizen, "cvNumber": "12131415"} for citizen in fresh]
    return [wrong, *([citizen] for citizen in taken), *([citizen] for citizen in same_number), [WRITTEN], []]


def _import_of_bad_lines(system: System, one: SyntheticCitizen) -> None:
    folder = system.folder / "import"
    folder.mkdir(exist_ok=True)
    file = folder / "bad.ndjson"
    line = one.import_line()
    bad = [
        {**line, "citizen": {**one.citizen, "gender": one.name}},
        {**line, "cv": {one.person_number: 1}},
        {one.name: 1},
        {**line, "citizen": {**one.citizen, "cvNumber": population(120)[0].cv_number}},
    ]
    file.write_text("".join(json.dumps(entry) + "\n" for entry in bad) + one.name + "\n")
    service = next(service for service in SERVICES if service.name == REGISTRY)
    said = system.state.logs / "import-bad.log"
    with said.open("wb") as log:
        environment = system.stack.environment(service)
        command = [*service.command, "import", str(file)]
        subprocess.run(command, env=environment, stdout=log, stderr=log, check=False, timeout=60)  # noqa: S603
    assert f" {len(bad) + 1} refused" in said.read_text()


async def _without(watched: Watched, part: str, caller: Caller, one: SyntheticCitizen) -> None:
    """Call while a part is down. Without Kafka only those wait who follow."""
    status = httpx.codes.OK if part == "Kafka" else httpx.codes.SERVICE_UNAVAILABLE
    await asyncio.to_thread(watched.system.kill, part)
    for answer in (
        await caller.get_cv(one.person_number),
        await caller.replace_cv(one.person_number, cv_saying(f"<p>{WRITTEN}</p>", one)),
        await caller.by_number(one.cv_number),
    ):
        assert answer.status_code == status, (part, answer.status_code)
    await asyncio.to_thread(watched.system.revive, part)


async def _merges(
    watched: Watched, http: httpx.AsyncClient, one: SyntheticCitizen, other: SyntheticCitizen
) -> None:
    """Close one person in favour of another, and fail to."""

    def merger(stays: str, goes: str) -> dict[str, str]:
        return {"personNumber": stays, "mergedPersonNumber": goes, "reason": "én person", "by": "kilden"}

    number, name = one.person_number, one.name
    wrongs = (merger(number, number), merger(number, WORST), merger(name, number), {name: WRITTEN})
    for refused in await _intake(watched, http, "/merge", *wrongs):
        wrong(refused)
    for merged in await _intake(watched, http, "/merge", merger(number, other.person_number)):
        right(merged)


def _operator(watched: Watched, one: SyntheticCitizen) -> None:
    """Ask why a caller may see a citizen and who has looked, erase the citizen; and try it with nobody."""
    number = one.person_number
    explain = ("explain", "GetCV", "--as", JOBNET, "--citizen")
    assert watched.operator(*explain, "-", told=number) == 0
    assert watched.operator("access-log", "list", "-", told=number) == 0
    for nobody in (WORST, one.name):
        assert watched.operator(*explain, nobody) == 1
        assert watched.operator("erase", nobody, "--reason", "bedt om") == 1
    assert watched.operator("erase", "-", "--reason", "bedt om", told=number) == 0


async def test_a_busy_and_unlucky_system_says_nothing_personal(
    watched: Watched, jobnet: Caller, http: httpx.AsyncClient
) -> None:
    system, persons = watched.system, population(CITIZENS)
    for one in persons[:3]:
        await right_and_wrong_calls(jobnet, one)
    await contact_calls(jobnet, persons[3])
    await status_and_feed_calls(jobnet, persons[3])
    await search_calls(jobnet, persons[4])
    await soap_calls(jobnet, persons[5])
    await _take_in(watched, http, _deliveries(persons[0], persons[1:6]))
    await _merges(watched, http, *persons[12:14])
    await asyncio.to_thread(_operator, watched, persons[14])
    for port in (system.stack.ports["gateway"], system.stack.ports[REGISTRY]):
        await asyncio.to_thread(_garbage, port, persons[0])
    await asyncio.to_thread(_import_of_bad_lines, system, persons[7])
    for part in (REGISTRY, "PostgreSQL", "Kafka"):
        await _without(watched, part, jobnet, persons[11])
    for part in ("gateway", REGISTRY):
        await asyncio.to_thread(system.terminate, part)
        await asyncio.to_thread(system.revive, part)
    await _everything_was_told(watched)
    everybody = [*citizens(SEED, CITIZENS), *citizens(SEED, 10, start=800_000)]
    needles = needles_of(
        everybody,
        user=[USER, USER_NAME, "Vandrefalk"],
        text=[WRITTEN],
        phone=[f"+45{PHONE}", f"+45{OWN_PHONE}"],
        mail=[OWN_MAIL],
        query=[IN_A_QUERY],
        unexpected=[WORST, REQUEST_ID, MAIL, "12131415"],
    )
    assert await watched.leaks(needles) == set()


async def _everything_was_told(watched: Watched) -> None:
    """Wait until all services have told spans and metrics, and all were called: a silent system would prove nothing."""

    def told() -> None:
        names = {service.name for service in SERVICES}
        for path in ("/v1/traces", "/v1/metrics"):
            assert watched.collector.services(path) >= names, path
        assert b"http.route" in b"".join(watched.collector.of("/v1/traces"))
        for part, door in watched.doors.items():
            assert door.targets(), part

    await eventually(told)


async def test_the_search_finds_each_sort_of_what_is_personal_in_each_kind_of_place(watched: Watched) -> None:
    one = _planted()
    needles = needles_of([one])
    assert await watched.leaks(needles) == set()
    said = _said_of(one)
    for place in PLACES:
        await _plant(watched, place, list(said.values()))
    found = {(leak.place, leak.kind) for leak in await watched.leaks(needles)}
    for place in PLACES:
        assert {kind for where, kind in found if where.startswith(place)} >= said.keys(), place


def _planted() -> SyntheticCitizen:
    """Give a citizen whom nobody has registered, of whom there is everything to be told."""
    found = citizens(SEED, 100, start=900_000)
    return next(one for one in found if one.cv and one.cv_number and _said_of(one).keys() == KINDS)


def _said_of(one: SyntheticCitizen) -> dict[str, str]:
    """Give what a careless part would say about somebody, by kind."""
    cv: Any = one.cv
    written, contact = cv["CV"], cv["ContactInformation"]
    said = {
        "person number": one.person_number,
        "CV number": one.cv_number,
        "name": one.name,
        "date of birth": one.citizen["dateOfBirth"],
        "address": one.citizen["address"]["addressLine"],
        "e-mail": contact.get("E-mail"),
        "phone": next(iter(contact.get("PhoneNumber", [])), None),
        "text": written["ProfessionalSummaryText"]["HTMLText"],
        "title": next((job["JobTitle"] for job in written["PreviousJobExperienceCollection"]), None),
        "link": next(iter(written["OtherCVReferenceCollection"]), None),
    }
    return {kind: text for kind, text in said.items() if text}


async def _plant(watched: Watched, place: str, texts: list[str]) -> None:
    """Let a place say these texts as it would: escaped in a log or a URL, right behind their length in a message."""
    system = watched.system
    kind, _, name = place.partition(" ")
    if kind == "log":
        with (system.state.logs / name).open("a") as log:
            log.writelines(json.dumps({"event": text.lower()}) + "\n" for text in texts)
    elif kind == "telemetry":
        async with httpx.AsyncClient(trust_env=False, verify=trusting()) as http:
            await http.post(watched.collector.url + name, content=exported(name, texts))
    elif kind == "URL":
        async with httpx.AsyncClient(trust_env=False, verify=trusting()) as http:
            for text in texts:
                await http.get(f"{watched.doors[name].url}/?citizen={quote_plus(text)}")
    elif kind == "file":
        (system.temporary / name).write_text("\n".join(texts))
    else:
        await _plant_records(system, name, texts)


async def _plant_records(system: System, where: str, texts: list[str]) -> None:
    settings = KafkaSettings(bootstrap_servers=system.stack.bootstrap_servers)
    async with producer(settings, "planter") as sender:
        for text in map(str.encode, texts):
            await sender.send_and_wait(
                topic_of(CVChanged).name,
                key=text if where == "key" else b"k",
                value=text if where == "value" else b"{}",
                headers=[("ce_subject", text)] if where == "header" else [],
            )
