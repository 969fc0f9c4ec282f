"""Nothing personal leaves the owners' databases: not into logs, spans, metrics, URLs, Kafka or temporary files.

A busy and unlucky system is watched: right calls, wrong calls with personal data in every place, refused callers, parts
that are killed. Then everything it said is searched; and to show that the search finds, one citizen is planted.
"""

import asyncio
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.e2e.caller import JOBCENTER, STRANGER, Caller, cv_saying, population
from tests.e2e.collector import Collector
from tests.e2e.door import Door
from tests.e2e.leaks import Leak, Needles, leaks, needles_of
from tests.e2e.system import REGISTRY, System

from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.topics import topic_of
from cvhub.people import SEED
from cvhub.services import SERVICES
from cvhub.synthetic import SyntheticCitizen, citizens
from servicekit.kafka import producer
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually
from servicekit.web.tls import trusting

pytestmark = pytest.mark.timeout(400)

CITIZENS = 150
USER, USER_NAME = "medarbejder-qz7", "Hjørdis Vandrefalk"
WRITTEN = "Jeg har fisket ved Skagen"
MAIL, PHONE = "hjoerdis.vandrefalk@example.org", "20304051"
OWN_MAIL, OWN_PHONE = "hjoerdis.skagen@example.org", "26304052"
REQUEST_ID = "anmodning-0202029999"
EVERYBODY = {
    "Id": "00000000-0000-0000-0000-000000000000",
    "GroupLimit": 64,
    "ShowOnlyEnrolled": False,
    "PageNumber": 1,
    "ResultsPerPage": 20,
    "OrganisationCode": 0,
    "OrganisationTypeIdentifier": 0,
    "IsDateIntervalSpecified": False,
    "UpdatedBefore": "2100-01-01T00:00:00Z",
    "UpdatedLaterThan": "2000-01-01T00:00:00Z",
}
WORST = "0202029999"
"""A person number that is in no register, in places where nobody expects one."""


@dataclass(frozen=True)
class Watched:
    """A system, and what it says to the outside."""

    system: System
    collector: Collector
    door: Door

    async def leaks(self, needles: Needles) -> set[Leak]:
        return await leaks(needles, self.system, self.collector, self.door)


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with Collector() as collector, Door(keeps=True) as door:
        system = System(
            CITIZENS,
            {
                "TELEMETRY__OTLP_ENDPOINT": collector.url,
                "TELEMETRY__SAMPLE_RATIO": "1",
                "TELEMETRY__METRICS_INTERVAL": "PT1S",
                "TELEMETRY__LOG_LEVEL": "debug",
            },
        )
        system.stack.of_service["gateway"] = {"OWNERS__CV_REGISTRY": door.url}
        door.servers = [system.stack.ports[REGISTRY]]
        try:
            system.start()
            yield Watched(system, collector, door)
        finally:
            system.stop()


@pytest.fixture
def jobnet(watched: Watched, http: httpx.AsyncClient) -> Caller:
    return Caller(watched.system, http, client="one-system", user=USER, user_name=USER_NAME)


def _planted() -> SyntheticCitizen:
    """Give a citizen whom nobody has registered."""
    return next(citizens(SEED, 1, start=900_000))


def _unlucky_bodies(one: SyntheticCitizen) -> Iterator[Any]:
    """Give bodies of ReplaceCV that are refused, with personal data where it does not belong."""
    cv = cv_saying(f"<p>{WRITTEN}</p>", one)
    yield json.dumps(cv).encode()[:-20]
    yield b"\xff\xfe" + one.name.encode()
    yield {**cv, one.person_number: one.name}
    yield {**cv, "CV": {**cv["CV"], one.name: WRITTEN}}
    yield {**cv, "JobConditions": {"FullTimeEmployment": one.person_number}}
    yield {**cv, "JobTargetCollection": [{"OccupationTaxonomyReference": WRITTEN}]}
    yield {**cv, "CV": {**cv["CV"], "DriverLicenseCollection": [{"Code": one.cv_number}]}}
    yield {**cv, "CV": {**cv["CV"], "LanguageSkillCollection": [{"Code": one.name, "Level": MAIL}]}}
    yield {**cv, "ContactInformation": {"E-mail": MAIL, "PhoneNumber": [f"+45{PHONE}"]}}
    yield {**cv, "ContactInformation": {"E-mail": WRITTEN, "PhoneNumber": [one.name]}}
    yield [one.person_number, WRITTEN]
    yield one.name
    yield cv_saying(WRITTEN * 100_000, one)


