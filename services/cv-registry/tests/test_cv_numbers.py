"""A CV number that was taken from a citizen is nobody's ever again, whoever asks for it, and however close behind."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from cv_registry.imports.lines import ReadyCitizen, prepare
from cv_registry.imports.store import ChunkCollided, ImportStore
from cv_registry.testing import RegistryClient, a_citizen, with_cv
from servicekit.data.postgres import Database
from servicekit.publish.outbox import Outbox
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

FORMER, LATTER = "23456789", "34567890"


async def test_a_number_that_leaves_in_one_delivery_is_not_given_in_the_same(
    registry: RegistryClient,
) -> None:
    citizen = await with_cv(registry, cvNumber=FORMER)
    changed, other = newer(citizen, cvNumber=LATTER), a_citizen(cvNumber=FORMER)
    results = await registry.intake(changed, other)
    assert [result["outcome"] for result in results] == ["applied", "refused"]
    assert results[1]["errors"][0]["element"] == "cvNumber"
    assert (await registry.by_number(FORMER)).json()["code"] == 4103
    assert (await registry.by_number(LATTER)).status_code == 200


async def test_two_citizens_do_not_change_numbers_with_each_other(registry: RegistryClient) -> None:
    one, other = await with_cv(registry, cvNumber=FORMER), await with_cv(registry, cvNumber=LATTER)
    results = await registry.intake(newer(one, cvNumber=LATTER), newer(other, cvNumber=FORMER))
    assert [result["outcome"] for result in results] == ["refused", "refused"]


async def test_a_number_that_is_being_taken_from_its_citizen_is_waited_for_and_then_refused(
    registry: RegistryClient, database: Database
) -> None:
    citizen = await with_cv(registry, cvNumber=FORMER)
    async with database.pool.acquire() as conn, conn.transaction():
        await conn.execute("UPDATE citizens SET cv_number = $1 WHERE cv_number = $2", LATTER, FORMER)
        await conn.execute("INSERT INTO retired_cv_numbers VALUES ($1, $2, now())", FORMER, citizen["cvId"])
        registering = asyncio.create_task(registry.intake(a_citizen(cvNumber=FORMER)))
        await eventually(lambda: _waits(database))
    (result,) = await registering
    assert result["outcome"] == "refused"
    assert await database.fetchval("SELECT count(*) FROM citizens") == 1


async def test_an_imported_chunk_with_a_number_that_was_retired_meanwhile_is_sorted_anew(
    registry: RegistryClient, database: Database
) -> None:
    citizen = await with_cv(registry, cvNumber=FORMER)
    await registry.register(newer(citizen, cvNumber=LATTER))
    with pytest.raises(ChunkCollided):
        await ImportStore(database, Outbox()).save(ready_for(a_citizen(cvNumber=FORMER)))
    assert await database.fetchval("SELECT count(*) FROM citizens") == 1


async def test_an_imported_chunk_with_a_person_number_that_was_replaced_meanwhile_is_sorted_anew(
    registry: RegistryClient, database: Database
) -> None:
    citizen = await with_cv(registry)
    renumbered = newer(
        citizen, personNumber=a_citizen()["personNumber"], formerPersonNumber=citizen["personNumber"]
    )
    await registry.register(renumbered)
    with pytest.raises(ChunkCollided):
        await ImportStore(database, Outbox()).save(ready_for(a_citizen(personNumber=citizen["personNumber"])))
    assert await database.fetchval("SELECT count(*) FROM citizens") == 1


@pytest.mark.parametrize("how", ["changed", "merged"])
async def test_a_number_that_two_citizens_have_had_does_not_stop_its_holder_from_losing_it(
    registry: RegistryClient, database: Database, how: str
) -> None:
    """As a number that was given again may have been stored before that was impossible."""
    citizen, survivor = await with_cv(registry, cvNumber=FORMER), await with_cv(registry)
    await database.execute("INSERT INTO retired_cv_numbers VALUES ($1, $2, now())", FORMER, uuid4())
    if how == "changed":
        await registry.register(newer(citizen, cvNumber=LATTER))
    else:
        body = {"personNumber": survivor["personNumber"], "mergedPersonNumber": citizen["personNumber"]}
        answer = await registry.call(
            "POST",
            "/internal/citizens/merge",
            {**body, "reason": "one person", "by": "intake"},
            service="citizen-intake",
            content_type="application/json",
        )
        assert answer.json()["outcome"] == "applied"
    assert (await registry.by_number(FORMER)).json()["code"] == 4103


def newer(citizen: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Give what the source tells next of a citizen."""
    told = {name: value for name, value in citizen.items() if name in a_citizen() or name == "cvNumber"}
    return {**told, "sourceVersion": citizen["sourceVersion"] + 1, **changes}


def ready_for(citizen: dict[str, Any]) -> list[ReadyCitizen]:
    line = json.dumps({"citizen": citizen, "cv": None}).encode()
    return [one for one in prepare([(1, line)], None) if isinstance(one, ReadyCitizen)]


async def _waits(database: Database) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    assert await database.fetchval(waiting) == 1
