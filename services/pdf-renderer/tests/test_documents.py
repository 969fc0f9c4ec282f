"""Documents are rendered once, found again byte for byte, removed by an erasure; letters stay nowhere."""

import asyncio
import os
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import copytree
from typing import Any
from uuid import UUID, uuid4

import orjson
import pypdfium2
import pytest

from pdf_renderer.cv_testing import FROZEN_AT, SAMPLE, cv_of, document_json, letter_json, made
from pdf_renderer.documents import Documents
from pdf_renderer.settings import Settings, WorkerSettings
from pdf_renderer.store import erase
from pdf_renderer.templates import TEMPLATES, Template
from pdf_renderer.testing import World
from servicekit.testing import eventually
from servicekit.worker_pool import Workers

pytestmark = pytest.mark.infra

PERSON, CV = UUID(int=1), UUID(int=2)
FULL = "create function full_disk() returns trigger language plpgsql as $$ begin raise exception 'full' using errcode = '53100'; end $$"


class Counted:
    """The world's workers, noting by which template they are asked to render."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.rendered: list[str] = []

    async def work(self, asked: bytes) -> bytes:
        template, _, _ = asked.partition(b"\n")
        self.rendered.append(template.decode())
        return await self._workers.work(asked)


def counting(world: World, **more: Any) -> tuple[Documents, Counted]:
    counted = Counted(world.parts.workers)
    limits = more.pop("limits", WorkerSettings())
    return Documents(world.parts.store, counted, limits, **more), counted  # type: ignore[arg-type]


async def test_a_document_is_rendered_once_however_many_ask_at_two_instances(world: World) -> None:
    (one, first), (other, second) = counting(world), counting(world)
    document = cv_of("frozen", SAMPLE)
    found = await asyncio.gather(*(instance.get(document) for instance in (one, other) for _ in range(10)))
    assert len({(f.hash, f.pdf) for f in found}) == 1
    assert len(first.rendered + second.rendered) == 1
    assert await world.stored() == 1


async def test_when_too_many_wait_further_ones_are_refused_and_what_is_stored_is_still_given(
    world: World,
) -> None:
    documents, _ = counting(world, limits=WorkerSettings(processes=1, waiting=2))
    stored = await documents.get(cv_of("frozen", SAMPLE))
    asked = [asyncio.create_task(documents.get(cv_of("cv", made(seed)))) for seed in range(6)]
    assert await documents.get(cv_of("frozen", SAMPLE)) == stored
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Stored"] * 3 + ["Unavailable"] * 3


async def test_whoever_leaves_does_not_stop_the_rendering(world: World) -> None:
    documents, counted = counting(world)
    asking = asyncio.create_task(documents.get(cv_of("cv", SAMPLE)))
    await eventually(lambda: counted.rendered != [])
    asking.cancel()
    await documents.get(cv_of("cv", SAMPLE))
    assert len(counted.rendered) == 1


async def test_a_frozen_version_stays_the_same_after_a_new_template_and_a_current_cv_takes_the_new_one(
    world: World, tmp_path: Path
) -> None:
    before, _ = counting(world)
    frozen, current = cv_of("frozen", SAMPLE), cv_of("cv", SAMPLE)
    stored, shown = await before.get(frozen), await before.get(current)
    copytree(TEMPLATES[0].path, tmp_path / "v1", dirs_exist_ok=True)
    (tmp_path / "v1" / "new.txt").write_text("another template")
    second = replace(TEMPLATES[0], since=FROZEN_AT - timedelta(days=1), folder=tmp_path)
    after, counted = counting(world, templates=(TEMPLATES[0], second))
    assert await after.get(frozen) == stored
    assert counted.rendered == []
    assert (await after.get(current)).hash != shown.hash
    assert len(counted.rendered) == 1


async def test_a_lost_store_gives_a_frozen_version_its_old_template_again(world: World) -> None:
    since = FROZEN_AT + timedelta(days=1)
    documents, _ = counting(world)
    first = await documents.get(cv_of("frozen", SAMPLE))
    await world.parts.database.execute("delete from documents")
    later, counted = counting(world, templates=(TEMPLATES[0], Template("v2", since)))
    assert await later.get(cv_of("frozen", SAMPLE)) == first
    assert counted.rendered == ["v1"]


async def test_new_names_in_the_code_lists_do_not_change_what_was_frozen(world: World) -> None:
    documents, counted = counting(world)
    first = await documents.get(cv_of("frozen", SAMPLE))
    renamed = cv_of(
        "frozen",
        SAMPLE,
        status={"id": 3, "name": "Godkendt"},
        municipality={"code": "751", "name": "Ny Kommune"},
    )
    assert await documents.get(renamed) == first
    assert len(counted.rendered) == 1


async def test_a_protected_reader_gets_a_second_rendering_of_the_same_version(world: World) -> None:
    documents, _ = counting(world)
    hidden = orjson.loads(orjson.dumps(SAMPLE))
    hidden["PersonalData"]["PostalAddress"] = {
        "CountryCode": "DK",
        "AddressLine": "Adressebeskyttet",
        "PostalCode": "",
        "PostalArea": "",
    }
    whole, protected = (
        await documents.get(cv_of("frozen", SAMPLE)),
        await documents.get(cv_of("frozen", hidden)),
    )
    assert whole.hash != protected.hash
    text = _text(protected.pdf)
    assert "Adressebeskyttet" in text
    assert "Søndergade" not in text
    assert "8000" not in text


async def test_an_erasure_removes_all_documents_of_the_citizen_and_lets_none_come_back(world: World) -> None:
    documents, _ = counting(world)
    await documents.get(cv_of("frozen", SAMPLE))
    await documents.get(cv_of("cv", SAMPLE))
    other = await documents.get(cv_of("cv", SAMPLE, personId=str(UUID(int=7)), cvId=str(UUID(int=8))))
    async with world.parts.database.pool.acquire() as conn, conn.transaction():
        await erase(conn, [PERSON])
    assert await world.parts.database.fetchval("select hash from documents") == other.hash
    answered = await documents.get(cv_of("frozen", made(3)))
    assert answered.pdf.startswith(b"%PDF-")
    assert await world.stored() == 1


async def test_a_full_store_costs_nobody_the_document(world: World) -> None:
    documents, counted = counting(world)
    await world.parts.database.execute(FULL)
    await world.parts.database.execute(
        "create trigger full_disk before insert on documents for each row execute function full_disk()"
    )
    one = await documents.get(cv_of("frozen", SAMPLE))
    assert await documents.get(cv_of("frozen", SAMPLE)) == one
    assert len(counted.rendered) == 2
    assert await world.stored() == 0


async def test_a_stored_document_cannot_be_changed(world: World) -> None:
    documents, _ = counting(world)
    await documents.get(cv_of("frozen", SAMPLE))
    with pytest.raises(Exception, match="immutable"):
        await world.parts.database.execute("update documents set pdf = ''")


async def test_current_cvs_are_removed_by_age_and_frozen_versions_are_not(world: World) -> None:
    documents, _ = counting(world)
    frozen = await documents.get(cv_of("frozen", SAMPLE))
    await documents.get(cv_of("cv", SAMPLE))
    await world.parts.store.remove_old(timedelta(0))
    assert await world.parts.database.fetchval("select hash from documents") == frozen.hash


async def test_however_many_are_old_no_statement_takes_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pdf_renderer.store.REMOVED_AT_ONCE", 2)
    documents, _ = counting(world)
    for _ in range(5):
        await documents.get(cv_of("cv", SAMPLE, cvId=str(uuid4())))
    assert await world.stored() == 5
    await world.parts.database.execute(
        "create function at_most_two() returns trigger language plpgsql as $$ begin"
        " if (select count(*) from gone) > 2 then raise exception 'too many at once'; end if; return null; end $$"
    )
    await world.parts.database.execute(
        "create trigger at_most_two after delete on documents referencing old table as gone"
        " for each statement execute function at_most_two()"
    )
    await world.parts.store.remove_old(timedelta(0))
    assert await world.stored() == 0


async def test_a_letter_is_nowhere_afterwards(
    world: World, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    password = "Xylofon-7391-Qvist"
    answer = await world.ask(letter_json(password))
    assert answer.headers["content-type"] == "application/pdf"
    assert "x-document-hash" not in answer.headers
    assert password in _text(answer.content)
    assert await world.stored() == 0
    rows = await world.parts.database.fetch(
        "select table_name from information_schema.tables where table_schema = 'public'"
    )
    for row in rows:
        found = await world.parts.database.fetchval(
            f"select count(*) from {row['table_name']} t where t::text like $1", f"%{password}%"
        )
        assert found == 0
    assert password not in "".join(capfd.readouterr())


async def test_a_cv_for_employers_holds_no_job_targets_and_no_number_of_anybody(world: World) -> None:
    content = orjson.loads(orjson.dumps(SAMPLE))
    content["JobTargetCollection"][0]["JobTitle"] = "Hemmeligt jobønske"
    content["JobConditions"] |= {"EarlyRetirementConditions": True, "DisabilityPensionerConditions": True}
    content["PersonalData"] |= {"DateOfBirth": "1979-05-13", "Gender": "Female"}
    answer = await world.ask(document_json("cv", content))
    text, raw = _text(answer.content), answer.content
    for hidden in (
        "Hemmeligt",
        "Jeg søger job",
        "Efterlønner",
        "Førtidspensionist",
        "48213377",
        "130579",
        "1979",
    ):
        assert hidden not in text
        assert hidden.encode() not in raw
    frozen = _text((await world.ask(document_json("frozen", content), "cv-status")).content)
    for shown in ("Hemmeligt jobønske", "CV godkendt", "3. november 2026 kl. 14.05", "Aarhus Kommune"):
        assert shown in frozen
    assert "48213377" not in frozen
    assert "1979" not in frozen


async def test_only_registry_and_cv_status_may_ask(world: World) -> None:
    assert (await world.ask(letter_json(), "gateway")).status_code == 403
    assert (await world.client.post("/internal/documents", content=letter_json())).status_code == 401


async def test_json_is_answered_where_it_is_asked_for(world: World) -> None:
    body = document_json("cv", SAMPLE)
    as_pdf = await world.ask(body)
    as_json = (await world.ask(body, accept="application/json")).json()
    assert as_json["hash"] == as_pdf.headers["x-document-hash"]
    assert as_json["pdf"].startswith("JVBERi0")


async def test_what_is_no_request_is_1014_and_quotes_nothing(world: World) -> None:
    told = {}
    for body in (
        b"",
        b"[]",
        b"{",
        b'{"kind":"unknown"}',
        document_json("cv", {**SAMPLE, "JobnetCVId": 1}),
        document_json("cv", SAMPLE, timestamp="2026-11-03T13:05:00"),
        document_json("frozen", SAMPLE, status=None),
        document_json("cv", SAMPLE, personId="1"),
        letter_json("x" * 41),
    ):
        answer = await world.ask(body)
        quoted = [text for text in ("Søndergade", "xxxx") if text in answer.text]
        told[body] = (answer.status_code, answer.json().get("code"), quoted)
    assert told == dict.fromkeys(told, (400, 1014, []))


async def test_a_body_beyond_the_limit_is_refused(world: World) -> None:
    assert (await world.ask(b" " * (5 * 1024 * 1024))).status_code == 413


async def test_killed_workers_cost_nobody_else_anything(world: World) -> None:
    async def both_there() -> None:
        assert (await world.parts.workers.ready())["active"] == 2

    async def ask(seed: int) -> int:
        return (await world.ask(document_json("cv", made(seed)))).status_code

    await eventually(both_there)
    asked = [asyncio.create_task(ask(seed)) for seed in range(8)]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    os.kill(world.parts.workers.pids[0], signal.SIGKILL)
    assert await asyncio.gather(*asked) == [200] * 8
    await eventually(both_there)


def _text(pdf: bytes) -> str:
    document = pypdfium2.PdfDocument(pdf)
    text = " ".join(page.get_textpage().get_text_bounded() for page in document)
    document.close()
    return " ".join(text.split())