async def _right_and_wrong_calls(caller: Caller, one: SyntheticCitizen) -> None:
    person = one.person_number
    baggage = {
        "baggage": f"cpr={WORST}",
        "tracestate": f"a={WORST}",
        "user_agent": f"{USER_NAME} {WORST}".encode("ascii", "ignore").decode(),
    }
    written = await caller.replace_cv(
        person, cv_saying(f"<p>{WRITTEN}</p>", one), x_requestid=REQUEST_ID, **baggage
    )
    token = written.headers.get("x-consistency-token")
    center = caller.acting(JOBCENTER)
    for headers in (
        {},
        {"x_consistency_token": token},
        {"x_consistency_token": WORST},
        {"if_none_match": WORST},
    ):
        await caller.get_cv(person, **headers)
    for body in _unlucky_bodies(one):
        await caller.replace_cv(person, body)
        await caller.asylum("POST", person, body)
        await center.asylum("PUT", person, body)
        await caller.call("POST", "/v6/Cv/bynumber", None, body)
        await caller.call("POST", "/v1/kontaktinformation", person, body)
    for consent in (True, False):
        await caller.by_number(one.cv_number, consent=consent)
    await caller.acting(STRANGER).get_cv(person)
    await caller.acting("1:53").get_cv(person)
    await caller.acting("24:87654321").get_cv(person)
    for wrong in (f"{person[:6]}-{person[6:]}", person + "1", one.cv_number, f"{person}, {WORST}", WORST):
        await caller.get_cv(wrong)
        await caller.replace_cv(wrong, cv_saying(f"<p>{WRITTEN}</p>", one))
    await caller.replace_cv(person, cv_saying("<p>x</p>", one), if_match=WORST)
    await caller.replace_cv(person, cv_saying("<p>x</p>", one), x_requestid=REQUEST_ID)
    for name in ("authorization", "x_activeorganisation_code", "x_requestuser_type", "x_deadline_ms"):
        await caller.get_cv(person, **{name: f"Bearer {person}" if name == "authorization" else person})
    await caller.call("GET", f"/v6/Cv/{person}")
    await caller.call(f"X{person}", "/v6/Cv", person)


async def _contact_calls(caller: Caller, one: SyntheticCitizen) -> None:
    """Save, verify and look up contact data, rightly and wrongly; codes go out by mail and SMS."""
    person, path = one.person_number, "/v1/kontaktinformation"
    for mail, phone in ((OWN_MAIL, f"+45{OWN_PHONE}"), (one.name, WORST), (OWN_MAIL + "\x00", WRITTEN)):
        items = [
            {"PersonContactData": value, "PersonContactDataTypeIdentifier": kind}
            for value, kind in ((mail, 3), (phone, 1))
        ]
        await caller.call("POST", path, person, {"PersonContactDataCollection": items})
        await caller.call("POST", f"{path}/emailadresse", None, {"email": mail})
        await caller.call("POST", f"{path}/mobiltelefon", None, {"mobiltelefon": phone})
    for kind, code in ((1, "000000"), (3, OWN_MAIL), (7, WORST)):
        body = {
            "CvCustomerIdentifier": one.cv_number,
            "VerificationCode": code,
            "PersonContactDataTypeIdentifier": kind,
        }
        await caller.call("POST", f"{path}/verificering", None, body)
        await caller.call("POST", f"{path}/verificering/ny", None, body)
    for status in (3, OWN_MAIL):
        state = {"PersonContactDataTypeIdentifier": 3, "PersonContactDataStatusTypeIdentifier": status}
        await caller.call("POST", f"{path}/status", person, state)


async def _status_and_feed_calls(caller: Caller, one: SyntheticCitizen) -> None:
    """Set and read the status with a comment that nobody may repeat; follow the changes."""
    person = one.person_number
    for status, comment in ((3, WRITTEN), (2, one.name), (99, WRITTEN), (one.name, WORST)):
        body = {
            "PersonCivilRegistrationIdentifier": person,
            "CvCustomerIdentifier": one.cv_number,
            "CvStatusIdentifier": status,
            "CvComment": comment,
        }
        await caller.call("POST", "/v6/Cv/cvstatus", None, {"CvStatusSet": body})
    for path in ("/v6/Cv/cvstatus", "/v6/Cv/versions", "/v6/Cv/versions/onstatus", "/v6/Cv/pdf"):
        await caller.call("GET", path, person)
    for query in ("CVStatusIdentifier=3", f"CVStatusIdentifier={WORST}", f"CVVersionIdentifier={WORST}"):
        await caller.call("GET", f"/v6/Cv/versions/onstatus?{query}", person, accept="application/pdf")
    for said in (None, {"x": one.name}):
        await caller.call("POST", "/v6/JobnetAccount/letter", person, said, x_requestid=REQUEST_ID)
    for position in ("", f"?lastEventId={WORST}", "?timeout=x"):
        await caller.call("GET", f"/v1/feed/cv{position}")
    await caller.call("GET", "/v6/Cv/changes?CVChangeStartTime=2026-01-01T00:00:00Z")


async def _search_calls(caller: Caller, one: SyntheticCitizen) -> None:
    """Search for what is personal, rightly and wrongly."""
    saved = await caller.replace_cv(one.person_number, cv_saying(f"<p>{WRITTEN}</p>", one))
    seen = saved.headers.get("x-consistency-token")
    for text in (WRITTEN, one.name, one.person_number, WORST, f'"{WRITTEN}', WRITTEN * 100):
        for elements in ({}, {"SearchStringSecondary": text}, {"CloseToCity": text}, {"Cities": [text]}):
            body = {"searchInput": {**EVERYBODY, "SearchString": text, **elements}}
            await caller.call("POST", "/v6/Cv/search", None, body, x_consistency_token=seen)
    for wrong in ({"Id": one.person_number}, {"PageNumber": one.name}, {one.name: WRITTEN}):
        await caller.call("POST", "/v6/Cv/search", None, {"searchInput": {**EVERYBODY, **wrong}})


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


