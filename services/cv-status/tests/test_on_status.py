"""GetCVOnStatus: which version, which faults, with whose address; pdf-renderer away; and what is rendered ahead is the same."""

import base64
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
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
    OTHER_MUNICIPALITY,
    STAR,
    a_caller,
    referral,
    relation,
)
from cv_contracts.codelists import default
from cv_contracts.wire.status import CVOnStatusItemType, GetCVOnStatusResponse
from cv_status.testing import Person, World
from servicekit.caller import Organisation
from servicekit.follow.states import Erased

pytestmark = pytest.mark.infra

CASE_WORKER = a_caller(MUNICIPALITY)
HIDDEN = {"CountryCode": "DK", "AddressLine": "Adressebeskyttet", "PostalCode": "", "PostalArea": ""}


def code(answer: httpx.Response) -> Any:
    return answer.json().get("code", answer.status_code)


def item(answer: httpx.Response) -> CVOnStatusItemType:
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return GetCVOnStatusResponse.from_json(answer.content).CVOnStatusItem


async def a_citizen(world: World, **more: Any) -> Person:
    return await world.citizen(relation(MUNICIPALITY), **{"contactGroup": 2, **more})


async def newest_version(world: World, person: Person) -> UUID:
    body = (await world.versions(CASE_WORKER, person)).json()
    return UUID(body["AvailableCVStatusVersionCollection"][0]["CVVersionIdentifier"])


async def approved(world: World, **more: Any) -> tuple[Person, UUID]:
    person = await a_citizen(world, **more)
    await world.set(CASE_WORKER, person, 3, "Godkendt")
    return person, await newest_version(world, person)


async def test_the_version_comes_as_it_was_frozen_with_its_document_comment_and_municipality(
    world: World,
) -> None:
    person, version = await approved(world)
    world.replaced(person, 101, "Snedker")
    await world.change(
        person, 2, relations=[relation(MUNICIPALITY, to="2026-11-01"), relation(Organisation(7, "751"))]
    )
    answer = await world.on_status(a_caller(Organisation(7, "751")), person, "?CVStatusIdentifier=3")
    found = item(answer)
    assert (found.CVStatusIdentifier, found.CVComment, found.CVVersionIdentifier) == (3, "Godkendt", version)
    assert (found.Municipality.MunicipalityCode, found.Municipality.MunicipalityName) == ("101", "København")
    [asked] = world.renderer.asked
    assert base64.b64decode(found.CompleteCVAsPdfResult) == world.renderer.pdf_of(asked)
    assert asked["content"]["JobTargetCollection"][0]["JobTitle"] == "Tømrer"
    assert asked["kind"] == "frozen"
    assert datetime.fromisoformat(asked["timestamp"]) == found.CVVersionTime
    assert asked["status"] == {"id": 3, "name": default().cv_statuses[3].name}
    assert asked["municipality"] == {"code": "101", "name": "København"}
    assert person.person_number not in str(asked)
    assert person.person_number not in answer.text


async def test_a_status_alone_means_its_newest_version_and_an_id_alone_any(world: World) -> None:
    person = await a_citizen(world)
    for status in (2, 3, 2):
        await world.set(CASE_WORKER, person, status)
    listed = (await world.versions(CASE_WORKER, person)).json()["AvailableCVStatusVersionCollection"]
    newest, approval, oldest = (entry["CVVersionIdentifier"] for entry in listed)
    for query, expected in (
        ("?CVStatusIdentifier=2", newest),
        ("?CVStatusIdentifier=3", approval),
        (f"?CVVersionIdentifier={oldest}", oldest),
        (f"?CVVersionIdentifier={oldest.upper()}", oldest),
        (f"?CVStatusIdentifier=2&CVVersionIdentifier={oldest}", oldest),
    ):
        found = item(await world.on_status(CASE_WORKER, person, query))
        assert str(found.CVVersionIdentifier) == expected


async def test_the_methods_own_faults_are_9110_to_9113(world: World) -> None:
    (person, version), (_, others) = await approved(world), await approved(world)
    for query, expected in (
        ("", 9113),
        (f"?CVVersionIdentifier={uuid4()}", 9110),
        (f"?CVVersionIdentifier={others}", 9110),
        (f"?CVStatusIdentifier=3&CVVersionIdentifier={uuid4()}", 9110),
        ("?CVStatusIdentifier=5", 9111),
        (f"?CVStatusIdentifier=2&CVVersionIdentifier={version}", 9112),
    ):
        assert code(await world.on_status(CASE_WORKER, person, query)) == expected
    assert world.renderer.asked == []


async def test_what_does_not_have_the_seeds_form_is_1014(world: World) -> None:
    person, version = await approved(world)
    for query in (
        "?CVStatusIdentifier=1",
        "?CVStatusIdentifier=",
        "?CVVersionIdentifier=1",
        f"?CVVersionIdentifier={{{version}}}",
        "?CVStatusIdentifier=3&CVStatusIdentifier=3",
        "?CVStatusIdentifier=3&Other=1",
    ):
        assert code(await world.on_status(CASE_WORKER, person, query)) == 1014
    bad = await world.on_status(CASE_WORKER, person, x_civilregistrationidentifier="3113001234")
    assert code(bad) == 1014


async def test_the_citizen_comes_before_the_methods_own_rules(world: World) -> None:
    person, _ = await approved(world)
    unknown = await world.on_status(CASE_WORKER, person, x_civilregistrationidentifier="0000000000")
    assert code(unknown) == 1010
    assert code(await world.on_status(a_caller(COMPANY), person)) == 8292
    await world.change(person, 2, cvNumber=None)
    assert code(await world.on_status(CASE_WORKER, person)) == 4103


