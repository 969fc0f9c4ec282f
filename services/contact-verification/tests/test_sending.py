"""Messages on their way: read from real sinks, with providers that are down, slow, refusing, or forgetful."""

import asyncio
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from contact_verification.circuit import Circuit
from contact_verification.testing import EMAIL, LANDLINE, MOBILE, Make, Person, Start, World, live
from cv_citizens.testing import JOBNET, MUNICIPALITY, a_caller, relation
from cvhub.sinks.kept import Message
from cvhub.sinks.testing import Sinks
from cvhub.testing import FreshDatabase
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

CASE_WORKER = a_caller(MUNICIPALITY)
Sending = Callable[..., dict[str, Any]]


async def a_citizen(world: World, *kinds: int) -> Person:
    person = await world.citizen(relation(MUNICIPALITY))
    values = {MOBILE: person.mobile, EMAIL: person.mail}
    await world.save(CASE_WORKER, person, {kind: values[kind] for kind in kinds})
    return person


def arrived(sinks: Sinks, to: str) -> Callable[[], Message]:
    def look() -> Message:
        [message] = sinks.kept.of(to=to)
        return message

    return look


def code_in(message: Message) -> str:
    found = re.search(r"\b[0-9]{6}\b", message.text)
    assert found is not None
    return found[0]


def marked(world: World, status: str, count: int = 1) -> Callable[[], Any]:
    async def look() -> None:
        rows = await world.database.fetch("select status from messages")
        assert [row["status"] for row in rows].count(status) == count

    return look


async def test_the_code_in_the_mail_and_in_the_sms_verifies(posted: World, sinks: Sinks) -> None:
    person = await a_citizen(posted, MOBILE, EMAIL)
    mail = await eventually(arrived(sinks, person.mail))
    assert mail.id.startswith("<")
    assert "Din kode" in mail.text
    assert "Your code" in mail.text
    sms = await eventually(arrived(sinks, person.mobile))
    assert "Din kode" in sms.text
    for kind, message in ((EMAIL, mail), (MOBILE, sms)):
        assert (await posted.verify(person, kind, code_in(message))).status_code == 200
    assert await posted.contacts(person) == {MOBILE: (person.mobile, 2), EMAIL: (person.mail, 2)}
    await eventually(marked(posted, "sent", 2))
    assert await posted.database.fetchval("select count(*) from messages where salt is not null") == 0


async def test_a_number_abroad_gets_its_sms_in_english(posted: World, sinks: Sinks) -> None:
    person = await posted.citizen(relation(MUNICIPALITY))
    await posted.save(CASE_WORKER, person, {MOBILE: "+46701234567"})
    assert "Your Jobnet code" in (await eventually(arrived(sinks, "+46701234567"))).text


async def test_a_provider_that_is_down_gets_the_message_when_it_is_back(posted: World, sinks: Sinks) -> None:
    port = sinks.mail.port
    await sinks.mail.stop()
    person = await a_citizen(posted, EMAIL)

    async def tried() -> None:
        assert await posted.database.fetchval("select attempts from messages") >= 2

    await eventually(tried)
    await sinks.mail.start("127.0.0.1", port)
    assert code_in(await eventually(arrived(sinks, person.mail)))
    await eventually(marked(posted, "sent"))


async def test_a_slow_provider_holds_up_nobody_who_calls_and_nothing_of_the_other(
    posted: World, sinks: Sinks
) -> None:
    async def sleep(_to: str) -> None:
        await asyncio.sleep(60)

    sinks.mail.trouble = sleep
    person = await a_citizen(posted, EMAIL, MOBILE)
    await eventually(arrived(sinks, person.mobile))

    async def timed_out() -> None:
        reason = await posted.database.fetchval("select reason from messages where type = $1", EMAIL)
        assert reason is not None

    await eventually(timed_out)
    sinks.mail.trouble = None
    await eventually(arrived(sinks, person.mail))


