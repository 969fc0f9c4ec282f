"""A citizen is erased for good: each service gives a receipt, and nothing but access rows and random ids is left anywhere."""

import asyncio
import json
import re
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.e2e.caller import Caller, cv_saying
from tests.e2e.contacts import MAIL, MOBILE, save
from tests.e2e.leaks import _records
from tests.e2e.searches import numbers
from tests.e2e.system import REGISTRY, System
from typer.testing import CliRunner

from cvhub.cli import app
from cvhub.people import SEED
from cvhub.services import SERVICES
from cvhub.synthetic import SyntheticCitizen, citizens
from servicekit.testing import eventually

pytestmark = [pytest.mark.timeout(400), pytest.mark.long]

PATIENCE = timedelta(seconds=60)
WORD = "xylofonbyggeren"
ADDRESS, PHONE = "slettes.for.altid@example.com", "+4526000999"
HOLDERS = [service.name for service in SERVICES if service.migrations]

LEDGERS = {
    "cv-registry": {"erasures", "erasure_receipts", "operator_actions", "access_log", "projected_versions"},
    "cv-status": {"erasures", "erasure_receipts", "access_log", "projected_versions"},
    "contact-verification": {"erasures", "erasure_receipts", "access_log", "projected_versions"},
    "pdf-renderer": {"erased", "erasure_receipts", "projected_versions"},
    "change-feed": {"erasure_receipts", "projected_versions", "entries", "cvs", "members", "access_log"},
    "cv-search": {"erasure_receipts", "projected_versions", "search_documents", "access_log"},
}
"""Where the random ids of somebody erased may stand: ledgers by which an old state never comes back, and positions."""


