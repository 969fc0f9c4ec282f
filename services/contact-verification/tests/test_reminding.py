"""Reminders of contact data that were confirmed long ago: to whom, when they are void, and what confirms."""

import asyncio
from datetime import timedelta

import pytest

from contact_verification.settings import Settings
from contact_verification.testing import (
    CASE_WORKER,
    EMAIL,
    LANDLINE,
    MOBILE,
    Sending,
    Start,
    ToSinks,
    World,
    live,
)
from cv_citizens.testing import JOBNET, a_caller
from cvhub.sinks.testing import Sinks
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


async def test_a_reminder_is_given_up_that_nobody_takes_for_long(sinks: Sinks, sending: Sending) -> None:
    async def full(_to: str) -> int:
        return 452

    async with sending(first_back_off=0.01, reminder_attempts=4) as world:
        person = await world.resident(EMAIL)
        await eventually(world.marked("sent"))
        await world.verify(person, EMAIL, await world.code(person, EMAIL))
        await world.database.execute("update contacts set confirmed_at = now() - interval '17 months'")
        sinks.mail.trouble = full
        assert await world.parts.reconfirming.run_once() == (1, 0)
        await eventually(world.marked("refused"))
        assert await world.database.fetchval("select max(attempts) from messages") == 4
        assert (await world.contacts(person))[EMAIL][1] == 2


async def test_codes_go_before_reminders_however_long_these_have_been_due(world: World) -> None:
    nobodys = 9
    *_, person = [await world.resident(EMAIL) for _ in range(4)]
    await world.database.execute(
        "update messages set type = $2, kind = case when person_id = $1 then 'code' else 'reminder' end,"
        " next_try = now() - case when person_id = $1 then interval '0' else interval '1 hour' end",
        person.person_id,
        nobodys,
    )
    [claimed] = await world.parts.messages.claim([nobodys], 1, timedelta(seconds=60))
    assert (claimed.kind, claimed.person) == ("code", person.person_id)


async def test_old_data_are_reminded_of_and_then_not_verified(posted: World, sinks: Sinks) -> None:
    person = await posted.resident(EMAIL)
    await posted.verify(person, EMAIL, await posted.code(person, EMAIL))
    age = posted.settings.reconfirm_after - posted.settings.remind_before + timedelta(hours=1)
    await posted.database.execute("update contacts set confirmed_at = now() - $1::interval", age)
    assert await posted.parts.reconfirming.run_once() == (1, 0)
    assert await posted.parts.reconfirming.run_once() == (0, 0)
    assert (await posted.contacts(person))[EMAIL][1] == 2
    posted.parts.sender.wake()
    await eventually(lambda: any("bekræftes" in m.text for m in sinks.kept.of(to=person.mail)))
    await posted.database.execute(
        "update contacts set confirmed_at = now() - $1::interval",
        posted.settings.reconfirm_after + timedelta(1),
    )
    assert await posted.parts.reconfirming.run_once() == (0, 1)
    assert (await posted.contacts(person))[EMAIL][1] == 1
    assert (await posted.events(person))[-1] == "contact-saved"


async def test_only_who_can_confirm_is_reminded(world: World) -> None:
    """Nobody can verify a landline; the dead and who was merged into another confirm nothing."""
    people = [await world.resident(EMAIL) for _ in range(4)]
    living, landline, dead, merged = people
    await world.save(CASE_WORKER, landline, {LANDLINE: landline.landline})
    for person in (living, dead, merged):
        await world.set_status(CASE_WORKER, person, EMAIL, 2)
    await world.set_status(CASE_WORKER, landline, LANDLINE, 2)
    await world.change(dead, 2, dead=True)
    await world.change(merged, 2, cvNumber=None, mergedInto=str(living.person_id))
    await world.database.execute(
        "update contacts set confirmed_at = now() - interval '17 months' where status = 2"
    )
    assert await world.parts.reconfirming.run_once() == (1, 0)
    reminded = await world.database.fetch("select person_id from messages where kind = 'reminder'")
    assert [row["person_id"] for row in reminded] == [living.person_id]


async def test_a_reminder_that_waits_is_void_once_nobody_can_confirm_any_more(
    settings: Settings, start: Start, sinks: Sinks, to_sinks: ToSinks
) -> None:
    """Mail was away while the one citizen died and the other was merged into a third."""
    async with live(start, settings) as world:
        living, dead, merged = [await world.resident(EMAIL) for _ in range(3)]
        landline = await world.resident(MOBILE)
        for person, kind in ((living, EMAIL), (dead, EMAIL), (merged, EMAIL), (landline, MOBILE)):
            await world.set_status(CASE_WORKER, person, kind, 2)
        await world.database.execute("update contacts set confirmed_at = now() - interval '17 months'")
        assert await world.parts.reconfirming.run_once() == (4, 0)
        await world.change(dead, 2, dead=True)
        await world.change(merged, 2, cvNumber=None, mergedInto=str(living.person_id))
        for table in ("contacts", "messages"):
            await world.database.execute(
                f"update {table} set type = $2 where person_id = $1", landline.person_id, LANDLINE
            )
    async with start(to_sinks(settings)) as world:
        await world.database.execute("update messages set next_try = now()")
        await eventually(world.marked("sent"))
        await eventually(world.marked("waiting", 0))
    assert [message.to for message in sinks.kept.of()] == [living.mail]


async def test_who_lives_after_all_is_reminded_again(posted: World, sinks: Sinks) -> None:
    async def full(_to: str) -> int:
        return 452

    person = await posted.resident(EMAIL)
    await eventually(posted.marked("sent"))
    await posted.set_status(CASE_WORKER, person, EMAIL, 2)
    await posted.database.execute("update contacts set confirmed_at = now() - interval '17 months'")
    sinks.mail.trouble = full
    assert await posted.parts.reconfirming.run_once() == (1, 0)
    await posted.change(person, 2, dead=True)
    await eventually(posted.marked("void"))
    assert await posted.database.fetchval("select reason from messages where status = 'void'") is None
    assert await posted.parts.reconfirming.run_once() == (0, 0)
    await posted.change(person, 3, dead=False)
    assert await posted.parts.reconfirming.run_once() == (1, 0)


async def test_reminding_ends_where_senders_take_back_what_it_makes(world: World) -> None:
    person = await world.resident(EMAIL)
    await world.set_status(CASE_WORKER, person, EMAIL, 2)
    await world.database.execute("update contacts set confirmed_at = now() - interval '17 months'")
    await world.database.execute(
        "create function taken_back() returns trigger language plpgsql as"
        " $$ begin new.reminded_at = null; return new; end $$"
    )
    await world.database.execute(
        "create trigger taken_back before update on contacts for each row execute function taken_back()"
    )
    async with asyncio.timeout(10):
        assert await world.parts.reconfirming.run_once() == (1, 0)


async def test_saving_again_on_jobnet_confirms_and_an_authority_does_not(world: World) -> None:
    person = await world.resident(EMAIL)
    await world.verify(person, EMAIL, await world.code(person, EMAIL))
    old = "update contacts set confirmed_at = now() - interval '17 months'"
    await world.database.execute(old)
    await world.save(CASE_WORKER, person, {EMAIL: person.mail})
    assert await world.database.fetchval("select confirmed_at < now() - interval '1 month' from contacts")
    await world.save(a_caller(JOBNET), person, {EMAIL: person.mail})
    assert await world.database.fetchval("select confirmed_at > now() - interval '1 month' from contacts")
    assert (await world.contacts(person))[EMAIL] == (person.mail, 2)
