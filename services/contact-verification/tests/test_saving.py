"""SavePersonContactData: what is saved, what is refused, in which order, and what happens when calls meet."""

import asyncio
from typing import Any

import pytest

from contact_verification.store import ContactStore
from contact_verification.testing import CASE_WORKER, EMAIL, LANDLINE, MOBILE, World
from cv_citizens.testing import (
    ACTOR,
    COMPANY,
    FUND,
    JOBCENTER,
    JOBNET,
    MUNICIPALITY,
    OTHER_ACTOR,
    OTHER_FUND,
    OTHER_MUNICIPALITY,
    STAR,
    a_caller,
    referral,
    relation,
)
from cv_contracts.wire.common import ServiceReceiptResponse
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

CITIZEN = a_caller(JOBNET)


async def test_all_types_are_saved_unverified_and_one_event_tells_of_it(world: World) -> None:
    person = await world.resident()
    data = {MOBILE: person.mobile, LANDLINE: person.landline, EMAIL: person.mail}
    answer = await world.save(CASE_WORKER, person, dict(data))
    assert answer.status_code == 200
    assert await world.contacts(person) == {n: (v, 1) for n, v in data.items()}
    row = await world.database.fetchrow("select * from outbox where aggregateid = $1", str(person.person_id))
    assert row is not None
    assert ServiceReceiptResponse.from_json(answer.content).ServiceReceipt.MessageIdentifier == row["id"]
    assert row["aggregatetype"] == "contact-verification.contact-saved"
    assert await world.events(person) == ["contact-saved"]


async def test_the_header_takes_the_cv_number_too(world: World) -> None:
    person = await world.resident()
    named = {"x_civilregistrationidentifier": person.cv_number}
    assert (await world.save(CASE_WORKER, person, {EMAIL: person.mail}, **named)).status_code == 200
    assert await world.contacts(person) == {EMAIL: (person.mail, 1)}


async def test_nothing_in_the_header_or_nonsense_is_1001(world: World) -> None:
    person = await world.resident()
    for number in ("", "12", "3213456789", "1234567", "123456789", "abcdefgh", person.person_number + "1"):
        answer = await world.save(
            CASE_WORKER, person, {EMAIL: person.mail}, x_civilregistrationidentifier=number
        )
        assert (answer.status_code, answer.json()["code"]) == (400, 1001)


async def test_an_unknown_citizen_is_1010(world: World) -> None:
    person = await world.resident()
    for number in ("0000000000", "0101999999", "99999999"):
        answer = await world.save(
            CASE_WORKER, person, {EMAIL: person.mail}, x_civilregistrationidentifier=number
        )
        assert (answer.status_code, answer.json()["code"]) == (404, 1010)


async def test_null_absent_and_empty_remove_the_type_and_only_that(world: World) -> None:
    for nothing in ({"PersonContactData": None}, {}, {"PersonContactData": ""}):
        person = await world.resident()
        await world.save(CASE_WORKER, person, {MOBILE: person.mobile, EMAIL: person.mail})
        body = {"PersonContactDataCollection": [{"PersonContactDataTypeIdentifier": EMAIL, **nothing}]}
        headers = {"x_civilregistrationidentifier": person.person_number}
        assert (await world.post(CASE_WORKER, "", body, **headers)).status_code == 200
        assert await world.contacts(person) == {MOBILE: (person.mobile, 1)}


@pytest.mark.parametrize(
    ("number", "code"),
    [(0, 9153), (4, 9153), (-1, 9153)],
)
async def test_a_type_that_is_not_in_the_list_is_9153(world: World, number: int, code: int) -> None:
    person = await world.resident()
    answer = await world.save(CASE_WORKER, person, {number: "x"})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_a_value_that_is_not_valid_is_the_fault_of_its_type(world: World) -> None:
    wrong = {
        (MOBILE, "1234"): 9156,
        (MOBILE, "12345678"): 9156,
        (MOBILE, "+45 2012 345"): 9156,
        (MOBILE, "not a number"): 9156,
        (MOBILE, "+4520123456 ext 7"): 9156,
        (MOBILE, "+999123456789"): 9156,
        (LANDLINE, "1234"): 9157,
        (LANDLINE, "call me"): 9157,
        (LANDLINE, "+49301234567890123"): 9157,
        (EMAIL, "nobody"): 9158,
        (EMAIL, "@example.com"): 9158,
        (EMAIL, "a b@example.com"): 9158,
        (EMAIL, "a@b@example.com"): 9158,
        (EMAIL, "a..b@example.com"): 9158,
        (EMAIL, "a@example"): 9158,
        (EMAIL, "a@" + "x" * 61 + ".com"): 9158,
        (EMAIL, "<script>@example.com"): 9158,
    }
    person = await world.resident()
    told = {}
    for kind, value in wrong:
        answer = await world.save(CASE_WORKER, person, {kind: value})
        told[kind, value] = (answer.status_code, answer.json().get("code"), value in answer.text)
    assert told == {of: (400, code, False) for of, code in wrong.items()}
    assert await world.rows("contacts") == 0