@pytest.fixture
def operator(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Operator":
    for name, value in system.operator_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CVHUB_ERASURES", str(tmp_path / "orders.sqlite3"))
    return Operator()


class Operator:
    """Somebody at a terminal."""

    async def erase(self, *arguments: str, told: str = "") -> tuple[int, list[Any]]:
        """Give the exit code and the reports."""
        command = ["erase", *arguments, "--json"]
        done = await asyncio.to_thread(CliRunner().invoke, app, command, input=told)
        return done.exit_code, json.loads(done.stdout)


async def a_new_citizen(system: System, http: httpx.AsyncClient) -> SyntheticCitizen:
    """Take somebody in whom no other test knows."""
    one = next(one for one in citizens(SEED, 100, start=700_000) if _can_be_found(one))
    bearer = {"authorization": f"Bearer {system.signer('citizen-intake').token(REGISTRY)}"}
    url = f"{system.url(REGISTRY)}/internal/citizens"
    taken = await http.post(url, json={"citizens": [one.citizen]}, headers=bearer)
    assert taken.json()["results"][0]["outcome"] == "applied"
    return one


def _can_be_found(one: SyntheticCitizen) -> bool:
    kept_out = ("dead", "nameProtected", "addressProtected")
    worked = one.cv is not None and one.cv["CV"]["PreviousJobExperienceCollection"]
    return bool(worked) and one.cv_state == "ACTIVE" and not any(map(one.citizen.get, kept_out))


async def known_everywhere(system: System, caller: Caller, one: SyntheticCitizen) -> tuple[UUID, UUID]:
    """Let every service have something of the citizen; gives the random ids."""
    number = one.person_number
    contact = {"ContactInformation": {"E-mail": ADDRESS, "PhoneNumber": [PHONE]}}
    cv = {**cv_saying(f"<p>{WORD}</p>", one), **contact}
    saved = await caller.replace_cv(number, cv, x_requestid="erased")
    assert saved.status_code == 200, saved.text
    assert (await save(caller, one, {MAIL: ADDRESS, MOBILE: PHONE})).status_code == 200
    status = {
        "PersonCivilRegistrationIdentifier": number,
        "CvCustomerIdentifier": one.cv_number,
        "CvStatusIdentifier": 2,
        "CvComment": WORD,
    }
    assert (await caller.call("POST", "/v6/Cv/cvstatus", None, {"CvStatusSet": status})).status_code == 200
    assert (await caller.call("GET", "/v6/Cv/pdf", number)).status_code == 200
    assert (await caller.call("POST", "/v6/JobnetAccount/letter", number)).status_code == 200
    assert (await caller.get_cv(number)).status_code == 200
    [ids] = await system.rows("select person_id, cv_id from citizens where cv_number = $1", one.cv_number)

    async def all_have_heard() -> None:
        queries = {
            "pdf-renderer": "select count(*) = 2 from documents where cv_id = $1",
            "change-feed": "select count(*) >= 3 from entries where cv_id = $1",
            "cv-search": "select count(*) = 1 from search_documents where cv_id = $1",
            "cv-registry": "select count(*) = 1 from statuses where cv_id = $1",
        }
        for service, query in queries.items():
            assert await system.value(query, ids["cv_id"], service=service), service

    await eventually(all_have_heard, PATIENCE)
    return ids["person_id"], ids["cv_id"]


async def tables_with(system: System, service: str, *texts: str) -> set[str]:
    """Name the tables of a service of which a row has one of the texts, whatever the type of the column."""
    found = set()
    query = "select tablename from pg_tables where schemaname = 'public' and tablename <> 'schema_migrations'"
    for (table,) in await system.rows(query, service=service):
        rows = await system.rows(f"select * from {table}", service=service)
        values = (value for row in rows for value in row.values())
        words = " ".join(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values)
        if any(_stands_in(words, text) for text in texts):
            found.add(table.rstrip("0123456789_").removesuffix("_kept"))
    return found


def _stands_in(words: str, text: str) -> bool:
    """Numbers count only when they stand alone: versions and ids have many digits."""
    return (
        text in words and re.search(rf"(?<![0-9a-zA-Z]){re.escape(text)}(?![0-9a-zA-Z])", words) is not None
    )


def index_files_with(system: System, text: str) -> list[str]:
    folder = system.state.folder / "search"
    return [f.name for f in folder.rglob("*") if f.is_file() and text.encode() in f.read_bytes()]


async def test_an_erased_citizen_leaves_nothing_but_access_rows_and_random_ids(
    system: System, caller: Caller, http: httpx.AsyncClient, operator: Operator, tmp_path: Path
) -> None:
    one = await a_new_citizen(system, http)
    person, cv = await known_everywhere(system, caller, one)
    await eventually(lambda: _is_found(caller, one), PATIENCE)
    personal = (one.person_number, one.cv_number, WORD, ADDRESS, PHONE.removeprefix("+45"))
    for service in ("cv-registry", "cv-search", "change-feed"):
        assert await tables_with(system, service, *personal), service
    await asyncio.to_thread(system.dump, "cv_registry", tmp_path / "registry.dump")

    await asyncio.to_thread(system.terminate, "pdf-renderer")
    code, [report] = await operator.erase(
        "-", "--reason", "asked for", "--wait", "20", told=one.person_number
    )
    assert (code, report["missing"]) == (1, ["pdf-renderer"])
    assert "documents" in await tables_with(system, "pdf-renderer", str(person))
    await asyncio.to_thread(system.revive, "pdf-renderer")
    code, [report] = await operator.erase("--pending", "--wait", "60")
    assert (code, report["missing"], sorted(report["receipts"])) == (0, [], sorted(HOLDERS))
    _counted_what_there_was(report)
    await nothing_is_left(system, person, cv, personal)
    assert (await caller.get_cv(one.person_number)).json()["code"] == 1010

    await asyncio.to_thread(system.terminate, "cv-registry")
    await asyncio.to_thread(system.restore, "cv_registry", tmp_path / "registry.dump")
    await asyncio.to_thread(system.revive, "cv-registry")
    assert (await caller.get_cv(one.person_number)).status_code == 200
    code, [again] = await operator.erase("--repeat-all", "--wait", "60")
    assert (code, again["missing"]) == (0, [])
    assert again["version"] > report["version"]
    await nothing_is_left(system, person, cv, personal)
    assert await operator.erase("--pending") == (0, [])


async def _is_found(caller: Caller, one: SyntheticCitizen) -> None:
    assert one.cv_number in await numbers(caller, WORD)


def _counted_what_there_was(report: Any) -> None:
    removed = {service: receipt["removed"] for service, receipt in report["receipts"].items()}
    assert removed["cv-registry"]["citizens"] == removed["cv-registry"]["account_letters"] == 1
    assert removed["cv-registry"]["request_log"] == 1
    assert removed["cv-status"]["frozen_versions"] == removed["cv-status"]["statuses"] == 1
    assert removed["contact-verification"]["contacts"] >= 2
    assert removed["pdf-renderer"]["documents"] == 2
    assert removed["change-feed"]["CV numbers of entries"] >= 3
    assert removed["cv-search"]["search_documents"] == 1
    assert report["accessRows"]["cv-registry"] >= 1


async def _only_in_ledgers(system: System, service: str, *ids: str) -> None:
    """Events that tell of the erasure may still be on their way out."""
    assert await tables_with(system, service, *ids) <= LEDGERS[service], service


async def nothing_is_left(system: System, person: UUID, cv: UUID, personal: tuple[str, ...]) -> None:
    for service in HOLDERS:
        assert await tables_with(system, service, *personal) == set(), service
        await eventually(partial(_only_in_ledgers, system, service, str(person), str(cv)), PATIENCE)
    for text in personal:
        assert index_files_with(system, text) == []
    async for place, content in _records(system):
        words = content.decode("utf-8", "replace")
        assert not any(_stands_in(words, text) for text in personal), place
