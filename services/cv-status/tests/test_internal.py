"""What followers and operators are told, and who may ask."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from cv_citizens.testing import MUNICIPALITY, a_caller, relation
from cv_status.testing import World
from servicekit.follow.states import Erased

pytestmark = pytest.mark.infra

CASE_WORKER = a_caller(MUNICIPALITY)


async def ask(world: World, path: str, body: Any, service: str = "cv-registry") -> Any:
    answer = await world.client.post(f"/internal/{path}", json=body, headers=world.headers(None, service))
    return answer.json() if answer.status_code == 200 else answer.json()["code"]


async def test_followers_get_the_status_with_its_comment_and_unknown_for_what_was_never_set(
    world: World,
) -> None:
    person = await world.citizen(relation(MUNICIPALITY), contactGroup=2)
    await world.set(CASE_WORKER, person, 3, "Godkendt")
    never = uuid4()
    answer = await ask(world, "statuses/states", {"subjects": [str(person.cv_id), str(never)]})
    state, unknown = sorted(answer["states"], key=lambda state: "unknown" in state)
    version = await world.database.fetchrow("select id, version, frozen_at from frozen_versions")
    assert version is not None
    assert state == {
        "subject": str(person.cv_id),
        "version": version["version"],
        "state": {
            "status": 3,
            "comment": "Godkendt",
            "time": version["frozen_at"].isoformat(),
            "cvVersion": 100,
            "versionId": str(version["id"]),
        },
    }
    assert unknown == {"subject": str(never), "unknown": True}


async def test_of_a_cv_that_was_frozen_more_than_once_followers_get_the_version_of_its_status_now(
    world: World,
) -> None:
    person = await world.citizen(relation(MUNICIPALITY), contactGroup=2)

    async def state() -> dict[str, Any]:
        [answer] = (await ask(world, "statuses/states", {"subjects": [str(person.cv_id)]}))["states"]
        assert (await ask(world, "statuses/snapshot", {}))["states"] == [answer]
        state: dict[str, Any] = answer["state"]
        return state

    for status in (2, 3):
        await world.set(CASE_WORKER, person, status)
        newest = await world.database.fetchval("select id from frozen_versions order by version desc limit 1")
        assert (await state())["versionId"] == str(newest)
    await world.set(CASE_WORKER, person, 1)
    assert (await state()).keys() == {"status", "time"}


async def test_pages_also_tell_whose_status_was_erased(world: World) -> None:
    people = [await world.citizen(relation(MUNICIPALITY), contactGroup=2) for _ in range(2)]
    for person in people:
        await world.set(CASE_WORKER, person, 1)
    await world.apply(Erased(people[0].person_id, 2))
    states = (await ask(world, "statuses/snapshot", {}))["states"]
    told = {state["subject"]: state.get("erased", False) for state in states}
    assert told == {str(people[0].cv_id): True, str(people[1].cv_id): False}


async def test_pages_go_by_key_order_through_every_status(world: World) -> None:
    people = [await world.citizen(relation(MUNICIPALITY), contactGroup=2) for _ in range(5)]
    for person in people:
        await world.set(CASE_WORKER, person, 1)
    found: list[str] = []
    after = None
    while True:
        page = await ask(world, "statuses/snapshot", {"after": after, "limit": 2})
        found += [state["subject"] for state in page["states"]]
        after = page["next"]
        if after is None:
            break
    assert [UUID(subject) for subject in found] == sorted(person.cv_id for person in people)


async def test_internal_routes_are_for_those_listed(world: World) -> None:
    subject = str(uuid4())
    for path, body in (
        ("statuses/states", {"subjects": [subject]}),
        ("statuses/snapshot", {}),
    ):
        assert await ask(world, path, body, "gateway") == 1013
        assert await ask(world, path, body, "stranger") == 1013
        assert await ask(world, path, body, "operator") == 1013
        assert isinstance(await ask(world, path, body, "cv-search"), dict)


async def test_more_than_500_subjects_are_refused(world: World) -> None:
    assert await ask(world, "statuses/states", {"subjects": [str(uuid4())] * 501}) == 1014


async def test_an_operator_sees_where_the_replica_stands(world: World) -> None:
    person = await world.citizen(relation(MUNICIPALITY))
    await world.pending(person)
    headers = world.headers(None, "operator")
    [citizens] = (await world.client.get("/internal/operations/projections", headers=headers)).json()[
        "projections"
    ]
    assert (citizens["name"], citizens["live"], citizens["pending"]) == ("citizens", 1, 1)
    refused = await world.client.get(
        "/internal/operations/projections", headers=world.headers(None, "cv-registry")
    )
    assert refused.json()["code"] == 1013