@pytest.mark.parametrize(("mail", "sms"), [(451, 503), (421, 429), (450, 404), (452, 307)])
async def test_an_answer_that_passes_is_tried_again(posted: World, sinks: Sinks, mail: int, sms: int) -> None:
    answers = {"mail": [mail] * 2, "sms": [sms] * 2}

    def first(channel: str) -> Any:
        async def trouble(_to: str) -> int | None:
            return answers[channel].pop() if answers[channel] else None

        return trouble

    sinks.mail.trouble, sinks.sms.trouble = first("mail"), first("sms")
    person = await a_citizen(posted, EMAIL, MOBILE)
    for to in (person.mail, person.mobile):
        assert (await eventually(arrived(sinks, to))).times == 1
    assert [row["attempts"] for row in await posted.database.fetch("select attempts from messages")] == [3, 3]


async def test_an_answer_that_stays_gives_the_message_up_and_says_undeliverable(
    posted: World, sinks: Sinks
) -> None:
    async def nobody(to: str) -> int:
        return 550 if "@" in to else 422

    sinks.mail.trouble, sinks.sms.trouble = nobody, nobody
    person = await a_citizen(posted, EMAIL, MOBILE)
    await eventually(marked(posted, "refused", 2))
    assert await posted.contacts(person) == {MOBILE: (person.mobile, 3), EMAIL: (person.mail, 3)}
    assert (await posted.events(person)).count("contact-status-saved") == 2


async def test_another_4xx_gives_the_message_up_and_leaves_the_status(posted: World, sinks: Sinks) -> None:
    async def bad(_to: str) -> int:
        return 400

    sinks.sms.trouble = bad
    person = await a_citizen(posted, MOBILE)
    await eventually(marked(posted, "refused"))
    assert await posted.contacts(person) == {MOBILE: (person.mobile, 1)}


async def test_an_address_that_the_mail_server_cannot_write_is_undeliverable_and_the_server_is_well(
    posted: World, sinks: Sinks
) -> None:
    sinks.mail.takes_utf8 = False
    person = await posted.citizen(relation(MUNICIPALITY))
    await posted.save(CASE_WORKER, person, {EMAIL: "jørgen@example.dk"})
    await eventually(marked(posted, "refused"))
    assert await posted.contacts(person) == {EMAIL: ("jørgen@example.dk", 3)}
    assert await posted.database.fetchval("select attempts from messages") == 1


async def test_an_address_that_nobody_can_write_costs_no_other_citizen_the_code(
    posted: World, sinks: Sinks
) -> None:
    strange = await posted.citizen(relation(MUNICIPALITY))
    await posted.save(CASE_WORKER, strange, {EMAIL: "=?x?q??=@example.com"})
    await eventually(marked(posted, "refused"))
    person = await a_citizen(posted, EMAIL)
    await eventually(arrived(sinks, person.mail))
    assert (await posted.contacts(strange))[EMAIL][1] == 3


async def test_a_provider_that_takes_it_and_fails_then_gets_it_again_under_the_same_id(
    posted: World, sinks: Sinks
) -> None:
    sinks.mail.drops_answers = sinks.sms.drops_answers = True
    person = await a_citizen(posted, EMAIL, MOBILE)

    def repeated() -> None:
        for to in (person.mail, person.mobile):
            assert arrived(sinks, to)().times >= 2

    await eventually(repeated)
    sinks.mail.drops_answers = sinks.sms.drops_answers = False
    await eventually(marked(posted, "sent", 2))
    assert len(sinks.kept.of()) == 2


async def test_mail_that_a_server_took_is_not_sent_again_when_it_never_says_goodbye(
    posted: World, sinks: Sinks
) -> None:
    sinks.mail.answers_quit = False
    person = await a_citizen(posted, EMAIL)
    await eventually(marked(posted, "sent"))
    assert arrived(sinks, person.mail)().times == 1
    assert await posted.database.fetchval("select attempts from messages") == 1


async def test_what_a_server_refused_is_refused_when_it_never_says_goodbye(
    posted: World, sinks: Sinks
) -> None:
    async def nobody(_to: str) -> int:
        return 550

    sinks.mail.trouble, sinks.mail.answers_quit = nobody, False
    await a_citizen(posted, EMAIL)
    await eventually(marked(posted, "refused"))