async def test_the_longest_number_of_e164_is_kept(world: World) -> None:
    person = await world.resident()
    assert (await world.save(CASE_WORKER, person, {LANDLINE: "+49 30 1234567890 1"})).status_code == 200
    assert await world.contacts(person) == {LANDLINE: ("+493012345678901", 1)}


async def test_danish_numbers_get_their_prefix_and_spellings_become_one(world: World) -> None:
    for written in ("20 12 34 56", "+45 20123456", "004520123456", "(20)12-34-56"):
        person = await world.resident()
        assert (await world.save(CASE_WORKER, person, {MOBILE: written})).status_code == 200
        assert await world.contacts(person) == {MOBILE: ("+4520123456", 1)}
    person = await world.resident()
    await world.save(CASE_WORKER, person, {MOBILE: "+46 70 123 45 67", EMAIL: "Navn@EXAMPLE.com"})
    assert await world.contacts(person) == {MOBILE: ("+46701234567", 1), EMAIL: ("Navn@example.com", 1)}


async def test_one_wrong_value_saves_none(world: World) -> None:
    person = await world.resident()
    await world.save(CASE_WORKER, person, {MOBILE: person.mobile})
    answer = await world.save(CASE_WORKER, person, {MOBILE: "+4522334455", EMAIL: "nobody"})
    assert answer.json()["code"] == 9158
    assert await world.contacts(person) == {MOBILE: (person.mobile, 1)}
    assert await world.events(person) == ["contact-saved"]


async def test_a_body_that_cannot_be_read_is_1014(world: World) -> None:
    person = await world.resident()
    headers = {"x_civilregistrationidentifier": person.person_number}
    bodies: list[dict[str, Any]] = [
        {},
        {"PersonContactDataCollection": []},
        {"PersonContactDataCollection": [{"PersonContactData": "x"}]},
        {"PersonContactDataCollection": [{"PersonContactDataTypeIdentifier": "1"}]},
        {"PersonContactDataCollection": [{"PersonContactDataTypeIdentifier": 1, "Other": 1}]},
        {"PersonContactDataCollection": [{"PersonContactDataTypeIdentifier": 1}] * 2},
    ]
    told = {}
    for body in bodies:
        answer = await world.post(CASE_WORKER, "", body, **headers)
        told[str(body)] = (answer.status_code, answer.json().get("code"))
    assert told == dict.fromkeys(told, (400, 1014))


async def test_who_may_save_is_the_access_table(world: World) -> None:
    person = await world.citizen(relation(FUND), relation(MUNICIPALITY), referral(ACTOR, MUNICIPALITY))
    expected = [
        (a_caller(FUND), None),
        (a_caller(OTHER_FUND), 4575),
        (a_caller(MUNICIPALITY), None),
        (a_caller(OTHER_MUNICIPALITY), 4575),
        (a_caller(JOBCENTER), 4575),
        (a_caller(MUNICIPALITY, ACTOR), None),
        (a_caller(MUNICIPALITY, OTHER_ACTOR), 4575),
        (a_caller(FUND, ACTOR), 4575),
        (a_caller(STAR), 8292),
        (a_caller(COMPANY), 8292),
        (a_caller(JOBNET), None),
    ]
    for by, code in expected:
        answer = await world.save(by, person, {EMAIL: person.mail})
        assert (answer.json().get("code") if answer.status_code != 200 else None) == code


