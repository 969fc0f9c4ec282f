"""CreateJobnetAccountLetter: the new login, its letter, every fault, and a print service that fails, hangs or loses answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

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
from cv_contracts.events.cv_registry import AccountLetterSent
from cv_contracts.topics import topic_of
from cv_registry import letters
from cv_registry.app import create_app
from cv_registry.settings import SERVICE
from cv_registry.testing import RegistryClient, SettableClock, a_citizen, a_person_number, some_settings
from cvhub.sinks.letters import Behaviour
from cvhub.sinks.testing import PASSWORD, Sinks, running_sinks
from servicekit.caller import Caller
from servicekit.data.consistency import parse
from servicekit.data.postgres import Database
from servicekit.settings import PostgresSettings
from servicekit.testing import eventually
from servicekit.web.testing import Identities, in_process
from servicekit.web.tls import trusting

pytestmark = pytest.mark.infra

NEW_NUMBER = {"cvNumber": "98765432"}


@dataclass
class World:
    """A registry with pdf-renderer's stand-in and the local print service beside it; `start` starts it again."""

    registry: RegistryClient
    renderer: Renderer
    sinks: Sinks
    database: Database
    start: Callable[[], AbstractAsyncContextManager[RegistryClient]]

    async def citizen(self, **changes: Any) -> dict[str, Any]:
        citizen = a_citizen(**changes)
        (ids,) = await self.registry.register(citizen)
        return {**citizen, **ids}

    async def change(self, citizen: dict[str, Any], **changes: Any) -> None:
        source = {name: value for name, value in citizen.items() if name in a_citizen()}
        await self.registry.register({**source, "sourceVersion": 2, **changes})

    async def order(self, citizen: dict[str, Any], **more: Any) -> httpx.Response:
        return await self.registry.letter(citizen["personNumber"], **more)

    @property
    def login(self) -> tuple[str, str]:
        """User name and password of the letter rendered last."""
        content = self.renderer.asked[-1]["content"]
        return content["userName"], content["password"]

    async def is_valid(self, login: tuple[str, str], service: str = "jobnet-login") -> Any:
        answer = await self.registry.call(
            "POST",
            "/internal/jobnet-accounts/login",
            {"userName": login[0], "password": login[1]},
            service=service,
            content_type="application/json",
        )
        return answer.json().get("valid", answer.json().get("code"))

    async def states(self) -> list[str]:
        rows = await self.database.fetch("SELECT state FROM account_letters ORDER BY ordered_at")
        return [row["state"] for row in rows]

    async def events(self) -> int:
        count: int = await self.database.fetchval(
            "SELECT count(*) FROM outbox WHERE aggregatetype LIKE '%letter%'"
        )
        return count


def _contents(folder: Path) -> list[bytes]:
    """Give what is in all files but the print service's own."""
    return [file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.suffix != ".pdf"]


def code(answer: httpx.Response) -> Any:
    return answer.json().get("code", answer.status_code)


@pytest_asyncio.fixture
async def world(
    postgres: PostgresSettings,
    database: Database,
    tmp_path: Path,
    clock: SettableClock,
    identities: Identities,
) -> AsyncIterator[World]:
    identity, signers = identities.settings(SERVICE), identities.signers
    async with rendering() as renderer, running_sinks(tmp_path) as sinks:
        settings = some_settings(
            postgres,
            identity,
            renderer_url=renderer.url,
            renderer_timeout=timedelta(seconds=1),
            print_url=sinks.print_url,
            print_token=SecretStr(PASSWORD),
            print_timeout=timedelta(seconds=0.4),
            letters_settled_every=timedelta(seconds=3600),
        )

        @asynccontextmanager
        async def start() -> AsyncIterator[RegistryClient]:
            async with in_process(create_app(settings, clock=clock)) as (client, _):
                yield RegistryClient(client, signers)

        async with start() as registry:
            yield World(registry, renderer, sinks, database, start)


