"""GetCvStatus and GetAvailableCVStatusVersions: answers, faults, access rows."""

from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

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
from cv_contracts.events.cv_registry import CitizenChanged
from cv_contracts.wire.status import GetAvailableCVStatusVersionsResponse, GetCvStatusResponse
from cv_status.testing import TODAY, Person, World
from servicekit.data.consistency import ConsistencyToken

pytestmark = pytest.mark.infra

CASE_WORKER = a_caller(MUNICIPALITY)


def code(answer: httpx.Response) -> Any:
    return answer.json().get("code", answer.status_code)


async def a_citizen(world: World, **more: Any) -> Person:
    return await world.citizen(relation(MUNICIPALITY), **{"contactGroup": 2, **more})


def items(answer: httpx.Response) -> list[tuple[int, UUID]]:
    assert answer.status_code == 200
    found = GetAvailableCVStatusVersionsResponse.from_json(answer.content)
    return [
        (item.CVStatusIdentifier, item.CVVersionIdentifier)
        for item in found.AvailableCVStatusVersionCollection or ()
    ]


async def test_a_status_that_was_never_set_is_1_whether_there_is_a_cv_or_not(world: World) -> None:
    for state in ("ACTIVE", None):
        answer = await world.get(CASE_WORKER, await a_citizen(world, cv=state))
        status = GetCvStatusResponse.from_json(answer.content).CvStatus
        assert (status.CvStatusIdentifier, status.CVAvailability, status.CvComment) == (1, "Active", None)


async def test_availability_is_inactive_only_when_the_citizen_is_dead(world: World) -> None:
    person = await a_citizen(world, cv="ARCHIVED", enrolled=False)
    assert (await world.get(CASE_WORKER, person)).json()["CvStatus"]["CVAvailability"] == "Active"
    await world.change(person, 2, dead=True)
    assert (await world.get(CASE_WORKER, person)).json()["CvStatus"]["CVAvailability"] == "Inactive"


async def test_person_number_and_cv_number_must_belong_together(world: World) -> None:
    person, other = await a_citizen(world), await a_citizen(world)
    assert code(await world.get(CASE_WORKER, person, x_cvcustomeridentifier=person.cv_number)) == 200
    assert code(await world.get(CASE_WORKER, person, x_cvcustomeridentifier=other.cv_number)) == 4102
    await world.change(person, 2, cvNumber=None)
    assert code(await world.get(CASE_WORKER, person)) == 4102
    assert code(await world.versions(CASE_WORKER, person)) == 200


async def test_numbers_without_the_seeds_form_are_1014_and_named_by_their_header(world: World) -> None:
    person = await a_citizen(world)
    for header, value in (
        ("x-civilregistrationidentifier", "3113001234"),
        ("x-civilregistrationidentifier", ""),
        ("x-civilregistrationidentifier", person.cv_number),
        ("x-cvcustomeridentifier", "1234567"),
        ("x-cvcustomeridentifier", "123456789"),
    ):
        answer = await world.get(CASE_WORKER, person, **{header: value})
        assert code(answer) == 1014
        assert answer.json()["errors"][0]["element"] == header
    assert code(await world.versions(CASE_WORKER, person, x_civilregistrationidentifier="1")) == 1014


async def test_an_unknown_citizen_is_4102_for_the_status_and_1010_for_the_versions(world: World) -> None:
    person = await a_citizen(world)
    for number in ("0000000000", "0101999999"):
        assert code(await world.get(CASE_WORKER, person, x_civilregistrationidentifier=number)) == 4102
        assert code(await world.versions(CASE_WORKER, person, x_civilregistrationidentifier=number)) == 1010


async def test_who_may_read_and_which_fault_others_get(world: World) -> None:
    own = [relation(o) for o in (FUND, MUNICIPALITY, JOBCENTER)] + [referral(ACTOR, MUNICIPALITY)]
    mine, nobodys = await world.citizen(*own), await world.citizen()
    others = await world.citizen(
        relation(OTHER_FUND), relation(OTHER_MUNICIPALITY), referral(OTHER_ACTOR, OTHER_MUNICIPALITY)
    )
    expected = [
        (a_caller(FUND), 200, 8291, 4385),
        (a_caller(MUNICIPALITY), 200, 4575, 4575),
        (a_caller(JOBCENTER), 200, 4575, 4575),
        (a_caller(MUNICIPALITY, ACTOR), 200, 4511, 4511),
        (a_caller(JOBCENTER, ACTOR), 4511, 4511, 4511),
        (a_caller(STAR), 200, 200, 200),
        (a_caller(JOBNET), 200, 200, 200),
        (a_caller(COMPANY), 8292, 8292, 8292),
    ]
    for who, *codes in expected:
        for person, answer in zip((mine, others, nobodys), codes, strict=True):
            assert code(await world.get(who, person)) == answer
            assert code(await world.versions(who, person)) == answer


async def test_a_fund_reads_from_120_days_before_to_120_days_after_a_membership(world: World) -> None:
    days: list[tuple[dict[str, Any], int]] = [
        ({"to": "2026-07-25"}, 200),
        ({"to": "2026-07-24"}, 4385),
        ({"start": "2027-03-22"}, 200),
        ({"start": "2027-03-23"}, 4385),
    ]
    for more, answer in days:
        person = await world.citizen(relation(FUND, **more))
        assert code(await world.get(a_caller(FUND), person)) == answer
        assert code(await world.versions(a_caller(FUND), person)) == answer


