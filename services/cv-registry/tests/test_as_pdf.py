"""GetCVAsPdf: both forms of the answer, ETags, faults, protection, access rows, and pdf-renderer away; on a real PostgreSQL."""

import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from cv_citizens.renderer_testing import Mode, Renderer, rendering
from cv_citizens.testing import (
    ACTOR,
    COMPANY,
    FUND,
    JOBCENTER,
    JOBNET,
    MUNICIPALITY,
    OTHER_FUND,
    STAR,
    a_caller,
    referral,
    relation,
)
from cv_contracts.wire.cv_profile import GetCVAsPdfResponse
from cv_registry.app import create_app
from cv_registry.as_pdf import is_known, wants_pdf
from cv_registry.settings import SERVICE
from cv_registry.testing import RegistryClient, SettableClock, a_citizen, a_cv, a_person_number, some_settings
from servicekit.caller import Caller
from servicekit.data.postgres import Database
from servicekit.settings import PostgresSettings
from servicekit.web.testing import Identities, in_process

infra = pytest.mark.infra
PDF = "application/pdf"


@pytest_asyncio.fixture
async def renderer() -> AsyncIterator[Renderer]:
    async with rendering() as renderer:
        yield renderer


@pytest_asyncio.fixture
async def registry(
    postgres: PostgresSettings, identities: Identities, clock: SettableClock, renderer: Renderer
) -> AsyncIterator[RegistryClient]:
    identity, signers = identities.settings(SERVICE), identities.signers
    settings = some_settings(
        postgres, identity, renderer_url=renderer.url, renderer_timeout=timedelta(seconds=1)
    )
    async with in_process(create_app(settings, clock=clock)) as (client, _):
        yield RegistryClient(client, signers)


async def with_cv(registry: RegistryClient, **changes: Any) -> dict[str, Any]:
    citizen = a_citizen(**changes)
    (ids,) = await registry.register(citizen)
    assert (await registry.replace(citizen["personNumber"])).status_code == 200
    return {**citizen, **ids}


async def code(registry: RegistryClient, number: str, caller: Caller | None = None) -> Any:
    answer = await registry.as_pdf(number, caller=caller)
    return answer.json().get("code", answer.status_code)


@infra
async def test_the_answer_is_the_seeds_element_in_base_64_or_the_pdf_itself(
    registry: RegistryClient, renderer: Renderer, database: Database
) -> None:
    citizen = await with_cv(registry)
    answer = await registry.as_pdf(citizen["personNumber"])
    found = GetCVAsPdfResponse.from_json(answer.content)
    assert found.Municipality.MunicipalityName == "København"
    [asked] = renderer.asked
    assert base64.b64decode(found.GetCVAsPdfResult or "") == renderer.pdf_of(asked)
    pdf = await registry.as_pdf(citizen["personNumber"], accept=PDF)
    assert (pdf.headers["content-type"], pdf.content) == (PDF, renderer.pdf_of(asked))
    assert renderer.asked == [asked, asked]
    assert answer.headers["vary"] == "accept"
    assert answer.headers["cache-control"] == "no-store"
    revised = await database.fetchval("SELECT revised_at FROM cvs")
    assert (asked["kind"], asked["timestamp"]) == ("cv", revised.isoformat())
    assert (asked["personId"], asked["cvId"]) == (citizen["personId"], citizen["cvId"])
    assert citizen["personNumber"] not in str(asked)


@infra
async def test_the_etag_is_that_of_the_content_and_a_known_document_is_304(
    registry: RegistryClient, database: Database
) -> None:
    number = (await with_cv(registry))["personNumber"]
    first = (await registry.as_pdf(number)).headers["etag"]
    pdf = (await registry.as_pdf(number, accept=PDF)).headers["etag"]
    assert first != pdf
    for etag, accept in ((first, None), (f'"other", W/{first}', None), ("*", None), (pdf, PDF)):
        known = await registry.as_pdf(number, if_none_match=etag, accept=accept)
        assert (known.status_code, known.content) == (304, b"")
        assert known.headers["etag"] == (pdf if accept else first)
    assert (await registry.as_pdf(number, if_none_match=pdf)).status_code == 200
    assert await database.fetchval("SELECT count(*) FROM access_log WHERE method = 'GetCVAsPdf'") == 7
    await registry.replace(number, a_cv(JobConditions={"PartTimeEmployment": True}))
    changed = await registry.as_pdf(number, if_none_match=first)
    assert changed.status_code == 200
    assert changed.headers["etag"] != first