async def test_the_letter_brings_a_login_that_is_valid_and_its_event_has_the_receipts_id(
    world: World,
) -> None:
    citizen = await world.citizen(middleName="Bæk", addressProtected=True)
    answer = await world.order(citizen)
    assert answer.status_code == 200
    [asked] = world.renderer.asked
    assert asked["kind"] == "letter"
    assert asked["content"]["name"] == "Åse Bæk Prøvesen"
    assert asked["content"]["postalAddress"]["AddressLine"] == "Prøvegade 7, 2. tv"
    assert asked["content"]["userName"] == citizen["cvNumber"]
    [letter] = world.sinks.letters.taken()
    assert letter.read_bytes() == world.renderer.pdf_of(asked)
    assert await world.is_valid(world.login) is True
    assert await world.is_valid((citizen["cvNumber"], "abcd-abcd-abcd-abcd")) is False
    assert await world.is_valid(("99999999", world.login[1])) is False
    row = await world.database.fetchrow("SELECT * FROM outbox WHERE aggregatetype LIKE '%letter%'")
    assert row is not None
    assert str(row["id"]) == answer.json()["ServiceReceipt"]["MessageIdentifier"]
    assert row["aggregateid"] == citizen["cvId"]
    assert row["payload"] == b'{"version":%d}' % row["version"]
    token = parse(answer.headers["x-consistency-token"])
    assert token.entries == {(topic_of(AccountLetterSent).name, UUID(citizen["cvId"])): row["version"]}
    logged = await world.database.fetchval("SELECT method FROM access_log")
    assert logged == "CreateJobnetAccountLetter"


