"""An erased citizen leaves nothing here but the access rows, which are kept for their legal period."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from cv_citizens.testing import MUNICIPALITY, a_caller, relation
from cv_status.testing import Person, World
from servicekit.follow.states import Erased

pytestmark = pytest.mark.infra

CASE_WORKER = a_caller(MUNICIPALITY)
TABLES = ("statuses", "frozen_versions", "frozen_contents", "citizens")


async def a_citizen(world: World) -> Person:
    return await world.citizen(relation(MUNICIPALITY), contactGroup=2)


async def counts(world: World) -> list[int]:
    return [await world.rows(table) for table in TABLES]


async def states_of(world: World, *subjects: Any) -> list[dict[str, Any]]:
    answer = await world.client.post(
        "/internal/statuses/states",
        json={"subjects": [str(subject) for subject in subjects]},
        headers=world.headers(None, "cv-registry"),
    )
    states: list[dict[str, Any]] = answer.json()["states"]
    return states


async def test_an_erasure_takes_all_of_that_citizen_and_nothing_of_others(world: World) -> None:
    person, other = await a_citizen(world), await a_citizen(world)
    for someone in (person, other):
        for status in (2, 3):
            await world.set(CASE_WORKER, someone, status, "Kommentar")
    await world.get(CASE_WORKER, person)
    assert await counts(world) == [2, 4, 2, 2]
    await world.apply(Erased(person.person_id, 2))
    assert await counts(world) == [1, 2, 1, 1]
    assert await world.database.fetchval("select person_id from citizens") == other.person_id
    assert await world.rows("access_log") == 1
    assert len((await world.versions(CASE_WORKER, other)).json()["AvailableCVStatusVersionCollection"]) == 2


async def test_followers_are_told_that_the_status_is_erased_by_a_higher_version(world: World) -> None:
    person = await a_citizen(world)
    await world.set(CASE_WORKER, person, 3)
    [before] = await states_of(world, person.cv_id)
    await world.apply(Erased(person.person_id, 2))
    [after] = await states_of(world, person.cv_id)
    assert after["erased"] is True
    assert after["version"] > before["version"]


async def test_an_erasure_is_told_to_followers_once_by_an_event_of_the_status(world: World) -> None:
    """Who follows the statuses keeps the comment, and would hear of its erasure from nobody else."""
    person, other = await a_citizen(world), await a_citizen(world)
    for someone in (person, other):
        await world.set(CASE_WORKER, someone, 1, "Kommentar")
    await world.database.execute("delete from outbox")
    for version in (2, 3):
        await world.apply(Erased(person.person_id, version))
    rows = await world.database.fetch("select aggregatetype, aggregateid, version from outbox")
    ledger = await world.database.fetchval("select version from erasures where subject = $1", person.cv_id)
    assert [tuple(row) for row in rows] == [("cv-status.status-set", str(person.cv_id), ledger)]


async def test_an_erasure_that_is_applied_twice_changes_nothing_more(world: World) -> None:
    person = await a_citizen(world)
    await world.set(CASE_WORKER, person, 3)
    await world.apply(Erased(person.person_id, 2))
    ledger = await world.database.fetch("select * from erasures")
    await world.apply(Erased(person.person_id, 3))
    assert await world.database.fetch("select * from erasures") == ledger


async def test_a_cv_that_a_merger_gave_to_another_citizen_is_erased_with_whom_it_is_now(world: World) -> None:
    gone, heir = await a_citizen(world), await a_citizen(world)
    await world.set(CASE_WORKER, gone, 3)
    await world.change(gone, 2, cvId=str(uuid4()), cvNumber=None)
    await world.change(heir, 2, cvId=str(gone.cv_id), cvNumber=gone.cv_number)
    merged = replace(heir, cv_number=gone.cv_number)
    assert (await world.set(CASE_WORKER, merged, 2)).status_code == 200
    await world.apply(Erased(gone.person_id, 3))
    assert await counts(world) == [1, 2, 1, 1]
    await world.apply(Erased(heir.person_id, 3))
    assert await counts(world) == [0, 0, 0, 0]


async def test_after_an_erasure_what_others_have_frozen_is_still_immutable(world: World) -> None:
    person, other = await a_citizen(world), await a_citizen(world)
    await world.set(CASE_WORKER, person, 3)
    await world.set(CASE_WORKER, other, 3)
    async with world.database.pool.acquire() as conn, conn.transaction():
        await conn.execute("select erase_persons($1)", [person.person_id])
        with pytest.raises(Exception, match="immutable"):
            await conn.execute("delete from frozen_versions")


async def test_writes_that_meet_an_erasure_leave_nothing_behind(world: World) -> None:
    person = await a_citizen(world)
    writes = asyncio.gather(*(world.set(CASE_WORKER, person, 3) for _ in range(20)))
    await asyncio.sleep(0)
    erased = asyncio.create_task(world.apply(Erased(person.person_id, 2)))
    subject = str(person.person_id)
    world.registry.citizens[subject] = {"subject": subject, "version": 2, "erased": True}
    answers = await writes
    await erased
    assert await counts(world) == [0, 0, 0, 0]
    assert {a.json().get("code", 200) for a in answers} <= {200, 4103}
    assert (await world.set(CASE_WORKER, person, 1)).json()["code"] == 4103