async def test_the_dead_get_nothing_saved(world: World) -> None:
    person = await world.resident(dead=True)
    answer = await world.save(CASE_WORKER, person, {EMAIL: "nobody"})
    assert (answer.status_code, answer.json()["code"]) == (409, 4405)


async def test_without_a_relation_the_caller_does_not_learn_that_the_citizen_is_dead(world: World) -> None:
    person = await world.citizen(dead=True)
    assert (await world.save(CASE_WORKER, person, {EMAIL: person.mail})).json()["code"] == 4575


async def test_an_unchanged_value_keeps_its_state_and_a_changed_one_loses_it(world: World) -> None:
    person = await world.resident()
    await world.save(CASE_WORKER, person, {MOBILE: person.mobile, EMAIL: person.mail})
    await world.verify(person, EMAIL, await world.code(person, EMAIL))
    await world.save(CASE_WORKER, person, {EMAIL: person.mail.upper(), MOBILE: "+4522334455"})
    assert await world.contacts(person) == {MOBILE: ("+4522334455", 1), EMAIL: (person.mail, 2)}
    await world.save(CASE_WORKER, person, {EMAIL: "new" + person.mail})
    assert (await world.contacts(person))[EMAIL] == ("new" + person.mail, 1)


async def test_an_address_that_is_subscribed_cannot_be_removed_but_changed(world: World) -> None:
    for kind, code in ((MOBILE, 9154), (EMAIL, 9155)):
        person = await world.resident()
        await world.save(CASE_WORKER, person, {MOBILE: person.mobile, EMAIL: person.mail})
        assert (await world.subscribe(person, kind)).json() == {"outcome": "subscribed"}
        answer = await world.save(CASE_WORKER, person, {kind: None, LANDLINE: person.landline})
        assert (answer.status_code, answer.json()["code"]) == (409, code)
        assert LANDLINE not in await world.contacts(person)
        changed = "+4522334455" if kind == MOBILE else "new@example.com"
        assert (await world.save(CASE_WORKER, person, {kind: changed})).status_code == 200
        await world.subscribe(person, kind, wanted=False)
        assert (await world.save(CASE_WORKER, person, {kind: None})).status_code == 200


async def test_nobody_subscribes_to_what_is_not_there(world: World) -> None:
    person = await world.resident()
    answer = await world.subscribe(person, EMAIL)
    assert (answer.status_code, answer.json()) == (409, {"outcome": "no-contact"})


async def test_whether_a_subscription_is_wanted_is_true_or_false_and_nothing_like_it(world: World) -> None:
    person = await world.resident(EMAIL)
    like_it: tuple[Any, ...] = (1, 1.0, 0, "true", None)
    for wanted in like_it:
        answer = await world.subscribe(person, EMAIL, wanted=wanted)
        assert (wanted, answer.status_code, answer.json().get("code")) == (wanted, 400, 1014)
    assert await world.rows("subscriptions") == 0


async def test_a_code_goes_out_for_each_new_verifiable_value_and_for_no_other(world: World) -> None:
    person = await world.resident()
    data = {MOBILE: person.mobile, LANDLINE: person.landline, EMAIL: person.mail}
    await world.save(CASE_WORKER, person, dict(data))
    messages = await world.database.fetch("select type from messages where kind = 'code' order by type")
    assert [row["type"] for row in messages] == [MOBILE, EMAIL]
    await world.save(CASE_WORKER, person, dict(data))
    assert await world.rows("messages") == 2


async def test_a_changed_value_voids_the_code_of_the_old_one(world: World) -> None:
    person = await world.resident()
    await world.save(CASE_WORKER, person, {EMAIL: person.mail})
    old = await world.code(person, EMAIL)
    await world.save(CASE_WORKER, person, {EMAIL: "new" + person.mail})
    assert (await world.verify(person, EMAIL, old)).json()["code"] == 9241
    assert (await world.verify(person, EMAIL, await world.code(person, EMAIL))).status_code == 200


async def test_saving_again_and_again_sends_no_more_than_the_limits_let_through(world: World) -> None:
    person = await world.resident()
    for n in range(8):
        assert (await world.save(CASE_WORKER, person, {EMAIL: f"a{n}@example.com"})).status_code == 200
    assert await world.rows("messages") == 5