@infra
async def test_who_may_read_and_which_fault_others_get(registry: RegistryClient) -> None:
    referred = referral(ACTOR, JOBCENTER)
    all_of_them = [relation(MUNICIPALITY), relation(JOBCENTER), relation(FUND), referred]
    mine = (await with_cv(registry, relations=all_of_them))["personNumber"]
    nobodys = (await with_cv(registry, relations=[]))["personNumber"]
    for who, for_mine, for_nobodys in (
        (a_caller(FUND), 200, 4385),
        (a_caller(OTHER_FUND), 8291, 4385),
        (a_caller(MUNICIPALITY), 200, 4575),
        (a_caller(JOBCENTER), 200, 4575),
        (a_caller(JOBCENTER, ACTOR), 200, 4511),
        (a_caller(MUNICIPALITY, ACTOR), 4511, 4511),
        (a_caller(STAR), 200, 200),
        (a_caller(JOBNET), 200, 200),
        (a_caller(COMPANY), 8292, 8292),
    ):
        assert await code(registry, mine, who) == for_mine
        assert await code(registry, nobodys, who) == for_nobodys


@infra
async def test_the_citizen_and_the_state_of_the_cv_decide_in_the_order_of_the_specification(
    registry: RegistryClient, renderer: Renderer
) -> None:
    assert await code(registry, "3113001234") == 1014
    for unknown in ("0000000000", a_person_number()):
        assert await code(registry, unknown) == 4103
    assert await code(registry, a_person_number(), a_caller(COMPANY)) == 8292
    never = a_citizen()
    await registry.register(never)
    assert await code(registry, never["personNumber"]) == 4755
    citizen = await with_cv(registry)
    number, cv_id = citizen["personNumber"], citizen["cvId"]
    for state, expected in (("ARCHIVED", 4753), ("DISABLED", 4754), ("ACTIVE", 200), ("LOCKED", 200)):
        await registry.move(cv_id, state)
        assert await code(registry, number) == expected
    asked = len(renderer.asked)
    source = {name: value for name, value in citizen.items() if name in a_citizen()}
    await registry.register({**source, "sourceVersion": 2, "dead": True})
    assert await code(registry, number) == 4754
    await registry.move(cv_id, "DELETED")
    assert await code(registry, number) == 4754
    await registry.register({**source, "sourceVersion": 3})
    assert await code(registry, number) == 4755
    await registry.register({**source, "sourceVersion": 4, "cvNumberWithdrawn": True})
    assert await code(registry, number) == 4103
    assert len(renderer.asked) == asked


@infra
async def test_of_a_protected_citizen_only_those_of_decision_19_get_the_address(
    registry: RegistryClient, renderer: Renderer
) -> None:
    number = (await with_cv(registry, addressProtected=True))["personNumber"]
    for who in (a_caller(JOBCENTER), a_caller(JOBNET), a_caller(STAR)):
        assert (await registry.as_pdf(number, caller=who)).status_code == 200
    lines = [asked["content"]["PersonalData"]["PostalAddress"]["AddressLine"] for asked in renderer.asked]
    assert lines == ["Prøvegade 7, 2. tv", "Prøvegade 7, 2. tv", "Adressebeskyttet"]
    assert "1050" not in str(renderer.asked[2])


@infra
async def test_without_a_document_it_is_4430_with_retry_after_no_access_row_and_well_again_afterwards(
    registry: RegistryClient, renderer: Renderer, database: Database
) -> None:
    number = (await with_cv(registry))["personNumber"]
    modes: tuple[Mode, ...] = ("busy", "slow", "killed", "garbage")
    for mode in modes:
        renderer.mode = mode
        answer = await registry.as_pdf(number)
        assert (answer.status_code, answer.json()["code"]) == (503, 4430)
        assert int(answer.headers["retry-after"]) >= 1
    assert await database.fetchval("SELECT count(*) FROM access_log") == 0
    renderer.mode = "ok"
    assert (await registry.as_pdf(number)).status_code == 200


@infra
async def test_with_pdf_renderer_down_it_is_4430(registry: RegistryClient, renderer: Renderer) -> None:
    number = (await with_cv(registry))["personNumber"]
    await renderer.stop()
    assert await code(registry, number) == 4430


@infra
async def test_a_document_that_cannot_be_logged_is_not_answered(
    registry: RegistryClient, database: Database
) -> None:
    number = (await with_cv(registry))["personNumber"]
    await database.execute("ALTER TABLE access_log RENAME TO away")
    answer = await registry.as_pdf(number, accept=PDF)
    assert answer.status_code == 503
    assert b"%PDF" not in answer.content


@infra
async def test_only_the_gateway_may_read_for_a_caller(registry: RegistryClient) -> None:
    answer = await registry.as_pdf(a_person_number(), service="operator")
    assert answer.json()["code"] == 1013


def test_the_pdf_itself_is_for_those_who_prefer_it() -> None:
    for accept in (PDF, "application/pdf, */*;q=0.8", "application/json;q=0.5, application/PDF;q=0.9"):
        assert wants_pdf(accept)
    for accept in (
        "",
        "*/*",
        "application/json",
        "application/json, application/pdf",
        f"{PDF};q=0",
        "text/html",
    ):
        assert not wants_pdf(accept)


def test_tags_are_compared_weakly() -> None:
    assert is_known('"a"', 'W/"a"')
    assert not is_known('"a"', "")
    assert not is_known('"a"', '"ab", a')
