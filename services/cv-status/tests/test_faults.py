"""Each fault of SetCvStatus, and the order in which they are answered when several hold."""

from typing import Any

import pytest

from cv_citizens.testing import COMPANY, FUND, MUNICIPALITY, OTHER_FUND, a_caller, relation
from cv_contracts.methods import METHODS
from cv_status.testing import Person, World
from servicekit.caller import Organisation

pytestmark = pytest.mark.infra

LISTED = next(method.faults for method in METHODS if method.number == 4)


def body(person: Person, **elements: Any) -> dict[str, Any]:
    return {
        "CvStatusSet": {
            "PersonCivilRegistrationIdentifier": person.person_number,
            "CvCustomerIdentifier": person.cv_number,
            "CvStatusIdentifier": 3,
            **elements,
        }
    }


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"PersonCivilRegistrationIdentifier": "3102001234"}, "PersonCivilRegistrationIdentifier"),
    ({"PersonCivilRegistrationIdentifier": "010100123"}, "PersonCivilRegistrationIdentifier"),
    ({"PersonCivilRegistrationIdentifier": "0101001234 "}, "PersonCivilRegistrationIdentifier"),
    ({"PersonCivilRegistrationIdentifier": None}, "PersonCivilRegistrationIdentifier"),
    ({"CvCustomerIdentifier": "1234567"}, "CvCustomerIdentifier"),
    ({"CvCustomerIdentifier": 12345678}, "CvCustomerIdentifier"),
    ({"CvStatusIdentifier": 4}, "CvStatusIdentifier"),
    ({"CvStatusIdentifier": 0}, "CvStatusIdentifier"),
    ({"CvStatusIdentifier": 6}, "CvStatusIdentifier"),
    ({"CvStatusIdentifier": "3"}, "CvStatusIdentifier"),
    ({"CvStatusIdentifier": 3.5}, "CvStatusIdentifier"),
    ({"CvComment": "x" * 376}, "CvComment"),
    ({"CvComment": 7}, "CvComment"),
    ({"CvComment": "nul \0"}, "CvComment"),
    ({"Unknown": 1}, "CvStatusSet"),
]


async def test_a_body_that_breaks_the_seeds_form_is_1014_and_names_the_element_without_its_value(
    world: World,
) -> None:
    person = await world.citizen(relation(MUNICIPALITY))
    for elements, named in MALFORMED:
        answer = await world.post(a_caller(MUNICIPALITY), body(person, **elements))
        assert (answer.status_code, answer.json()["code"]) == (400, 1014)
        assert named in answer.json()["errors"][0]["element"]
        assert person.person_number not in answer.text


async def test_what_is_no_json_is_1014(world: World) -> None:
    headers = world.headers(a_caller(MUNICIPALITY))
    for raw in (b"", b"{", b"[]", b"\xff"):
        answer = await world.client.post("/v6/Cv/cvstatus", content=raw, headers=headers)
        assert answer.json()["code"] == 1014


async def test_the_longest_comment_is_taken(world: World) -> None:
    person = await world.citizen(relation(MUNICIPALITY), contactGroup=2)
    assert (await world.set(a_caller(MUNICIPALITY), person, 3, "ø" * 375)).status_code == 200


async def test_a_request_id_or_token_that_cannot_be_one_is_1014(world: World) -> None:
    person = await world.citizen(relation(MUNICIPALITY), contactGroup=2)
    for headers in ({"x_requestid": ""}, {"x_requestid": "x" * 47}, {"x_consistency_token": "nonsense"}):
        answer = await world.set(a_caller(MUNICIPALITY), person, 1, **headers)
        assert answer.json()["code"] == 1014


async def test_faults_come_in_the_order_of_the_specification(world: World) -> None:
    """Everything is wrong at first; what is answered is put right, one thing after the other."""
    person = await world.citizen(relation(OTHER_FUND), contactGroup=2, cv="ARCHIVED")
    wrong: dict[str, Any] = {
        "PersonCivilRegistrationIdentifier": "0101999999",
        "CvCustomerIdentifier": "99999999",
        "CvStatusIdentifier": 4,
        "CvComment": "En a-kasse skal ikke kommentere",
    }
    seen = []

    async def ask(who: Organisation) -> None:
        answer = await world.post(a_caller(who), body(person, **wrong), if_match='"1"')
        seen.append(answer.json().get("code", answer.status_code))

    await ask(COMPANY)
    wrong["CvStatusIdentifier"] = 3
    await ask(COMPANY)
    await ask(FUND)
    wrong["PersonCivilRegistrationIdentifier"] = person.person_number
    await ask(FUND)
    await world.change(person, 2, relations=[])
    await ask(FUND)
    await world.change(person, 3, relations=[relation(FUND)])
    await ask(FUND)
    wrong["CvCustomerIdentifier"] = person.cv_number
    await ask(FUND)
    world.registry.cvs[str(person.cv_id)]["state"] = "ACTIVE"
    await ask(FUND)
    del wrong["CvComment"]
    await ask(FUND)
    await world.change(person, 4, contactGroup=3)
    await ask(FUND)
    await world.change(person, 5, contactGroup=13)
    await ask(FUND)
    await world.change(person, 6, contactGroup=1)
    await ask(FUND)
    assert seen == [1014, 8292, 4103, 8291, 4385, 4103, 4103, 9008, 4369, 4370, 9009, 412]
    assert set(seen[:-1]) <= LISTED


async def test_0000000000_is_well_formed_and_nobodys_number(world: World) -> None:
    person = await world.citizen(relation(MUNICIPALITY))
    answer = await world.post(
        a_caller(MUNICIPALITY), body(person, PersonCivilRegistrationIdentifier="0000000000")
    )
    assert answer.json()["code"] == 4103


async def test_a_citizen_whose_cv_number_was_withdrawn_is_4103(world: World) -> None:
    person = await world.citizen(relation(MUNICIPALITY), contactGroup=2)
    await world.change(person, 2, cvNumber=None)
    assert (await world.set(a_caller(MUNICIPALITY), person, 1)).json()["code"] == 4103


async def test_only_the_gateway_may_call_and_only_for_a_caller(world: World) -> None:
    person = await world.citizen(relation(MUNICIPALITY), contactGroup=2)
    for headers, code in (
        (world.headers(a_caller(MUNICIPALITY), "cv-registry"), 1013),
        (world.headers(None), 1012),
        ({"authorization": "Bearer nonsense"}, 1012),
        ({}, 1012),
    ):
        answer = await world.client.post("/v6/Cv/cvstatus", json=body(person), headers=headers)
        assert answer.json()["code"] == code