async def test_an_organisation_that_may_not_read_learns_nothing_about_who_exists(world: World) -> None:
    person = await a_citizen(world)
    answer = await world.get(a_caller(COMPANY), person, x_civilregistrationidentifier="0000000000")
    assert code(answer) == 8292


async def test_versions_come_the_newest_first_and_always_in_the_same_order(world: World) -> None:
    person = await a_citizen(world)
    for status in (2, 5, 1, 2, 3):
        await world.set(CASE_WORKER, person, status)
    found = items(await world.versions(CASE_WORKER, person))
    assert [status for status, _ in found] == [3, 2, 5, 2]
    assert len({version for _, version in found}) == 4
    assert items(await world.versions(CASE_WORKER, person)) == found
    assert items(await world.versions(CASE_WORKER, person, "?CVStatusIdentifier=2")) == [found[1], found[3]]
    assert items(await world.versions(CASE_WORKER, person, "?CVStatusIdentifier=5")) == [found[2]]


async def test_with_nothing_to_list_the_collection_is_absent(world: World) -> None:
    person = await a_citizen(world)
    await world.set(CASE_WORKER, person, 2)
    assert (await world.versions(CASE_WORKER, person, "?CVStatusIdentifier=3")).json() == {}
    assert (await world.versions(CASE_WORKER, await a_citizen(world))).json() == {}


async def test_a_filter_that_is_not_2_3_or_5_is_1014(world: World) -> None:
    person = await a_citizen(world)
    for query in ("CVStatusIdentifier=1", "CVStatusIdentifier=x", "Other=2", "CVStatusIdentifier="):
        assert code(await world.versions(CASE_WORKER, person, f"?{query}")) == 1014
    twice = "?CVStatusIdentifier=2&CVStatusIdentifier=3"
    assert code(await world.versions(CASE_WORKER, person, twice)) == 1014


async def test_one_citizens_versions_are_never_anothers(world: World) -> None:
    person, other = await a_citizen(world), await a_citizen(world)
    await world.set(CASE_WORKER, person, 3)
    assert (await world.versions(CASE_WORKER, other)).json() == {}
    assert (await world.get(CASE_WORKER, other)).json()["CvStatus"]["CvStatusIdentifier"] == 1


async def test_each_read_leaves_one_access_row_and_a_refused_one_none(world: World) -> None:
    person = await a_citizen(world)
    await world.set(CASE_WORKER, person, 1)
    await world.get(CASE_WORKER, person)
    await world.versions(CASE_WORKER, person)
    await world.get(a_caller(OTHER_MUNICIPALITY), person)
    await world.versions(a_caller(OTHER_MUNICIPALITY), person)
    rows = await world.database.fetch("select * from access_log order by at")
    assert [(row["subject"], row["method"]) for row in rows] == [
        (person.person_id, "GetCvStatus"),
        (person.person_id, "GetAvailableCVStatusVersions"),
    ]
    assert (rows[0]["active_code"], rows[0]["user_identifier"]) == ("101", "sb1")
    assert rows[0]["object_version"] == await world.database.fetchval("select version from statuses")


async def test_a_read_that_cannot_be_logged_is_not_answered(world: World) -> None:
    person = await a_citizen(world)
    await world.database.execute("alter table access_log rename to away")
    for answer in (await world.get(CASE_WORKER, person), await world.versions(CASE_WORKER, person)):
        assert answer.status_code == 503
        assert "CvStatus" not in answer.json()


async def test_a_read_waits_for_the_citizens_change_that_its_token_names_and_503_if_it_takes_long(
    world: World,
) -> None:
    person = await a_citizen(world)
    seen = CitizenChanged(id=uuid4(), subject=person.person_id, version=2, time=TODAY, change="changed")
    token = ConsistencyToken.of(seen).encode()
    for answer in (
        await world.get(CASE_WORKER, person, x_consistency_token=token),
        await world.versions(CASE_WORKER, person, x_consistency_token=token),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    await world.change(person, 2)
    assert code(await world.get(CASE_WORKER, person, x_consistency_token=token)) == 200


async def test_all_that_a_token_names_is_waited_for_one_second_in_all(world: World) -> None:
    person = await a_citizen(world)
    seen = [
        CitizenChanged(id=uuid4(), subject=uuid4(), version=2, time=TODAY, change="changed")
        for _ in range(20)
    ]
    begun = monotonic()
    answer = await world.get(CASE_WORKER, person, x_consistency_token=ConsistencyToken.of(*seen).encode())
    assert answer.status_code == 503
    assert monotonic() - begun < 5


async def test_the_token_of_a_status_just_set_is_honoured(world: World) -> None:
    person = await a_citizen(world)
    token = (await world.set(CASE_WORKER, person, 5)).headers["x-consistency-token"]
    answer = await world.get(CASE_WORKER, person, x_consistency_token=token)
    assert answer.json()["CvStatus"]["CvStatusIdentifier"] == 5
    assert code(await world.get(CASE_WORKER, person, x_consistency_token="nonsense")) == 1014


async def test_only_the_gateway_may_read_for_a_caller(world: World) -> None:
    for path in ("/v6/Cv/cvstatus", "/v6/Cv/versions"):
        for headers, fault in (
            (world.headers(CASE_WORKER, "operator"), 1013),
            (world.headers(None), 1012),
            ({}, 1012),
        ):
            assert code(await world.client.get(path, headers=headers)) == fault