async def test_who_may_read_and_which_fault_others_get(world: World) -> None:
    mine = await world.citizen(
        *(relation(own) for own in (FUND, MUNICIPALITY, JOBCENTER)), referral(ACTOR, MUNICIPALITY)
    )
    nobodys = await world.citizen()
    for person in (mine, nobodys):
        await world.set(a_caller(JOBNET), person, 2)
    for who, for_mine, for_nobodys in (
        (a_caller(FUND), 200, 4385),
        (a_caller(OTHER_FUND), 8291, 4385),
        (a_caller(MUNICIPALITY), 200, 4575),
        (a_caller(JOBCENTER), 200, 4575),
        (a_caller(MUNICIPALITY, ACTOR), 200, 4511),
        (a_caller(JOBCENTER, ACTOR), 4511, 4511),
        (a_caller(STAR), 200, 200),
        (a_caller(JOBNET), 200, 200),
    ):
        for person, expected in ((mine, for_mine), (nobodys, for_nobodys)):
            assert code(await world.on_status(who, person, "?CVStatusIdentifier=2")) == expected


async def test_of_a_protected_citizen_only_those_of_decision_19_get_the_document_with_the_address(
    world: World,
) -> None:
    person, _ = await approved(world)
    await world.change(person, 2, addressProtected=True)
    for who in (CASE_WORKER, a_caller(JOBNET), a_caller(STAR)):
        item(await world.on_status(who, person, "?CVStatusIdentifier=3"))
    shown = [asked["content"]["PersonalData"]["PostalAddress"] for asked in world.renderer.asked]
    assert shown[0]["AddressLine"] == shown[1]["AddressLine"] == "Prøvevej 1"
    assert shown[2] == HIDDEN


async def test_each_document_leaves_one_access_row_and_a_refusal_none(world: World) -> None:
    person, version = await approved(world)
    await world.on_status(CASE_WORKER, person, "?CVStatusIdentifier=3")
    await world.on_status(CASE_WORKER, person, "?CVStatusIdentifier=5")
    await world.on_status(a_caller(OTHER_MUNICIPALITY), person, "?CVStatusIdentifier=3")
    world.renderer.mode = "busy"
    await world.on_status(CASE_WORKER, person, "?CVStatusIdentifier=3")
    rows = await world.database.fetch("select * from access_log where method = 'GetCVOnStatus'")
    frozen = await world.database.fetchval("select version from frozen_versions")
    assert [(row["subject"], row["object_version"], row["detail"]) for row in rows] == [
        (person.person_id, frozen, f'{{"version": "{version}"}}')
    ]


async def test_a_document_that_cannot_be_logged_is_not_answered(world: World) -> None:
    person, _ = await approved(world)
    await world.database.execute("alter table access_log rename to away")
    answer = await world.on_status(CASE_WORKER, person, "?CVStatusIdentifier=3")
    assert answer.status_code == 503
    assert "CVOnStatusItem" not in answer.text


async def test_without_a_document_it_is_503_with_retry_after_and_well_again_afterwards(
    world: World,
) -> None:
    person, _ = await approved(world)
    modes: tuple[Mode, ...] = ("busy", "slow", "killed", "garbage")
    for mode in modes:
        world.renderer.mode = mode
        answer = await world.on_status(CASE_WORKER, person, "?CVStatusIdentifier=3")
        assert (answer.status_code, code(answer)) == (503, 1011)
        assert int(answer.headers["retry-after"]) >= 1
        assert (await world.set(CASE_WORKER, person, 5)).status_code == 200
    world.renderer.mode = "ok"
    item(await world.on_status(CASE_WORKER, person, "?CVStatusIdentifier=3"))


async def test_with_pdf_renderer_down_it_is_503_and_statuses_are_set_all_the_same(world: World) -> None:
    await world.renderer.stop()
    person, version = await approved(world)
    answer = await world.on_status(CASE_WORKER, person, f"?CVVersionIdentifier={version}")
    assert (answer.status_code, code(answer)) == (503, 1011)


async def test_a_document_that_can_never_be_rendered_is_our_mistake(world: World) -> None:
    person, _ = await approved(world)
    world.renderer.mode = "unprintable"
    answer = await world.on_status(CASE_WORKER, person, "?CVStatusIdentifier=3")
    assert (answer.status_code, code(answer)) == (500, 1011)


async def document(world: World, cv_id: UUID, version: UUID, service: str = "pdf-renderer") -> httpx.Response:
    body = {"cvId": str(cv_id), "versionId": str(version)}
    headers = world.headers(None, service)
    return await world.client.post("/internal/frozen-versions/document", json=body, headers=headers)


async def test_what_pdf_renderer_renders_ahead_is_what_it_is_asked_for_later(world: World) -> None:
    person, version = await approved(world)
    ahead = (await document(world, person.cv_id, version)).json()["document"]
    await world.on_status(CASE_WORKER, person, "?CVStatusIdentifier=3")
    assert world.renderer.asked == [ahead]
    assert (await document(world, uuid4(), version)).json() == {"erased": True}


async def test_only_pdf_renderer_is_told_and_an_erased_version_is_gone(world: World) -> None:
    person, version = await approved(world)
    for service in ("gateway", "cv-registry", "operator", "stranger"):
        assert code(await document(world, person.cv_id, version, service)) == 1013
    del world.registry.citizens[str(person.person_id)]
    await world.apply(Erased(person.person_id, 2))
    assert (await document(world, person.cv_id, version)).json() == {"erased": True}
    assert code(await world.on_status(CASE_WORKER, person, "?CVStatusIdentifier=3")) == 1010