async def _intake(watched: Watched, http: httpx.AsyncClient, deliveries: list[Any]) -> list[httpx.Response]:
    """Deliver citizens to the registry all at once, as their source does."""
    token = watched.system.signer("citizen-intake").token(REGISTRY, None)
    url = f"{watched.system.url(REGISTRY)}/internal/citizens"
    headers = {"authorization": f"Bearer {token}"}
    return list(
        await asyncio.gather(
            *(http.post(url, json={"citizens": some}, headers=headers) for some in deliveries)
        )
    )


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
    folder.mkdir()
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
    with (system.state.logs / "import-bad.log").open("wb") as log:
        environment = system.stack.environment(service)
        command = [*service.command, "import", str(file)]
        subprocess.run(command, env=environment, stdout=log, stderr=log, check=False, timeout=60)  # noqa: S603


async def _without(watched: Watched, part: str, caller: Caller, one: SyntheticCitizen) -> None:
    """Call while a part is down."""
    await asyncio.to_thread(watched.system.kill, part)
    await caller.get_cv(one.person_number)
    await caller.replace_cv(one.person_number, cv_saying(f"<p>{WRITTEN}</p>", one))
    await caller.by_number(one.cv_number)
    await asyncio.to_thread(watched.system.revive, part)


async def test_a_busy_and_unlucky_system_says_nothing_personal(
    watched: Watched, jobnet: Caller, http: httpx.AsyncClient
) -> None:
    system, persons = watched.system, population(CITIZENS)
    for one in persons[:3]:
        await _right_and_wrong_calls(jobnet, one)
    await _contact_calls(jobnet, persons[3])
    await _status_and_feed_calls(jobnet, persons[3])
    await _search_calls(jobnet, persons[4])
    await _intake(watched, http, _deliveries(persons[0], persons[1:6]))
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
        phone=[PHONE, OWN_PHONE],
        mail=[OWN_MAIL],
        unexpected=[WORST, REQUEST_ID, MAIL, "12131415"],
    )
    assert await watched.leaks(needles) == set()


async def _everything_was_told(watched: Watched) -> None:
    """Wait until spans of both services, metrics, and events have come out: a silent system would prove nothing."""

    def told() -> None:
        for path in ("/v1/traces", "/v1/metrics"):
            for service in (b"gateway", b"cv-registry"):
                assert any(service in body for body in watched.collector.of(path)), (path, service)
        assert b"http.route" in b"".join(watched.collector.of("/v1/traces"))
        assert len(watched.door.targets()) > 50

    await eventually(told)


async def test_the_search_finds_a_citizen_who_is_planted_in_each_kind_of_place(watched: Watched) -> None:
    one = _planted()
    needles = needles_of([one])
    assert await watched.leaks(needles) == set()
    contact = (one.cv or {})["ContactInformation"]
    plants = {
        "log gateway.log": ("name", one.name),
        "log postgres.log": ("person number", f"{one.person_number[:6]}-{one.person_number[6:]}"),
        "telemetry /v1/traces": ("CV number", one.cv_number),
        "telemetry /v1/metrics": ("person number", one.person_number),
        "URL": ("person number", one.person_number),
        "Kafka key": ("person number", one.person_number),
        "Kafka header": ("name", one.name),
        "Kafka value": ("address", one.citizen["address"]["addressLine"]),
        "file leftover": ("e-mail", contact["E-mail"]),
    }
    for place, (_, text) in plants.items():
        await _plant(watched, place, text)
    found = {(leak.place, leak.kind) for leak in await watched.leaks(needles)}
    for place, (kind, _) in plants.items():
        assert any(where.startswith(place) and what == kind for where, what in found), place


async def _plant(watched: Watched, place: str, text: str) -> None:
    system = watched.system
    kind, _, name = place.partition(" ")
    if kind == "log":
        with (system.state.logs / name).open("a") as log:
            log.write(json.dumps({"event": text}) + "\n")
    elif kind == "telemetry":
        async with httpx.AsyncClient(trust_env=False, verify=trusting()) as http:
            await http.post(watched.collector.url + name, content=b"\x0a\x0f" + text.encode() + b"\x12")
    elif kind == "URL":
        async with httpx.AsyncClient(trust_env=False, verify=trusting()) as http:
            await http.get(watched.door.url, params={"citizen": text})
    elif kind == "file":
        (system.temporary / name).write_text(text)
    else:
        await _plant_record(system, name, text.encode())


async def _plant_record(system: System, where: str, text: bytes) -> None:
    settings = KafkaSettings(bootstrap_servers=system.stack.bootstrap_servers)
    async with producer(settings, "planter") as sender:
        await sender.send_and_wait(
            topic_of(CVChanged).name,
            key=text if where == "key" else b"k",
            value=text if where == "value" else b"{}",
            headers=[("ce_subject", text)] if where == "header" else [],
        )
