"""The contact part of ReplaceCV: prepared, activated by the registry's word, settled when nobody tells its end."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from contact_verification.settings import Settings
from contact_verification.testing import CASE_WORKER, EMAIL, LANDLINE, MOBILE, Person, Start, World, live
from cv_citizens.testing import JOBNET, a_caller
from servicekit.follow.states import Erased

pytestmark = pytest.mark.infra

SOON = "update prepares set next_ask = now()"


async def prepared(world: World, person: Person, *phones: Any, mail: str | None = None) -> dict[str, Any]:
    answer = await world.prepare(person, *phones, mail=mail)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def test_nothing_changes_before_the_registry_has_committed(world: World) -> None:
    person = await world.resident()
    await world.save(CASE_WORKER, person, {EMAIL: person.mail})
    change = await prepared(world, person, person.mobile, mail="new@example.com")
    assert change["values"] == {"1": person.mobile, "3": "new@example.com"}
    assert await world.contacts(person) == {EMAIL: (person.mail, 1)}
    assert await world.events(person) == ["contact-saved"]
    await world.committed(person, 1, change["prepareId"])
    assert await world.contacts(person) == {MOBILE: (person.mobile, 1), EMAIL: ("new@example.com", 1)}
    assert await world.events(person) == ["contact-saved", "contact-saved"]
    newest = await world.database.fetchval("select max(version) from outbox")
    assert newest >= change["version"]
    assert await world.rows("prepares") == 0


async def test_what_is_present_already_changes_nothing_and_needs_no_commit(world: World) -> None:
    person = await world.resident()
    assert await prepared(world, person) == {"prepareId": None, "version": 0, "values": {}}
    await world.save(CASE_WORKER, person, {MOBILE: person.mobile, EMAIL: person.mail})
    version = await world.database.fetchval("select max(version) from outbox")
    assert await prepared(world, person, person.mobile, mail=person.mail) == {
        "prepareId": None,
        "version": version,
        "values": {"1": person.mobile, "3": person.mail},
    }
    assert await world.rows("prepares") == 0
    assert await world.events(person) == ["contact-saved"]


async def test_a_landline_after_an_empty_number_is_the_landline_that_is_there(world: World) -> None:
    person = await world.resident()
    await world.save(CASE_WORKER, person, {LANDLINE: person.landline})
    change = await prepared(world, person, "", person.landline)
    assert (change["prepareId"], change["values"]) == (None, {"2": person.landline})
    assert await world.contacts(person) == {LANDLINE: (person.landline, 1)}
    assert await world.rows("codes") == 0


async def test_what_is_present_is_prepared_while_another_change_may_still_replace_it(world: World) -> None:
    person = await world.resident()
    await world.save(CASE_WORKER, person, {EMAIL: person.mail})
    other = await prepared(world, person, mail="new@example.com")
    same = await prepared(world, person, mail=person.mail)
    for number, change in enumerate((other, same), 1):
        await world.committed(person, number, change["prepareId"])
    assert {kind: value for kind, (value, _) in (await world.contacts(person)).items()} == {
        EMAIL: person.mail
    }


async def test_types_that_are_absent_are_removed_and_unchanged_ones_keep_their_state(world: World) -> None:
    person = await world.resident()
    await world.save(CASE_WORKER, person, {MOBILE: person.mobile, EMAIL: person.mail})
    await world.verify(person, EMAIL, await world.code(person, EMAIL))
    change = await prepared(world, person, mail=person.mail)
    await world.committed(person, 1, change["prepareId"])
    assert await world.contacts(person) == {EMAIL: (person.mail, 2)}


async def test_new_values_get_their_codes_when_they_are_activated(world: World) -> None:
    person = await world.resident()
    change = await prepared(world, person, person.mobile, person.landline, mail=person.mail)
    assert await world.rows("messages") == 0
    await world.committed(person, 1, change["prepareId"])
    assert await world.rows("messages") == 2
    assert (await world.verify(person, EMAIL, await world.code(person, EMAIL))).status_code == 200


async def test_the_rules_are_those_of_saving(world: World) -> None:
    wrong: list[tuple[list[Any], str | None, int]] = [
        (["12"], None, 9156),
        (["20123456", "12"], None, 9157),
        (["20123456", "33123456", "44123456"], None, 9157),
        ([{"PhoneNumber": "12", "PersonContactDataTypeIdentifier": 1}], None, 9156),
        ([{"PhoneNumber": "12", "PersonContactDataTypeIdentifier": 2}], None, 9157),
        ([{"PhoneNumber": "20123456", "PersonContactDataTypeIdentifier": 9}], None, 9153),
        ([{"PhoneNumber": "20123456", "PersonContactDataTypeIdentifier": 3}], None, 9153),
        ([{"PhoneNumber": "", "PersonContactDataTypeIdentifier": 99}], None, 9153),
        (["", {"PhoneNumber": "", "PersonContactDataTypeIdentifier": 3}], None, 9153),
        (["20123456", {"PhoneNumber": "20123457", "PersonContactDataTypeIdentifier": 1}], None, 9156),
        ([{"PhoneNumber": "20123456", "PersonContactDataTypeIdentifier": 1}, "20123457"], None, 9156),
        (["", "", "20123456"], None, 9157),
        ([], "nobody", 9158),
    ]
    person = await world.resident()
    answers = [await world.prepare(person, *phones, mail=mail) for phones, mail, _ in wrong]
    told = [(*one[:2], answer.json().get("code")) for one, answer in zip(wrong, answers, strict=True)]
    assert told == wrong
    assert await world.rows("prepares") == 0


async def test_a_phone_number_says_its_type_or_has_it_by_its_place(world: World) -> None:
    typed = {"PhoneNumber": "33123456", "PersonContactDataTypeIdentifier": LANDLINE}
    for phones, expected in (
        (["20123456"], {"1": "+4520123456"}),
        (["", "33123456"], {"2": "+4533123456"}),
        ([typed], {"2": "+4533123456"}),
        (["20123456", typed], {"1": "+4520123456", "2": "+4533123456"}),
        ([typed, "20123456"], {"1": "+4520123456", "2": "+4533123456"}),
        ([{**typed, "PhoneNumber": ""}, "", typed], {"2": "+4533123456"}),
        ([{**typed, "PhoneNumber": ""}, "", "33123456"], {"2": "+4533123456"}),
    ):
        assert (await prepared(world, await world.resident(), *phones))["values"] == expected


async def test_a_removal_of_what_is_subscribed_is_refused_and_one_under_way_blocks_new_subscriptions(
    world: World,
) -> None:
    for kind, code in ((MOBILE, 9154), (EMAIL, 9155)):
        person = await world.resident()
        await world.save(CASE_WORKER, person, {MOBILE: person.mobile, EMAIL: person.mail})
        await world.subscribe(person, kind)
        assert (await world.prepare(person)).json()["code"] == code
        await world.subscribe(person, kind, wanted=False)
        await prepared(world, person)
        answer = await world.subscribe(person, kind)
        assert (answer.status_code, answer.json()) == (409, {"outcome": "removal-under-way"})
        await world.database.execute(SOON)
        await world.parts.settling.settle_due()
        assert (await world.subscribe(person, kind)).status_code == 200


async def test_an_abandoned_change_is_dropped_by_the_registrys_word_and_never_comes_back(
    world: World,
) -> None:
    person = await world.resident()
    await prepared(world, person, mail=person.mail)
    assert await world.parts.settling.settle_due() == 0
    await world.database.execute(SOON)
    assert await world.parts.settling.settle_due() == 1
    assert await world.rows("prepares") == 0
    assert await world.contacts(person) == {}
    assert await world.events(person) == []


async def test_a_committed_change_whose_event_was_never_heard_is_activated_by_settling(world: World) -> None:
    person = await world.resident()
    change = await prepared(world, person, mail=person.mail)
    world.registry.decisions[change["prepareId"]] = True
    await world.database.execute(SOON)
    await world.parts.settling.settle_due()
    assert await world.contacts(person) == {EMAIL: (person.mail, 1)}


async def test_without_an_answer_of_the_registry_the_change_waits(world: World) -> None:
    person = await world.resident()
    await prepared(world, person, mail=person.mail)
    for mode in ("error", "garbage"):
        world.registry.mode = mode
        await world.database.execute(SOON)
        assert await world.parts.settling.settle_due() == 0
        assert await world.rows("prepares") == 1


async def test_a_change_whose_key_is_gone_waits_alone_and_others_are_settled(
    settings: Settings, start: Start
) -> None:
    async with live(start, settings) as world:
        first = await prepared(world, await world.resident(), mail="first@example.com")
    other_key = {"data_keys": SecretStr("k2:another key of sixteen bytes")}
    async with start(settings.model_copy(update=other_key)) as world:
        await world.heartbeat()
        person = await world.resident()
        second = await prepared(world, person, mail=person.mail)
        world.registry.decisions |= {first["prepareId"]: True, second["prepareId"]: True}
        await world.database.execute(SOON)
        await world.parts.settling.settle_due()
        assert await world.contacts(person) == {EMAIL: (person.mail, 1)}
        assert await world.database.fetchval("select key_id from prepares") == "k1"


async def test_a_later_direct_save_wins_over_an_older_cv_type_by_type(world: World) -> None:
    person = await world.resident()
    change = await prepared(world, person, person.mobile, mail="from.cv@example.com")
    await world.save(CASE_WORKER, person, {EMAIL: "direct@example.com"})
    await world.committed(person, 1, change["prepareId"])
    assert await world.contacts(person) == {MOBILE: (person.mobile, 1), EMAIL: ("direct@example.com", 1)}


async def test_a_later_direct_removal_is_not_undone_by_an_older_cv(world: World) -> None:
    person = await world.resident()
    await world.save(CASE_WORKER, person, {EMAIL: person.mail})
    change = await prepared(world, person, mail="from.cv@example.com")
    await world.save(CASE_WORKER, person, {EMAIL: None})
    await world.committed(person, 1, change["prepareId"])
    assert await world.contacts(person) == {}


async def test_verifying_the_old_value_meanwhile_does_not_hold_the_cv_back(world: World) -> None:
    person = await world.resident()
    await world.save(CASE_WORKER, person, {EMAIL: person.mail})
    change = await prepared(world, person, mail="from.cv@example.com")
    await world.verify(person, EMAIL, await world.code(person, EMAIL))
    await world.committed(person, 1, change["prepareId"])
    assert await world.contacts(person) == {EMAIL: ("from.cv@example.com", 1)}


async def test_two_in_a_row_end_with_the_seconds_values_in_whatever_order_they_are_heard_of(
    world: World,
) -> None:
    for order in ((0, 1), (1, 0)):
        person = await world.resident()
        changes = [
            await prepared(world, person, person.mobile, mail="first@example.com"),
            await prepared(world, person, mail="second@example.com"),
        ]
        for change in changes:
            world.registry.decisions[change["prepareId"]] = True
        for number in order:
            await world.committed(person, 10 + order.index(number), changes[number]["prepareId"])
        assert await world.contacts(person) == {EMAIL: ("second@example.com", 1)}


async def test_the_first_of_two_that_was_only_heard_of_by_settling_changes_nothing_any_more(
    world: World,
) -> None:
    person = await world.resident()
    first = await prepared(world, person, person.mobile, mail="first@example.com")
    second = await prepared(world, person, mail="second@example.com")
    await world.committed(person, 2, second["prepareId"])
    world.registry.decisions[first["prepareId"]] = True
    await world.database.execute(SOON)
    await world.parts.settling.settle_due()
    assert await world.contacts(person) == {EMAIL: ("second@example.com", 1)}


async def test_activated_twice_is_activated_once(world: World) -> None:
    person = await world.resident()
    change = await prepared(world, person, mail=person.mail)
    world.registry.decisions[change["prepareId"]] = True
    await world.database.execute(SOON)
    await asyncio.gather(
        world.committed(person, 1, change["prepareId"]),
        world.parts.settling.settle_due(),
        world.committed(person, 2, change["prepareId"]),
    )
    assert await world.events(person) == ["contact-saved"]
    assert await world.rows("periods") == 1


async def test_changes_of_many_persons_in_one_batch_are_all_activated(world: World) -> None:
    from servicekit.follow.states import Known  # noqa: PLC0415 - used here only

    people = [await world.resident() for _ in range(5)]
    changes = [await prepared(world, person, mail=person.mail) for person in people]
    states = [
        Known(person.cv_id, 1, {"personId": str(person.person_id), "prepareId": change["prepareId"]})
        for person, change in zip(people, changes, strict=True)
    ]
    await world.apply("cvs", *sorted(states, key=lambda state: state.subject))
    for person in people:
        assert await world.contacts(person) == {EMAIL: (person.mail, 1)}


async def test_prepared_values_are_stored_unreadably(world: World) -> None:
    person = await world.resident()
    await prepared(world, person, person.mobile, mail=person.mail)
    for row in await world.database.fetch("select t::text as text from prepares t"):
        for secret in (person.mail, person.mobile[3:]):
            assert secret not in row["text"]
            assert secret.encode().hex() not in row["text"]


async def test_jobnet_reads_the_value_of_the_cv_once_it_is_activated(world: World) -> None:
    person = await world.resident()
    change = await prepared(world, person, mail=person.mail)
    assert (await world.find(a_caller(JOBNET), person.mail)).json() == {"CprCollection": []}
    await world.committed(person, 1, change["prepareId"])
    assert len((await world.find(a_caller(JOBNET), person.mail)).json()["CprCollection"]) == 1


async def test_nothing_is_prepared_for_who_was_erased_meanwhile(world: World) -> None:
    """The registry may have decided about a replace just before it erased the citizen."""
    person = await world.resident()
    await world.apply("citizens", Erased(person.person_id, 2))
    answer = await world.prepare(person, person.mobile)
    assert answer.json()["code"] == 1010
    assert (await world.rows("persons"), await world.rows("prepares")) == (0, 0)
