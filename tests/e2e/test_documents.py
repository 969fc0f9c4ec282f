"""Documents through the gateway: the CV, the frozen version that is there before anybody asks, and the letter with a new login."""

import asyncio
import base64
import re
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from tests.e2e.caller import JOBCENTER, Caller, cv_saying, fault, population
from tests.e2e.documents import text_of
from tests.e2e.statuses import APPROVED, on_benefit, set_status
from tests.e2e.system import REGISTRY, System

from cv_contracts.envelope import read
from cv_contracts.events.cv_registry import AccountLetterSent
from cv_contracts.topics import topic_of
from cvhub.people import SEED
from cvhub.sinks.letters import Behaviour
from cvhub.synthetic import SyntheticCitizen, citizen_of_case
from servicekit.kafka import consumer
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually

PDF = "/v6/Cv/pdf"
ON_STATUS = "/v6/Cv/versions/onstatus"
LETTER = "/v6/JobnetAccount/letter"
RENDERER = "pdf-renderer"
SINKS = "sinks"
PASSWORD = re.compile(r"\b[a-z0-9]{4}(?:-[a-z0-9]{4}){3}\b")
PATIENCE = timedelta(seconds=60)


async def frozen(system: System, one: SyntheticCitizen) -> list[Any]:
    cv_id = await system.value("select cv_id from citizens where person_number = $1", one.person_number)
    query = "select hash, pdf from documents where cv_id = $1 and kind = 'frozen' order by created_at"
    return await system.rows(query, cv_id, service=RENDERER)


async def on_status(caller: Caller, one: SyntheticCitizen, **headers: str | None) -> httpx.Response:
    query = f"?CVStatusIdentifier={APPROVED}"
    return await caller.call("GET", ON_STATUS + query, one.person_number, **headers)


async def test_the_cv_comes_as_the_seeds_element_or_as_a_pdf_and_is_known_by_its_etag(caller: Caller) -> None:
    one, text = citizen_of_case(SEED, "plain"), f"Skrevet {uuid4().hex}"
    written = await caller.replace_cv(one.person_number, cv_saying(f"<p>{text}</p>", one))
    token = written.headers["x-consistency-token"]
    element = await caller.call("GET", PDF, one.person_number, x_consistency_token=token)
    pdf = await caller.call("GET", PDF, one.person_number, accept="application/pdf")
    assert pdf.headers["content-type"] == "application/pdf"
    assert base64.b64decode(element.json()["GetCVAsPdfResult"]) == pdf.content
    shown = text_of(pdf.content)
    assert text in shown
    assert one.citizen["familyName"] in shown
    assert one.person_number not in shown
    assert one.cv_number not in shown
    for known in (element, pdf):
        accept = known.headers["content-type"]
        again = await caller.call(
            "GET", PDF, one.person_number, if_none_match=known.headers["etag"], accept=accept
        )
        assert (again.status_code, again.content) == (304, b"")


async def test_the_first_who_asks_for_a_frozen_version_finds_it_rendered_already(
    system: System, caller: Caller
) -> None:
    one, center = on_benefit(), caller.acting(JOBCENTER)
    before = len(await frozen(system, one))
    assert (await set_status(center, one, APPROVED, "Fint")).status_code == 200

    async def ahead() -> None:
        assert len(await frozen(system, one)) == before + 1

    await eventually(ahead, PATIENCE)
    answer = await on_status(center, one)
    item = answer.json()["CVOnStatusItem"]
    rows = await frozen(system, one)
    assert len(rows) == before + 1
    assert base64.b64decode(item["CompleteCVAsPdfResult"]) == rows[-1]["pdf"]
    assert (item["CVStatusIdentifier"], item["CVComment"]) == (APPROVED, "Fint")
    again = await caller.call(
        "GET", f"{ON_STATUS}?CVVersionIdentifier={item['CVVersionIdentifier']}", one.person_number
    )
    assert again.content == answer.content


async def test_while_pdf_renderer_is_away_documents_wait_and_statuses_do_not(
    system: System, caller: Caller
) -> None:
    one, center = on_benefit(), caller.acting(JOBCENTER)
    before = len(await frozen(system, one))
    await asyncio.to_thread(system.kill, RENDERER)
    assert (await set_status(center, one, APPROVED)).status_code == 200
    for answer, expected in (
        (await caller.call("GET", PDF, one.person_number), (503, 4430)),
        (await on_status(center, one), (503, 1011)),
        (await caller.call("POST", LETTER, one.person_number), (503, 4430)),
    ):
        assert fault(answer) == expected
        assert int(answer.headers["retry-after"]) >= 1
    await asyncio.to_thread(system.revive, RENDERER)

    async def ahead() -> None:
        assert len(await frozen(system, one)) == before + 1

    await eventually(ahead, PATIENCE)
    assert (await on_status(center, one)).status_code == 200