async def test_an_address_gets_no_second_code_within_the_interval_whoever_saves_it(world: World) -> None:
    for _ in range(3):
        person = await world.resident()
        assert (await world.save(CASE_WORKER, person, {MOBILE: "+4520999999"})).status_code == 200
    assert await world.rows("messages") == 1


async def test_the_same_request_id_gets_the_first_answer_and_another_body_412(world: World) -> None:
    person = await world.resident()
    first = await world.save(CASE_WORKER, person, {EMAIL: person.mail}, x_requestid="r1")
    again = await world.save(CASE_WORKER, person, {EMAIL: person.mail}, x_requestid="r1")
    assert (again.content, again.headers["x-idempotent-replay"]) == (first.content, "true")
    other = await world.save(CASE_WORKER, person, {EMAIL: "b@example.com"}, x_requestid="r1")
    assert other.status_code == 412
    assert await world.events(person) == ["contact-saved"]


async def test_saves_at_once_are_made_one_after_the_other(world: World) -> None:
    person = await world.resident()
    mails = [f"m{n}@example.com" for n in range(20)]
    answers = await asyncio.gather(*(world.save(CASE_WORKER, person, {EMAIL: mail}) for mail in mails))
    assert {answer.status_code for answer in answers} == {200}
    versions = [
        row["version"]
        for row in await world.database.fetch(
            "select version from outbox where aggregateid = $1 order by seq", str(person.person_id)
        )
    ]
    assert len(versions) == 20
    assert versions == sorted(set(versions))
    assert await world.database.fetchval("select count(*) from periods where ends is null") == 1


async def test_what_is_stored_shows_no_value(world: World) -> None:
    person = await world.resident()
    await world.save(CASE_WORKER, person, {MOBILE: person.mobile, EMAIL: person.mail})
    tables = ("persons", "periods", "contacts", "codes", "code_sends", "messages", "outbox", "request_log")
    for table in tables:
        for row in await world.database.fetch(f"select t::text as text from {table} t"):
            for secret in (
                person.mail,
                person.mobile,
                person.mobile[3:],
                person.person_number,
                person.cv_number,
            ):
                assert secret not in row["text"]
                assert secret.encode().hex() not in row["text"]


async def test_an_erased_citizen_leaves_nothing_and_is_told_as_erased(world: World) -> None:
    from servicekit.follow.states import Erased  # noqa: PLC0415 - used here only

    person = await world.resident()
    await world.save(CASE_WORKER, person, {MOBILE: person.mobile, EMAIL: person.mail})
    await world.subscribe(person, EMAIL)
    await world.prepare(person, mail=person.mail)
    await world.apply("citizens", Erased(person.person_id, 2))
    tables = (
        "persons",
        "periods",
        "contacts",
        "codes",
        "code_sends",
        "messages",
        "subscriptions",
        "prepares",
    )
    assert {await world.rows(table) for table in tables} == {0}
    answer = await world.internal("/contacts/states", {"subjects": [str(person.person_id)]}, "cv-registry")
    assert answer.json()["states"][0]["erased"] is True
    assert await world.events(person) == ["contact-saved", "contact-saved"]
    world.registry.citizens.pop(str(person.person_id))
    assert (await world.save(CASE_WORKER, person, {EMAIL: person.mail})).json()["code"] == 1010


async def test_a_replica_that_falls_behind_while_a_write_waits_decides_nothing(world: World) -> None:
    person = await world.resident()
    waits = "select count(*) = 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    await world.heartbeat(29)
    async with world.database.write(ContactStore.lock(person.person_id)):
        saving = asyncio.create_task(world.save(CASE_WORKER, person, {EMAIL: person.mail}))
        await eventually(lambda: world.database.fetchval(waits))
        await world.heartbeat(31)
    answer = await saving
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert await world.contacts(person) == {}
    assert (await world.save(CASE_WORKER, person, {EMAIL: person.mail})).status_code == 200


async def test_no_other_service_may_call_for_the_gateway(world: World) -> None:
    person = await world.resident()
    for service, caller_ in (("stranger", CITIZEN), ("cv-registry", CITIZEN)):
        answer = await world.client.post(
            "/v1/kontaktinformation",
            json={},
            headers=world.headers(caller_, service, x_civilregistrationidentifier=person.person_number),
        )
        assert answer.json()["code"] == 1013