async def test_a_reminder_is_given_up_that_nobody_takes_for_long(
    fresh_database: FreshDatabase, make_settings: Make, start: Start, sinks: Sinks, sending_to: Sending
) -> None:
    async def full(_to: str) -> int:
        return 452

    postgres = await fresh_database("contact_verification.migrations")
    settings = make_settings(postgres, **sending_to(sinks, first_back_off=0.01, reminder_attempts=4))
    async with live(start, settings) as world:
        person = await a_citizen(world, EMAIL)
        await eventually(marked(world, "sent"))
        await world.verify(person, EMAIL, await world.code(person, EMAIL))
        await world.database.execute("update contacts set confirmed_at = now() - interval '17 months'")
        sinks.mail.trouble = full
        assert await world.parts.reconfirming.run_once() == (1, 0)
        await eventually(marked(world, "refused"))
        assert await world.database.fetchval("select max(attempts) from messages") == 4
        assert (await world.contacts(person))[EMAIL][1] == 2


async def test_two_services_share_the_messages_and_send_each_once(
    posted: World, sinks: Sinks, start: Start
) -> None:
    async with start(posted.settings):
        people = [await a_citizen(posted, EMAIL) for _ in range(30)]
        await eventually(marked(posted, "sent", 30))
    assert {message.to: message.times for message in sinks.kept.of()} == dict.fromkeys(
        (person.mail for person in people), 1
    )


async def test_a_sender_that_dies_between_sending_and_marking_is_followed_by_one_more_with_the_same_id(
    fresh_database: FreshDatabase, make_settings: Make, start: Start, sinks: Sinks, sending_to: Sending
) -> None:
    postgres = await fresh_database("contact_verification.migrations")
    settings = make_settings(postgres, **sending_to(sinks, lease=0.5, timeout=0.4))
    async with live(start, settings) as world:
        person = await a_citizen(world, EMAIL)
        await eventually(marked(world, "sent"))
        await world.database.execute(
            "update messages m set status = 'waiting', done_at = null, next_try = now() + interval '0.5 s',"
            " salt = k.salt from codes k where k.period_id = m.period_id"
        )

        def again() -> None:
            assert arrived(sinks, person.mail)().times == 2

        await eventually(again)
        assert (await world.verify(person, EMAIL, code_in(arrived(sinks, person.mail)()))).status_code == 200


async def test_nothing_is_sent_that_nobody_needs_any_more(
    settings: Any, start: Start, sinks: Sinks, sending_to: Sending
) -> None:
    """A code voided by another one or expired, a value changed, removed, blocked or verified by whomever, a reminder after the answer."""
    async with live(start, settings) as world:
        people = [await a_citizen(world, EMAIL) for _ in range(7)]
        await world.verify(people[5], EMAIL, await world.code(people[5], EMAIL))
        old = "update contacts set confirmed_at = now() - interval '17 months' where status = 2"
        await world.database.execute(old)
        assert await world.parts.reconfirming.run_once() == (1, 0)
        await world.save(a_caller(JOBNET), people[5], {EMAIL: people[5].mail})
        await world.save(CASE_WORKER, people[0], {EMAIL: "new@example.com"})
        await world.save(CASE_WORKER, people[1], {EMAIL: None})
        await world.set_status(CASE_WORKER, people[2], EMAIL, 4)
        await world.set_status(CASE_WORKER, people[6], EMAIL, 2)
        await world.verify(people[3], EMAIL, await world.code(people[3], EMAIL))
        await world.database.execute(
            "update messages set expires_at = now() where person_id = $1", people[4].person_id
        )
    async with start(settings.model_copy(update=sending_to(sinks))) as world:
        await world.database.execute("update messages set next_try = now()")
        await eventually(marked(world, "void", 8))
        await eventually(marked(world, "sent", 1))
    assert [message.to for message in sinks.kept.of()] == ["new@example.com"]


def test_a_provider_counts_as_away_from_its_last_allowed_failure_until_something_went_through() -> None:
    now = 0.0
    circuit = Circuit(2, timedelta(seconds=30), lambda: now)
    circuit.failed()
    assert (circuit.away, circuit.room(20)) == (False, 20)
    circuit.failed()
    assert (circuit.away, circuit.room(20)) == (True, 0)
    # It may be tried now, and still nobody knows that it is back.
    now = 31.0
    assert (circuit.open, circuit.away, circuit.room(20)) == (False, True, 1)
    circuit.worked()
    assert (circuit.away, circuit.room(20)) == (False, 20)


