"""SavePersonContactStatus, and bounces."""

from typing import Any
from uuid import uuid4

import pytest

from contact_verification.testing import CASE_WORKER, EMAIL, MOBILE, Person, World
from cv_citizens.testing import (
    COMPANY,
    FUND,
    JOBCENTER,
    JOBNET,
    MUNICIPALITY,
    OTHER_FUND,
    STAR,
    a_caller,
    relation,
)
from servicekit.caller import Organisation

pytestmark = pytest.mark.infra


async def test_each_status_of_the_list_can_be_set(world: World) -> None:
    person = await world.resident(MOBILE, EMAIL)
    for status in (3, 4, 2, 1):
        assert (await world.set_status(CASE_WORKER, person, EMAIL, status)).status_code == 200
        assert await world.contacts(person) == {MOBILE: (person.mobile, 1), EMAIL: (person.mail, status)}
    assert (await world.events(person))[1:] == ["contact-status-saved"] * 4


async def test_the_faults_come_in_the_order_of_the_specification(world: World) -> None:
    person = await world.resident(EMAIL, MOBILE, relations=[relation(MUNICIPALITY), relation(FUND)])
    nobody = Person(**{**person.__dict__, "person_number": "0101999999"})
    nonsense = Person(**{**person.__dict__, "person_number": "1"})
    cv_number = Person(**{**person.__dict__, "person_number": person.cv_number})
    expected = [
        (Organisation(1, "99"), nonsense, 9, 9, 4985, 400),
        (Organisation(8, "99999"), nonsense, 9, 9, 4986, 400),
        (MUNICIPALITY, nonsense, 9, 9, 1001, 400),
        (MUNICIPALITY, cv_number, 9, 9, 1001, 400),
        (STAR, nobody, 9, 9, 8292, 403),
        (COMPANY, nobody, 9, 9, 8292, 403),
        (MUNICIPALITY, nobody, 9, 9, 1010, 404),
        (JOBCENTER, person, 9, 9, 4575, 403),
        (OTHER_FUND, person, 9, 9, 4575, 403),
        (MUNICIPALITY, person, 9, 9, 9153, 400),
        (MUNICIPALITY, person, EMAIL, 9, 9193, 400),
        (MUNICIPALITY, person, EMAIL, 0, 9193, 400),
        (MUNICIPALITY, person, 2, 3, 1014, 400),
    ]
    for by, whom, kind, status, code, http in expected:
        answer = await world.set_status(a_caller(by), whom, kind, status)
        assert (answer.json()["code"], answer.status_code) == (code, http)


async def test_funds_jobcenters_and_jobnet_may_for_their_own(world: World) -> None:
    person = await world.citizen(relation(FUND), relation(JOBCENTER))
    await world.save(a_caller(JOBNET), person, {EMAIL: person.mail})
    for by in (FUND, JOBCENTER, JOBNET):
        assert (await world.set_status(a_caller(by), person, EMAIL, 3)).status_code == 200


async def test_a_body_that_cannot_be_read_is_1014(world: World) -> None:
    person = await world.resident(MOBILE, EMAIL)
    headers = {"x_civilregistrationidentifier": person.person_number}
    bodies: tuple[Any, ...] = ({}, {"PersonContactDataTypeIdentifier": 1}, [])
    for body in bodies:
        answer = await world.post(CASE_WORKER, "/status", body, **headers)
        assert (answer.status_code, answer.json()["code"]) == (400, 1014)


async def test_a_repeated_request_id_gets_the_first_answer(world: World) -> None:
    person = await world.resident(MOBILE, EMAIL)
    first = await world.set_status(CASE_WORKER, person, EMAIL, 3, x_requestid="s")
    again = await world.set_status(CASE_WORKER, person, EMAIL, 3, x_requestid="s")
    assert again.content == first.content
    assert len(await world.events(person)) == 2


async def test_mail_that_came_back_sets_status_3_by_message_and_by_address(world: World) -> None:
    person = await world.resident(MOBILE, EMAIL)
    message = await world.database.fetchval("select id from messages where type = $1", EMAIL)
    assert (await world.internal("/bounces", {"messageId": str(message)})).json() == {"contacts": 1}
    assert (await world.contacts(person))[EMAIL][1] == 3
    await world.set_status(CASE_WORKER, person, EMAIL, 1)
    bounced = {"emailAddress": person.mail.upper()}
    assert (await world.internal("/bounces", bounced)).json() == {"contacts": 1}
    assert await world.contacts(person) == {MOBILE: (person.mobile, 1), EMAIL: (person.mail, 3)}


async def test_mail_that_came_back_does_not_lift_a_block(world: World) -> None:
    person = await world.resident(MOBILE, EMAIL)
    message = await world.database.fetchval("select id from messages where type = $1", EMAIL)
    await world.set_status(CASE_WORKER, person, EMAIL, 4)
    for body in ({"messageId": str(message)}, {"emailAddress": person.mail}):
        assert (await world.internal("/bounces", body)).json() == {"contacts": 0}
    assert (await world.contacts(person))[EMAIL] == (person.mail, 4)


async def test_what_is_no_text_is_refused_before_it_reaches_the_database(world: World) -> None:
    person = await world.resident(MOBILE, EMAIL)
    subscription = {"personContactDataTypeIdentifier": EMAIL, "name": "huske\x00service", "wanted": True}
    for path, body in (
        ("/bounces", {"emailAddress": "a\x00b@example.dk"}),
        ("/subscriptions", {"personId": str(person.person_id), **subscription}),
    ):
        assert (await world.internal(path, body)).json()["code"] == 1014


async def test_a_bounce_of_an_address_that_was_left_says_nothing_about_the_new_one(world: World) -> None:
    person = await world.resident(MOBILE, EMAIL)
    message = await world.database.fetchval("select id from messages where type = $1", EMAIL)
    await world.save(CASE_WORKER, person, {EMAIL: "new" + person.mail})
    for body in ({"messageId": str(message)}, {"messageId": str(uuid4())}, {"emailAddress": person.mail}):
        assert (await world.internal("/bounces", body)).json() == {"contacts": 0}
    assert (await world.contacts(person))[EMAIL][1] == 1


async def test_internal_routes_are_for_those_they_name(world: World) -> None:
    for path, service in (
        ("/bounces", "stranger"),
        ("/subscriptions", "cv-registry"),
        ("/contact-changes/prepare", "operator"),
        ("/contacts/states", "stranger"),
    ):
        assert (await world.internal(path, {}, service)).json()["code"] == 1013
