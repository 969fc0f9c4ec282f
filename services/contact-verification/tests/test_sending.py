"""Messages on their way: read from real sinks, with providers that are down, slow, refusing, or forgetful."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from contact_verification.settings import Settings
from contact_verification.testing import CASE_WORKER, EMAIL, MOBILE, Sending, Start, ToSinks, World, live
from cv_citizens.testing import JOBNET, a_caller
from cvhub.sinks.testing import Sinks, code_in
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


async def test_the_code_in_the_mail_and_in_the_sms_verifies(posted: World, sinks: Sinks) -> None:
    person = await posted.resident(MOBILE, EMAIL)
    mail = await eventually(sinks.arrived(person.mail))
    assert mail.id.startswith("<")
    assert "Din kode" in mail.text
    assert "Your code" in mail.text
    sms = await eventually(sinks.arrived(person.mobile))
    assert "Din kode" in sms.text
    for kind, message in ((EMAIL, mail), (MOBILE, sms)):
        assert (await posted.verify(person, kind, code_in(message))).status_code == 200
    assert await posted.contacts(person) == {MOBILE: (person.mobile, 2), EMAIL: (person.mail, 2)}
    await eventually(posted.marked("sent", 2))
    assert await posted.database.fetchval("select count(*) from messages where salt is not null") == 0


async def test_a_number_abroad_gets_its_sms_in_english(posted: World, sinks: Sinks) -> None:
    person = await posted.resident()
    await posted.save(CASE_WORKER, person, {MOBILE: "+46701234567"})
    assert "Your Jobnet code" in (await eventually(sinks.arrived("+46701234567"))).text


async def test_a_provider_that_is_down_gets_the_message_when_it_is_back(posted: World, sinks: Sinks) -> None:
    port = sinks.mail.port
    await sinks.mail.stop()
    person = await posted.resident(EMAIL)

    async def tried() -> None:
        assert await posted.database.fetchval("select attempts from messages") >= 2

    await eventually(tried)
    await sinks.mail.start("127.0.0.1", port)
    assert code_in(await eventually(sinks.arrived(person.mail)))
    await eventually(posted.marked("sent"))


async def test_a_slow_provider_holds_up_nobody_who_calls_and_nothing_of_the_other(
    posted: World, sinks: Sinks
) -> None:
    async def sleep(_to: str) -> None:
        await asyncio.sleep(60)

    sinks.mail.trouble = sleep
    person = await posted.resident(EMAIL, MOBILE)
    await eventually(sinks.arrived(person.mobile))

    async def timed_out() -> None:
        reason = await posted.database.fetchval("select reason from messages where type = $1", EMAIL)
        assert reason is not None

    await eventually(timed_out)
    sinks.mail.trouble = None
    await eventually(sinks.arrived(person.mail))


@pytest.mark.parametrize(("mail", "sms"), [(451, 503), (421, 429), (450, 404), (452, 307)])
async def test_an_answer_that_passes_is_tried_again(posted: World, sinks: Sinks, mail: int, sms: int) -> None:
    answers = {"mail": [mail] * 2, "sms": [sms] * 2}

    def first(channel: str) -> Any:
        async def trouble(_to: str) -> int | None:
            return answers[channel].pop() if answers[channel] else None

        return trouble

    sinks.mail.trouble, sinks.sms.trouble = first("mail"), first("sms")
    person = await posted.resident(EMAIL, MOBILE)
    for to in (person.mail, person.mobile):
        assert (await eventually(sinks.arrived(to))).times == 1
    assert [row["attempts"] for row in await posted.database.fetch("select attempts from messages")] == [3, 3]


async def test_an_answer_that_stays_gives_the_message_up_and_says_undeliverable(
    posted: World, sinks: Sinks
) -> None:
    async def nobody(to: str) -> int:
        return 550 if "@" in to else 422

    sinks.mail.trouble, sinks.sms.trouble = nobody, nobody
    person = await posted.resident(EMAIL, MOBILE)
    await eventually(posted.marked("refused", 2))
    assert await posted.contacts(person) == {MOBILE: (person.mobile, 3), EMAIL: (person.mail, 3)}
    assert (await posted.events(person)).count("contact-status-saved") == 2


async def test_another_4xx_gives_the_message_up_and_leaves_the_status(posted: World, sinks: Sinks) -> None:
    async def bad(_to: str) -> int:
        return 400

    sinks.sms.trouble = bad
    person = await posted.resident(MOBILE)
    await eventually(posted.marked("refused"))
    assert await posted.contacts(person) == {MOBILE: (person.mobile, 1)}


async def test_an_address_that_the_mail_server_cannot_write_is_undeliverable_and_the_server_is_well(
    posted: World, sinks: Sinks
) -> None:
    sinks.mail.takes_utf8 = False
    person = await posted.resident()
    await posted.save(CASE_WORKER, person, {EMAIL: "jørgen@example.dk"})
    await eventually(posted.marked("refused"))
    assert await posted.contacts(person) == {EMAIL: ("jørgen@example.dk", 3)}
    assert await posted.database.fetchval("select attempts from messages") == 1


async def test_an_address_that_nobody_can_write_costs_no_other_citizen_the_code(
    posted: World, sinks: Sinks
) -> None:
    strange = await posted.resident()
    await posted.save(CASE_WORKER, strange, {EMAIL: "=?x?q??=@example.com"})
    await eventually(posted.marked("refused"))
    person = await posted.resident(EMAIL)
    await eventually(sinks.arrived(person.mail))
    assert (await posted.contacts(strange))[EMAIL][1] == 3


async def test_a_provider_that_takes_it_and_fails_then_gets_it_again_under_the_same_id(
    posted: World, sinks: Sinks
) -> None:
    sinks.mail.drops_answers = sinks.sms.drops_answers = True
    person = await posted.resident(EMAIL, MOBILE)

    def repeated() -> None:
        for to in (person.mail, person.mobile):
            assert sinks.arrived(to)().times >= 2

    await eventually(repeated)
    sinks.mail.drops_answers = sinks.sms.drops_answers = False
    await eventually(posted.marked("sent", 2))
    assert len(sinks.kept.of()) == 2


async def test_mail_that_a_server_took_is_not_sent_again_when_it_never_says_goodbye(
    posted: World, sinks: Sinks
) -> None:
    sinks.mail.answers_quit = False
    person = await posted.resident(EMAIL)
    await eventually(posted.marked("sent"))
    assert sinks.arrived(person.mail)().times == 1
    assert await posted.database.fetchval("select attempts from messages") == 1


async def test_what_a_server_refused_is_refused_when_it_never_says_goodbye(
    posted: World, sinks: Sinks
) -> None:
    async def nobody(_to: str) -> int:
        return 550

    sinks.mail.trouble, sinks.mail.answers_quit = nobody, False
    await posted.resident(EMAIL)
    await eventually(posted.marked("refused"))


async def test_two_services_share_the_messages_and_send_each_once(
    posted: World, sinks: Sinks, start: Start
) -> None:
    async with start(posted.settings):
        people = [await posted.resident(EMAIL) for _ in range(30)]
        await eventually(posted.marked("sent", 30))
    assert {message.to: message.times for message in sinks.kept.of()} == dict.fromkeys(
        (person.mail for person in people), 1
    )


async def test_a_sender_that_dies_between_sending_and_marking_is_followed_by_one_more_with_the_same_id(
    sinks: Sinks, sending: Sending
) -> None:
    async with sending() as world:
        person = await world.resident(EMAIL)
        await eventually(world.marked("sent"))
        await world.database.execute(
            "update messages m set status = 'waiting', done_at = null, next_try = now() + interval '0.5 s',"
            " salt = k.salt from codes k where k.period_id = m.period_id"
        )

        def again() -> None:
            assert sinks.arrived(person.mail)().times == 2

        await eventually(again)
        assert (await world.verify(person, EMAIL, code_in(sinks.arrived(person.mail)()))).status_code == 200


async def test_nothing_is_sent_that_nobody_needs_any_more(
    settings: Settings, start: Start, sinks: Sinks, to_sinks: ToSinks
) -> None:
    """A code voided by another one or expired, a value changed, removed, blocked or verified by whomever, a reminder after the answer."""
    async with live(start, settings) as world:
        people = [await world.resident(EMAIL) for _ in range(7)]
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
    async with start(to_sinks(settings)) as world:
        await world.database.execute("update messages set next_try = now()")
        await eventually(world.marked("void", 8))
        await eventually(world.marked("sent", 1))
    assert [message.to for message in sinks.kept.of()] == ["new@example.com"]


async def test_a_wrong_password_of_ours_costs_no_citizen_the_address(
    settings: Settings, start: Start, sinks: Sinks, to_sinks: ToSinks
) -> None:
    right = to_sinks(settings)
    wrong = {
        "mail": right.mail.model_copy(update={"password": SecretStr("not the password")}),
        "sms": right.sms.model_copy(update={"token": SecretStr("not the token")}),
    }
    async with live(start, right.model_copy(update=wrong)) as world:
        person = await world.resident(EMAIL, MOBILE)

        async def tried() -> None:
            assert await world.database.fetchval("select min(attempts) from messages") >= 2

        await eventually(tried)
        assert await world.contacts(person) == {MOBILE: (person.mobile, 1), EMAIL: (person.mail, 1)}
        assert sinks.kept.of() == []