async def test_the_circuit_opens_and_one_message_tries_the_provider(
    fresh_database: FreshDatabase, make_settings: Make, start: Start, sinks: Sinks, sending_to: Sending
) -> None:
    asked = 0

    async def busy(_to: str) -> int:
        nonlocal asked
        asked += 1
        return 503

    sinks.sms.trouble = busy
    postgres = await fresh_database("contact_verification.migrations")
    settings = make_settings(postgres, **sending_to(sinks, circuit_failures=3, circuit_rest=1.0))
    async with live(start, settings) as world:
        for _ in range(8):
            await a_citizen(world, MOBILE)
        await eventually(lambda: world.parts.sender.health()["sms"]["open"])
        assert world.parts.sender.away() == ["sms"]
        assert asked <= 20
        sinks.sms.trouble = None
        await eventually(marked(world, "sent", 8))
        assert world.parts.sender.health()["sms"]["open"] is False
        assert world.parts.sender.away() == []


async def test_a_message_whose_key_is_gone_waits_alone_and_the_provider_goes_on(
    settings: Any, start: Start, sinks: Sinks, sending_to: Sending
) -> None:
    """That an address cannot be opened is no trouble of the provider, which is not left alone for it."""
    async with live(start, settings) as world:
        await a_citizen(world, EMAIL)
    sending = sending_to(sinks, circuit_failures=1, circuit_rest=600.0)
    other_key = {"data_keys": SecretStr("k2:another key of sixteen bytes")}
    async with start(settings.model_copy(update={**sending, **other_key})) as world:
        await world.heartbeat()
        await world.database.execute("update messages set next_try = now()")

        async def tried() -> None:
            assert "no key" in await world.database.fetchval("select reason from messages")

        await eventually(tried)
        person = await a_citizen(world, EMAIL)
        await eventually(arrived(sinks, person.mail))
        await eventually(marked(world, "sent"))
        assert await world.database.fetchval("select count(*) from messages where status = 'waiting'") == 1


@pytest.mark.parametrize(("kind", "answer"), [(EMAIL, 450), (MOBILE, 409)])
async def test_what_is_said_of_one_recipient_costs_no_other_citizen_the_code(
    fresh_database: FreshDatabase,
    make_settings: Make,
    start: Start,
    sinks: Sinks,
    sending_to: Sending,
    *,
    kind: int,
    answer: int,
) -> None:
    held: list[str] = []

    async def not_now(to: str) -> int | None:
        return answer if to in held else None

    sinks.mail.trouble = sinks.sms.trouble = not_now
    postgres = await fresh_database("contact_verification.migrations")
    settings = make_settings(postgres, **sending_to(sinks, circuit_failures=3, circuit_rest=600.0))
    async with live(start, settings) as world:
        for _ in range(4):
            person = await world.citizen(relation(MUNICIPALITY))
            held += [person.mail, person.mobile]
            await world.save(CASE_WORKER, person, {kind: {EMAIL: person.mail, MOBILE: person.mobile}[kind]})

        async def all_tried() -> None:
            assert (
                await world.database.fetchval("select count(*) from messages where reason is not null") == 4
            )

        await eventually(all_tried)
        person = await a_citizen(world, kind)
        await eventually(marked(world, "sent"))
        assert world.parts.sender.away() == []


async def test_codes_go_before_reminders_however_long_these_have_been_due(world: World) -> None:
    nobodys = 9
    *_, person = [await a_citizen(world, EMAIL) for _ in range(4)]
    await world.database.execute(
        "update messages set type = $2, kind = case when person_id = $1 then 'code' else 'reminder' end,"
        " next_try = now() - case when person_id = $1 then interval '0' else interval '1 hour' end",
        person.person_id,
        nobodys,
    )
    [claimed] = await world.parts.messages.claim([nobodys], 1, timedelta(seconds=60))
    assert (claimed.kind, claimed.person) == ("code", person.person_id)