async def test_the_password_is_nowhere_at_rest_but_on_the_letter(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    citizen = await world.citizen()
    behaviours: tuple[Behaviour, ...] = ("works", "refuses", "loses-answers", "fails")
    for behaviour in behaviours:
        world.sinks.letters.behaviour = behaviour
        await world.order(citizen, x_requestid=behaviour)
    passwords = [asked["content"]["password"] for asked in world.renderer.asked]
    assert len(set(passwords)) == len(behaviours)
    tables = await world.database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [
        row[0]
        for table in tables
        for row in await world.database.fetch(f"SELECT t::text FROM {table['tablename']} AS t")
    ]
    files = _contents(tmp_path)
    seen = "\n".join([*rows, *capfd.readouterr(), caplog.text])
    for password in passwords:
        assert password not in seen
        assert password.encode().hex() not in seen
        assert all(password.encode() not in content for content in files)
    hashes = await world.database.fetch("SELECT state, password_hash FROM account_letters")
    kept = {row["state"]: row["password_hash"] for row in hashes}
    assert kept["valid"].startswith("$argon2id$")
    assert kept["failed"] is None
    assert kept["replaced"] is None


async def test_who_may_order_a_letter_and_which_fault_others_get(world: World) -> None:
    referred = referral(ACTOR, JOBCENTER)
    mine = await world.citizen(
        relations=[relation(MUNICIPALITY), relation(JOBCENTER), relation(FUND), referred]
    )
    nobodys = await world.citizen(relations=[])
    former = await world.citizen(relations=[relation(FUND, to="2026-11-21")])
    cases: list[tuple[Caller, Any, Any]] = [
        (a_caller(FUND), 200, 4385),
        (a_caller(OTHER_FUND), 8291, 4385),
        (a_caller(MUNICIPALITY), 200, 4575),
        (a_caller(JOBCENTER), 200, 4575),
        (a_caller(JOBCENTER, ACTOR), 200, 4511),
        (a_caller(MUNICIPALITY, ACTOR), 4511, 4511),
        (a_caller(STAR), 8292, 8292),
        (a_caller(COMPANY), 8292, 8292),
        (a_caller(JOBNET), 200, 200),
    ]
    for who, for_mine, for_nobodys in cases:
        assert code(await world.order(mine, caller=who)) == for_mine
        assert code(await world.order(nobodys, caller=who)) == for_nobodys
    assert code(await world.order(former, caller=a_caller(FUND))) == 4385


async def test_the_citizen_the_number_and_the_account_decide_in_the_order_of_the_specification(
    world: World,
) -> None:
    assert code(await world.registry.letter("3113001234")) == 1014
    for unknown in ("0000000000", a_person_number()):
        assert code(await world.registry.letter(unknown)) == 4103
        assert code(await world.registry.letter(unknown, caller=a_caller(STAR))) == 8292
    for changes, expected in (
        ({"cvNumberWithdrawn": True, "jobnetAccount": False}, 4103),
        ({"jobnetAccount": False}, 4400),
        ({"dead": True}, 4400),
        ({"jobnetAccount": True}, 200),
    ):
        assert code(await world.order(await world.citizen(**changes))) == expected
    citizen = await world.citizen()
    for body in (b'{"More":1}', b"[]", b"x"):
        answer = await world.registry.call(
            "POST", "/v6/JobnetAccount/letter", body, x_civilregistrationidentifier=citizen["personNumber"]
        )
        assert code(answer) == 1014
    assert code(await world.order(citizen, x_requestid="x" * 47)) == 1014
    assert len(world.sinks.letters.taken()) == 1


async def test_without_a_rendered_letter_it_is_4430_and_the_old_login_works(world: World) -> None:
    citizen = await world.citizen()
    await world.order(citizen)
    old = world.login
    modes: tuple[Mode, ...] = ("busy", "slow", "killed", "garbage")
    for mode in modes:
        world.renderer.mode = mode
        answer = await world.order(citizen)
        assert (answer.status_code, code(answer)) == (503, 4430)
        assert int(answer.headers["retry-after"]) >= 1
    assert await world.states() == ["valid"]
    assert await world.is_valid(old) is True


async def test_a_letter_that_was_not_taken_is_4431_and_the_old_login_works_until_another_one_is(
    world: World,
) -> None:
    behaviours: tuple[Behaviour, ...] = ("refuses", "fails", "hangs")
    for number, behaviour in enumerate(behaviours):
        citizen = await world.citizen()
        world.sinks.letters.behaviour = "works"
        await world.order(citizen)
        old = world.login
        world.sinks.letters.behaviour = behaviour
        answer = await world.order(citizen, x_requestid="again")
        assert (answer.status_code, code(answer)) == (502, 4431)
        assert int(answer.headers["retry-after"]) >= 1
        never_sent = world.login
        assert [await world.is_valid(login) for login in (old, never_sent)] == [True, False]
        assert await world.events() == 2 * number + 1
        world.sinks.letters.behaviour = "works"
        again = await world.order(citizen, x_requestid="again")
        assert again.status_code == 200
        assert "x-idempotent-replay" not in again.headers
        assert (await world.states())[-3:] == ["replaced", "failed", "valid"]
        assert [await world.is_valid(login) for login in (old, never_sent, world.login)] == [
            False,
            False,
            True,
        ]
        assert len(world.sinks.letters.taken()) == 2 * number + 2


async def test_who_waits_too_long_for_those_whose_letters_are_under_way_is_told_to_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "LONGEST_WAIT", 0.1)
    world.sinks.letters.behaviour = "hangs"
    citizens = [await world.citizen() for _ in range(2 * letters.AT_ONCE)]
    answers = await asyncio.gather(*(world.order(citizen) for citizen in citizens))
    codes = [code(answer) for answer in answers]
    assert set(codes) == {4430, 4431}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    world.sinks.letters.behaviour = "works"
    assert (await world.order(citizens[codes.index(4430)])).status_code == 200


async def test_a_lost_answer_is_settled_by_asking_with_the_same_letter_and_never_by_a_second_one(
    world: World,
) -> None:
    behaviours: tuple[Behaviour, ...] = ("loses-answers", "hangs-afterwards")
    for number, behaviour in enumerate(behaviours, 1):
        world.sinks.letters.behaviour = behaviour
        assert (await world.order(await world.citizen())).status_code == 200
        assert len(world.sinks.letters.handed) == number
        assert await world.is_valid(world.login) is True
        assert await world.events() == number


