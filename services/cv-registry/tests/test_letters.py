"""CreateJobnetAccountLetter: the new login, its letter, every fault of who orders it, and the end of a login."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cv_citizens.renderer_testing import Mode
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
from cv_registry.letter_testing import World, code
from cv_registry.testing import a_person_number
from cvhub.sinks.letters import Behaviour
from cvhub.sinks.testing import Sinks
from servicekit.caller import Caller
from servicekit.data.consistency import parse

pytestmark = pytest.mark.infra

NEW_NUMBER = {"cvNumber": "98765432"}


def _contents(folder: Path) -> list[bytes]:
    """Give what is in all files but the print service's own."""
    return [file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.suffix != ".pdf"]


async def test_the_letter_brings_a_login_that_is_valid_and_its_event_has_the_receipts_id(
    world: World,
    sinks: Sinks,
) -> None:
    citizen = await world.citizen(middleName="Bæk", addressProtected=True)
    answer = await world.order(citizen)
    assert answer.status_code == 200
    [asked] = world.renderer.asked
    assert asked["kind"] == "letter"
    assert asked["content"]["name"] == "Åse Bæk Prøvesen"
    assert asked["content"]["postalAddress"]["AddressLine"] == "Prøvegade 7, 2. tv"
    assert asked["content"]["userName"] == citizen["cvNumber"]
    [letter] = sinks.letters.taken()
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
    world: World,
    sinks: Sinks,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    citizen = await world.citizen()
    behaviours: tuple[Behaviour, ...] = ("works", "refuses", "loses-answers", "fails")
    for behaviour in behaviours:
        sinks.letters.behaviour = behaviour
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
    sinks: Sinks,
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
    assert len(sinks.letters.taken()) == 1


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
    world: World, sinks: Sinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    citizen = await world.citizen()
    monkeypatch.setattr(world.renderer, "before", lambda _: world.change(citizen, **NEW_NUMBER))
    assert code(await world.order(citizen)) == 4103
    assert (sinks.letters.handed, await world.states()) == ([], [])


async def test_logins_are_asked_about_by_jobnet_only(world: World) -> None:
    for service in ("operator", "cv-status", "stranger"):
        assert await world.is_valid(("1", "x"), service) == 1013


async def test_the_thread_that_compares_logins_ends_with_the_service(world: World) -> None:
    async with world.start() as another:
        assert await replace(world, registry=another).is_valid(("1", "x")) is False
        assert _login_threads()
    assert not _login_threads()


def _login_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("logins")]