async def test_a_wrong_password_of_ours_costs_no_citizen_the_address(
    fresh_database: FreshDatabase, make_settings: Make, start: Start, sinks: Sinks, sending_to: Sending
) -> None:
    sending = sending_to(sinks)
    wrong = {"password": "not the password", "token": "not the token"}
    for part in ("mail", "sms"):
        fields = {k: v for k, v in wrong.items() if k in type(sending[part]).model_fields}
        values = {**sending[part].model_dump(), **fields}
        sending[part] = type(sending[part])(**values)
    postgres = await fresh_database("contact_verification.migrations")
    async with live(start, make_settings(postgres, **sending)) as world:
        person = await a_citizen(world, EMAIL, MOBILE)

        async def tried() -> None:
            assert await world.database.fetchval("select min(attempts) from messages") >= 2

        await eventually(tried)
        assert await world.contacts(person) == {MOBILE: (person.mobile, 1), EMAIL: (person.mail, 1)}
        assert sinks.kept.of() == []


async def test_old_data_are_reminded_of_and_then_not_verified(posted: World, sinks: Sinks) -> None:
    person = await a_citizen(posted, EMAIL)
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
    people = [await a_citizen(world, EMAIL) for _ in range(4)]
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
    settings: Any, start: Start, sinks: Sinks, sending_to: Sending
) -> None:
    """Mail was away while the one citizen died and the other was merged into a third."""
    async with live(start, settings) as world:
        living, dead, merged = [await a_citizen(world, EMAIL) for _ in range(3)]
        landline = await a_citizen(world, MOBILE)
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
    async with start(settings.model_copy(update=sending_to(sinks))) as world:
        await world.database.execute("update messages set next_try = now()")
        await eventually(marked(world, "sent"))
        await eventually(marked(world, "waiting", 0))
    assert [message.to for message in sinks.kept.of()] == [living.mail]


async def test_who_lives_after_all_is_reminded_again(posted: World, sinks: Sinks) -> None:
    async def full(_to: str) -> int:
        return 452

    person = await a_citizen(posted, EMAIL)
    await eventually(marked(posted, "sent"))
    await posted.set_status(CASE_WORKER, person, EMAIL, 2)
    await posted.database.execute("update contacts set confirmed_at = now() - interval '17 months'")
    sinks.mail.trouble = full
    assert await posted.parts.reconfirming.run_once() == (1, 0)
    await posted.change(person, 2, dead=True)
    await eventually(marked(posted, "void"))
    assert await posted.parts.reconfirming.run_once() == (0, 0)
    await posted.change(person, 3, dead=False)
    assert await posted.parts.reconfirming.run_once() == (1, 0)


async def test_saving_again_on_jobnet_confirms_and_an_authority_does_not(world: World) -> None:
    person = await a_citizen(world, EMAIL)
    await world.verify(person, EMAIL, await world.code(person, EMAIL))
    old = "update contacts set confirmed_at = now() - interval '17 months'"
    await world.database.execute(old)
    await world.save(CASE_WORKER, person, {EMAIL: person.mail})
    assert await world.database.fetchval("select confirmed_at < now() - interval '1 month' from contacts")
    await world.save(a_caller(JOBNET), person, {EMAIL: person.mail})
    assert await world.database.fetchval("select confirmed_at > now() - interval '1 month' from contacts")
    assert (await world.contacts(person))[EMAIL] == (person.mail, 2)


async def test_a_service_clock_that_is_five_minutes_off_changes_no_lifetime(
    settings: Any, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time  # noqa: PLC0415 - what is set wrong here

    right = time.time_ns
    for minutes in (-5, 5):
        monkeypatch.setattr(time, "time_ns", lambda minutes=minutes: right() + minutes * 60 * 10**9)
        async with start(settings) as world:
            if minutes == -5:
                for projection in ("citizens", "cvs"):
                    await world.database.execute(
                        "insert into projection_generations (projection, generation, status) values ($1, 1, 'live')",
                        projection,
                    )
                await world.heartbeat()
            person = await a_citizen(world, EMAIL)
            left = await world.database.fetchval(
                "select extract(epoch from expires_at - now()) from codes where person_id = $1",
                person.person_id,
            )
            assert 590 < left <= 600
            assert (await world.verify(person, EMAIL, await world.code(person, EMAIL))).status_code == 200