async def test_while_the_fate_of_a_letter_is_unknown_no_other_is_sent_and_then_its_order_gets_its_receipt(
    world: World,
) -> None:
    citizen = await world.citizen()
    world.sinks.letters.behaviour = "breaks"
    for request_id in ("first", "first", "other"):
        assert code(await world.order(citizen, x_requestid=request_id)) == 4431
    assert await world.states() == ["sending"]
    assert await world.is_valid(world.login) is False
    world.sinks.letters.behaviour = "works"
    answer = await world.order(citizen, x_requestid="first")
    assert answer.status_code == 200
    assert answer.headers["x-idempotent-replay"] == "true"
    assert len(world.sinks.letters.handed) == 1
    assert await world.is_valid(world.login) is True
    assert await world.events() == 1


async def test_a_letter_left_in_the_middle_is_settled_after_a_restart(world: World) -> None:
    taken, withdrawn = await world.citizen(), await world.citizen()
    world.sinks.letters.behaviour = "breaks"
    assert code(await world.order(taken, x_requestid="one")) == 4431
    brought = world.login
    world.sinks.letters.behaviour = "hangs"
    ordering = asyncio.create_task(world.order(withdrawn))
    await eventually(lambda: len(world.sinks.letters.handed) == 2)
    ordering.cancel()
    assert await world.states() == ["sending", "sending"]
    world.sinks.letters.behaviour = "works"

    async def settled() -> None:
        assert await world.states() == ["valid", "failed"]

    async with world.start() as again:
        await eventually(settled)
        answer = await again.letter(taken["personNumber"], x_requestid="one")
    assert answer.headers["x-idempotent-replay"] == "true"
    assert await world.is_valid(brought) is True
    assert await world.events() == 1
    async with httpx.AsyncClient(verify=trusting()) as late:
        bearer = {"authorization": f"Bearer {PASSWORD}"}
        url = f"{world.sinks.print_url}/letters/{world.sinks.letters.handed[1]}"
        assert (await late.put(url, content=b"%PDF-1.7 late", headers=bearer)).status_code == 410
    assert len(world.sinks.letters.taken()) == 1


async def test_what_is_being_sent_now_is_left_alone_by_those_who_settle(world: World) -> None:
    citizen = await world.citizen()
    world.sinks.letters.behaviour = "hangs-afterwards"
    ordering = asyncio.create_task(world.order(citizen))
    await eventually(lambda: len(world.sinks.letters.handed) == 1)
    async with world.start():
        answer = await ordering
    assert answer.status_code == 200
    assert await world.events() == 1


async def test_twenty_identical_orders_at_once_bring_one_letter_and_all_get_its_receipt(world: World) -> None:
    citizen = await world.citizen()
    answers = await asyncio.gather(*(world.order(citizen, x_requestid="same") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(world.sinks.letters.handed) == 1
    assert await world.events() == 1
    others = await asyncio.gather(*(world.order(citizen) for _ in range(2)))
    assert {answer.status_code for answer in others} == {200}
    assert await world.states() == ["replaced", "replaced", "valid"]
    assert await world.is_valid(world.login) is True


@pytest.mark.parametrize("ended", [NEW_NUMBER, {"jobnetAccount": False}, {"dead": True}])
async def test_a_login_ends_with_the_number_and_the_account_it_was_made_for(
    world: World, ended: dict[str, Any]
) -> None:
    citizen = await world.citizen()
    await world.order(citizen)
    assert await world.is_valid(world.login) is True
    await world.change(citizen, **ended)
    assert await world.is_valid(world.login) is False


async def test_no_letter_goes_out_for_a_number_that_ended_while_it_was_rendered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    citizen = await world.citizen()
    monkeypatch.setattr(world.renderer, "before", lambda _: world.change(citizen, **NEW_NUMBER))
    assert code(await world.order(citizen)) == 4103
    assert (world.sinks.letters.handed, await world.states()) == ([], [])


async def test_logins_are_asked_about_by_jobnet_only(world: World) -> None:
    for service in ("operator", "cv-status", "stranger"):
        assert await world.is_valid(("1", "x"), service) == 1013