REFUSED = [
    (ON_STATUS, "plain", "1:15", (403, 8291)),
    (ON_STATUS, "plain", JOBCENTER, (400, 9113)),
    (f"{ON_STATUS}?CVStatusIdentifier=5", "no-cv-number", JOBCENTER, (404, 4103)),
    (f"{ON_STATUS}?CVVersionIdentifier={UUID(int=1)}", "plain", JOBCENTER, (404, 9110)),
    (f"{ON_STATUS}?CVStatusIdentifier=4", "plain", JOBCENTER, (400, 1014)),
    (PDF, "no-cv-number", JOBCENTER, (404, 4103)),
    (PDF, "plain", "24:87654321", (403, 8292)),
    (PDF, "plain", "8:75100", (403, 4575)),
    (LETTER, "no-cv-number", JOBCENTER, (404, 4103)),
    (LETTER, "plain", "100:1", (403, 8292)),
]


@pytest.mark.parametrize(("path", "label", "organisation", "expected"), REFUSED)
async def test_the_methods_answer_the_faults_of_their_seeds(
    caller: Caller, path: str, label: str, organisation: str, expected: tuple[int, int]
) -> None:
    verb, number = "POST" if path == LETTER else "GET", citizen_of_case(SEED, label).person_number
    assert fault(await caller.acting(organisation).call(verb, path, number)) == expected


async def behave(system: System, http: httpx.AsyncClient, behaviour: Behaviour) -> None:
    bearer = {"authorization": f"Bearer {system.state.secret(SINKS)}"}
    told = await http.put(f"{system.url(SINKS)}/letters/behaviour", json=behaviour, headers=bearer)
    assert told.status_code == 200


async def printed(system: System, http: httpx.AsyncClient) -> list[str]:
    """Give the ids of the letters printed, the newest first."""
    return [letter["id"] for letter in (await http.get(f"{system.url(SINKS)}/letters")).json()]


async def login_of(system: System, http: httpx.AsyncClient, letter: str) -> tuple[str, str]:
    """Read user name and password from the letter, as the citizen does."""
    pdf = (await http.get(f"{system.url(SINKS)}/letters/{letter}")).content
    shown = text_of(pdf)
    password, user_name = PASSWORD.search(shown), re.search(r"Brugernavn ([0-9]{8})", shown)
    assert password is not None
    assert user_name is not None
    return user_name[1], password[0]


async def is_valid(system: System, http: httpx.AsyncClient, login: tuple[str, str]) -> bool:
    token = system.signer("jobnet-login").token(REGISTRY, None)
    answer = await http.post(
        f"{system.url(REGISTRY)}/internal/jobnet-accounts/login",
        json={"userName": login[0], "password": login[1]},
        headers={"authorization": f"Bearer {token}"},
    )
    return bool(answer.json()["valid"])


async def told_on_kafka(system: System) -> set[str]:
    events = consumer(
        KafkaSettings(bootstrap_servers=system.stack.bootstrap_servers),
        topic_of(AccountLetterSent).name,
        group_id=None,
        auto_offset_reset="earliest",
    )
    await events.start()
    try:
        polled = await events.getmany(timeout_ms=2_000)
        records = [record for of_one in polled.values() for record in of_one]
        return {str(read(record.headers, record.value).id) for record in records}
    finally:
        await events.stop()


async def test_the_printed_letter_brings_the_login_and_its_password_is_nowhere_else(
    system: System, caller: Caller, http: httpx.AsyncClient
) -> None:
    one = population(120)[3]
    ordered = await caller.call("POST", LETTER, one.person_number)
    assert ordered.status_code == 200, ordered.text
    [letter, *_] = await printed(system, http)
    login = await login_of(system, http, letter)
    assert login[0] == one.cv_number
    assert await is_valid(system, http, login)
    message = ordered.json()["ServiceReceipt"]["MessageIdentifier"]

    async def told() -> None:
        assert message in await told_on_kafka(system)

    await eventually(told, PATIENCE)
    password = login[1].encode()
    assert all(password not in log.read_bytes() for log in system.logs)
    left = [file for file in system.temporary.rglob("*") if file.is_file()]
    assert all(password not in file.read_bytes() for file in left)
    for part in (REGISTRY, RENDERER):
        tables = await system.rows(
            "select tablename from pg_tables where schemaname = 'public'", service=part
        )
        for table in tables:
            query = f"select count(*) from {table['tablename']} t where t::text like any($1::text[])"
            found = [f"%{login[1]}%", f"%{password.hex()}%"]
            assert await system.value(query, found, service=part) == 0


async def test_a_registry_killed_with_the_letter_in_the_printers_hands_settles_it_afterwards(
    system: System, caller: Caller, http: httpx.AsyncClient
) -> None:
    one, request_id = population(120)[4], uuid4().hex
    before = len(await printed(system, http))
    await behave(system, http, "hangs-afterwards")
    try:
        ordering = asyncio.create_task(caller.call("POST", LETTER, one.person_number, x_requestid=request_id))
        await eventually(lambda: _printed(system, http, before + 1))
        await asyncio.to_thread(system.kill, REGISTRY)
        assert (await ordering).status_code == 503
    finally:
        await behave(system, http, "works")
    await asyncio.to_thread(system.revive, REGISTRY)
    again = await caller.call("POST", LETTER, one.person_number, x_requestid=request_id)
    assert again.status_code == 200
    assert again.headers["x-idempotent-replay"] == "true"
    [letter, *more] = await printed(system, http)
    assert len(more) == before
    assert await is_valid(system, http, await login_of(system, http, letter))


async def _printed(system: System, http: httpx.AsyncClient, count: int) -> bool:
    return len(await printed(system, http)) == count
