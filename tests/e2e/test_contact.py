"""Contact data through the gateway: codes read from the sinks and used; ReplaceCV's contact data whole, whatever is killed."""

import asyncio
from itertools import count
from typing import Any

import asyncpg
import httpx
import pytest
from tests.e2e.caller import Caller, Json, fault, population, small_cv
from tests.e2e.contacts import LANDLINE, MAIL, MOBILE, PATIENCE, code_sent, found, save, shown, verify
from tests.e2e.system import REGISTRY, System

from cvhub.synthetic import SyntheticCitizen
from servicekit.testing import eventually

CONTACT = "contact-verification"
_fresh = count(200)
"""Part of values that nothing was sent to yet, also where a test runs again."""


def citizen(number: int) -> SyntheticCitizen:
    """Give a citizen whom no other test of this file writes about."""
    return population(200)[-1 - number]


def cv_with(text: str, mail: str | None = None, *phones: str) -> Json:
    contact: Json = {"PhoneNumber": list(phones)}
    if mail is not None:
        contact["E-mail"] = mail
    return {**small_cv(text), "ContactInformation": contact}


async def test_the_codes_of_mail_and_sms_are_used_once(
    system: System, caller: Caller, http: httpx.AsyncClient
) -> None:
    one, fresh = citizen(0), next(_fresh)
    values = {MAIL: f"borger.nul.{fresh}@example.com", MOBILE: f"+4526000{fresh}"}
    assert (await save(caller, one, dict(values))).status_code == 200
    for kind, to in values.items():
        code = await code_sent(system, http, to)
        wrong = f"{(int(code) + 1) % 1_000_000:06}"
        assert fault(await verify(caller, one, kind, wrong)) == (409, 9241)
        assert (await verify(caller, one, kind, code)).status_code == 200
        assert fault(await verify(caller, one, kind, code)) == (404, 9242)
    assert await found(caller, values[MAIL]) == [one.person_number]


async def test_a_cv_with_contact_data_is_shown_at_once_and_becomes_the_contact_data(
    system: System, caller: Caller
) -> None:
    one = citizen(1)
    for mail in ("et.foerste@example.com", "et.andet@example.com"):
        answer = await caller.replace_cv(one.person_number, cv_with("kontakt", mail, "26000101"))
        assert answer.status_code == 200, answer.text
        token = answer.headers["x-consistency-token"]
        assert await shown(caller, one, token) == {"E-mail": mail, "PhoneNumber": ["+4526000101"]}

    async def activated() -> None:
        assert await found(caller, "et.andet@example.com") == [one.person_number]
        assert await found(caller, "et.foerste@example.com") == []
        assert await system.value("select count(*) from prepares", service=CONTACT) == 0

    await eventually(activated, PATIENCE)
    saved = await save(caller, one, {MAIL: "et.tredje@example.com"})
    token = saved.headers["x-consistency-token"]
    assert (await shown(caller, one, token))["E-mail"] == "et.tredje@example.com"


async def test_a_landline_that_was_read_is_sent_back_and_stays_the_landline(
    system: System, caller: Caller
) -> None:
    one = citizen(5)
    await caller.replace_cv(one.person_number, cv_with("før"))
    saved = await save(caller, one, {LANDLINE: "33123456"})
    read = await shown(caller, one, saved.headers["x-consistency-token"])
    assert read == {"PhoneNumber": ["", "+4533123456"]}
    person = await system.value("select person_id from citizens where cv_number = $1", one.cv_number)

    async def kept() -> Any:
        saved = "select type, version from contacts where person_id = $1"
        coded = "select type, salt from codes where person_id = $1"
        return [await system.rows(query, person, service=CONTACT) for query in (saved, coded)]

    before = await kept()
    answer = await caller.replace_cv(one.person_number, {**small_cv("efter"), "ContactInformation": read})
    assert answer.status_code == 200
    assert await shown(caller, one, answer.headers["x-consistency-token"]) == read
    assert await kept() == before


async def test_without_contact_verification_no_cv_is_half_replaced(system: System, caller: Caller) -> None:
    one = citizen(2)
    await caller.replace_cv(one.person_number, cv_with("før", "to.foer@example.com"))
    system.kill(CONTACT)
    answer = await caller.replace_cv(one.person_number, cv_with("efter", "to.efter@example.com"))
    assert fault(answer) == (502, 9234)
    assert await shown(caller, one) == {"E-mail": "to.foer@example.com"}
    await asyncio.to_thread(system.revive, CONTACT)
    again = await caller.replace_cv(one.person_number, cv_with("efter", "to.efter@example.com"))
    assert again.status_code == 200
    assert await shown(caller, one) == {"E-mail": "to.efter@example.com"}


@pytest.mark.long
@pytest.mark.parametrize("killed", [CONTACT, REGISTRY, "Kafka"])
async def test_whatever_is_killed_after_the_commit_the_contact_data_get_there(
    system: System, caller: Caller, killed: str
) -> None:
    one = citizen(3)
    mail = f"tre.{killed.lower()}@example.com"
    answer = await caller.replace_cv(one.person_number, cv_with("dræbt", mail))
    system.kill(killed)
    assert answer.status_code == 200
    await asyncio.to_thread(system.revive, killed)

    async def converged() -> None:
        assert await found(caller, mail) == [one.person_number]
        assert await shown(caller, one) == {"E-mail": mail}

    await eventually(converged, PATIENCE)


async def test_a_registry_killed_between_prepare_and_commit_leaves_what_was_there(
    system: System, caller: Caller
) -> None:
    """The commit is held up by a lock, the registry killed meanwhile; the prepare is settled as abandoned."""
    one = citizen(4)
    await caller.replace_cv(one.person_number, cv_with("før", "fire.foer@example.com"))

    async def calm() -> None:
        assert await system.value("select count(*) from prepares", service=CONTACT) == 0

    await system.rows("update prepares set next_ask = now()", service=CONTACT)
    await eventually(calm, PATIENCE)
    holder = await asyncpg.connect(system.dsn(REGISTRY))
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("lock table contact_decisions in access exclusive mode")
    replacing = asyncio.create_task(
        caller.replace_cv(one.person_number, cv_with("efter", "fire.efter@example.com"))
    )

    async def prepared() -> None:
        assert await system.value("select count(*) from prepares", service=CONTACT) == 1

    await eventually(prepared, PATIENCE)
    system.kill(REGISTRY)
    await transaction.rollback()
    await holder.close()
    answer = await replacing
    assert answer.status_code >= 500
    await asyncio.to_thread(system.revive, REGISTRY)
    await system.rows("update prepares set next_ask = now()", service=CONTACT)
    await eventually(calm, PATIENCE)
    cv = (await caller.get_cv(one.person_number)).json()["CVProfile"]
    text = cv["CV"]["ProfessionalSummaryText"]["HTMLText"]
    mail = cv["PersonalData"]["ContactInformation"]["E-mail"]
    assert (text, mail) in {("før", "fire.foer@example.com"), ("efter", "fire.efter@example.com")}
    assert await found(caller, mail) == [one.person_number]
