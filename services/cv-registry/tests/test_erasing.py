"""An order of erasure: what it removes, what it leaves, what it says; on a real PostgreSQL."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from cv_citizens.testing import JOBCENTER, a_caller
from cv_registry.store_citizens import _parsed
from cv_registry.store_cvs import CvStore
from cv_registry.testing import RegistryClient, a_citizen, a_cv, a_person_number
from servicekit.data.postgres import Database

pytestmark = pytest.mark.infra

DATES = {"AsylumCVTransitionDate": "2026-11-20", "CVEditEndDate": "2026-11-25"}
LEDGERS = {"erasures", "erasure_receipts", "operator_actions", "outbox", "access_log"}
"""Where random ids may be after an erasure: nothing else of the citizen is in them."""


async def operate(registry: RegistryClient, path: str, body: Any) -> Any:
    answer = await registry.call(
        "POST", f"/internal/erasures{path}", body, service="operator", content_type="application/json"
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def erase(registry: RegistryClient, ids: Any, **more: Any) -> Any:
    why = {"who": "operator", "reason": "the citizen has asked for it"}
    return await operate(registry, "", {**_ids(ids), "why": why, **more})


async def receipt(registry: RegistryClient, ids: Any) -> Any:
    return await operate(registry, "/receipts", _ids(ids))


def _ids(ids: Any) -> dict[str, str]:
    return {"personId": ids["personId"], "cvId": ids["cvId"]}


async def a_whole_citizen(registry: RegistryClient, database: Database) -> dict[str, Any]:
    """Make a citizen of whom every table has something."""
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    number = citizen["personNumber"]
    jobcenter = a_caller(JOBCENTER)
    for request_id in ("one", "two"):
        assert (await registry.replace(number, a_cv(), x_requestid=request_id)).status_code == 200
    assert (await registry.asylum("POST", number, DATES, caller=jobcenter)).status_code == 200
    await registry.move(ids["cvId"], "LOCKED")
    await registry.move(ids["cvId"], "ACTIVE")
    await registry.get(number)
    for projection in ("statuses", "contacts"):
        await database.execute(
            "insert into projection_generations (projection, generation, status) values ($1, 1, 'live')"
            " on conflict do nothing",
            projection,
        )
    person, cv = UUID(ids["personId"]), UUID(ids["cvId"])
    await database.execute("insert into statuses values (1, $1, 1, 2, 'Kommentar', now())", cv)
    await database.execute("insert into contacts values (1, $1, 1, 0, $2, $2)", person, b"{}")
    await database.execute("insert into retired_cv_numbers values ($2, $1, now())", cv, str(cv.int % 10**8))
    await database.execute(
        "insert into merged_persons values ($1, $2, 'one person', 'test', now())", person, uuid4()
    )
    await database.execute(
        "insert into former_person_numbers values ($2, $1, now())", person, f"0101{person.int % 10**6:06}"
    )
    await database.execute(
        "insert into account_letters (letter_id, person_id, cv_id, user_name, state, ordered_at)"
        " values ($1, $2, $3, $4, 'failed', now())",
        uuid4(),
        person,
        cv,
        ids["cvNumber"],
    )
    return {**ids, "personNumber": number}


async def rows_with(database: Database, *texts: str) -> set[str]:
    """Name the tables of which a row has one of the texts, as text or in bytes."""
    tables = await database.fetch(
        "select tablename from pg_tables where schemaname = 'public' and tablename not like 'schema_%'"
    )
    found = set()
    for (table,) in tables:
        rows = await database.fetch(f"select * from {table}")
        words = " ".join(
            value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            for row in rows
            for value in row.values()
        )
        if any(text in words for text in texts):
            found.add("access_log" if table.startswith("access_log") else table)
    return found


async def test_an_erasure_removes_every_row_of_the_citizen_and_none_of_another(
    registry: RegistryClient, database: Database
) -> None:
    one, other = await a_whole_citizen(registry, database), await a_whole_citizen(registry, database)
    assert UUID(one["personId"]) in _parsed
    await erase(registry, one)
    assert UUID(one["personId"]) not in _parsed, "nor is the citizen in memory"
    left = await rows_with(database, one["personNumber"], one["cvNumber"])
    assert left == set()
    assert await rows_with(database, one["personId"], one["cvId"]) <= LEDGERS
    assert (await registry.get(one["personNumber"])).json()["code"] == 1010
    assert (await registry.get(other["personNumber"])).status_code == 200
    assert (await receipt(registry, other))["version"] is None


async def test_an_erasure_removes_a_former_number_that_was_only_told(
    registry: RegistryClient, database: Database
) -> None:
    former = a_person_number()
    (ids,) = await registry.register(a_citizen(formerPersonNumber=former))
    assert await rows_with(database, former) == {"former_person_numbers"}
    await erase(registry, ids)
    assert await rows_with(database, former) == set()


async def test_the_receipt_counts_what_was_removed_and_names_the_access_rows_that_stay(
    registry: RegistryClient, database: Database
) -> None:
    one = await a_whole_citizen(registry, database)
    answer = await erase(registry, one)
    given = await receipt(registry, one)
    assert given["version"] == answer["personVersion"]
    assert given["left"] == {}
    assert given["accessRows"] == 1
    assert given["removed"] == {
        "citizens": 1,
        "cvs": 1,
        "cv_revisions": 2,
        "cv_state_moves": 2,
        "account_letters": 1,
        "asylum_transitions": 1,
        "retired_cv_numbers": 1,
        "former_person_numbers": 1,
        "merged_persons": 1,
        "statuses": 1,
        "contacts": 1,
        "request_log": 2,
    }


async def test_followers_are_told_of_person_and_cv_by_higher_versions(
    registry: RegistryClient, database: Database
) -> None:
    one = await a_whole_citizen(registry, database)
    before = await database.fetchval("select max(version) from outbox")
    erased = await erase(registry, one)
    rows = await database.fetch(
        "select aggregatetype, aggregateid, version, payload from outbox where convert_from(payload, 'UTF8') like '%erased%'"
    )
    told = {(row["aggregatetype"], row["aggregateid"]): row["version"] for row in rows}
    assert told == {
        ("cv-registry.citizen-changed", one["personId"]): erased["personVersion"],
        ("cv-registry.cv-changed", one["cvId"]): erased["cvVersion"],
    }
    assert min(told.values()) > before
    for path, subject in (("citizens", one["personId"]), ("cvs", one["cvId"])):
        answer = await registry.call(
            "POST",
            f"/internal/{path}/states",
            {"subjects": [subject]},
            service="cv-search",
            content_type="application/json",
        )
        [state] = answer.json()["states"]
        assert state["erased"] is True


async def test_an_order_that_comes_again_changes_nothing_more(
    registry: RegistryClient, database: Database
) -> None:
    one = await a_whole_citizen(registry, database)
    first = await erase(registry, one)
    given, events = await receipt(registry, one), await database.fetchval("select count(*) from outbox")
    assert await erase(registry, one) == first
    assert await receipt(registry, one) == given
    assert await database.fetchval("select count(*) from outbox") == events


async def test_a_repeated_order_is_published_again_by_a_higher_version(
    registry: RegistryClient, database: Database
) -> None:
    """Whether the registry, a follower or both were restored from a back-up: all hear of the erasure once more."""
    one = await a_whole_citizen(registry, database)
    first = await erase(registry, one)
    second = await erase(registry, one, again=True)
    assert second["personVersion"] > first["personVersion"]
    assert second["cvVersion"] > first["cvVersion"]
    nobody = {"personId": str(uuid4()), "cvId": str(uuid4())}
    assert (await erase(registry, nobody, again=True))["personVersion"] > 0


async def test_whoever_comes_again_after_an_erasure_is_somebody_else(
    registry: RegistryClient, database: Database
) -> None:
    one = await a_whole_citizen(registry, database)
    await erase(registry, one)
    (new,) = await registry.register(a_citizen(personNumber=one["personNumber"]))
    assert {new["personId"], new["cvId"]}.isdisjoint({one["personId"], one["cvId"]})
    assert (await registry.get(one["personNumber"])).json()["code"] == 4755


async def test_writes_that_meet_an_erasure_leave_nothing_behind(
    registry: RegistryClient, database: Database
) -> None:
    one = await a_whole_citizen(registry, database)
    number = one["personNumber"]
    writes = asyncio.gather(
        *(registry.replace(number, x_requestid=f"r{n}") for n in range(10)),
        *(registry.move(one["cvId"], "LOCKED" if n % 2 else "ACTIVE") for n in range(10)),
        registry.letter(number),
    )
    await asyncio.sleep(0)
    await erase(registry, one)
    await writes
    assert (await receipt(registry, one))["left"] == {}
    assert await rows_with(database, number, one["cvNumber"]) == set()


async def test_an_erasure_keeps_out_the_writes_under_a_person_number_that_came_while_it_waited(
    registry: RegistryClient, database: Database
) -> None:
    one, number = await a_whole_citizen(registry, database), a_person_number()
    async with database.write(CvStore.lock(number)):
        async with database.write(CvStore.lock(one["personNumber"])) as tx:
            erasing = asyncio.create_task(erase(registry, one))
            await asyncio.wait({erasing}, timeout=0.3)
            await tx.conn.execute(
                "update citizens set person_number = $2 where person_id = $1", UUID(one["personId"]), number
            )
        _, waiting = await asyncio.wait({erasing}, timeout=0.3)
        assert waiting == {erasing}
    await erasing
    assert (await receipt(registry, one))["left"] == {}


@pytest.mark.parametrize("by", ["personNumber", "personId"])
async def test_an_operator_finds_whom_to_erase_by_number_or_id(
    registry: RegistryClient, database: Database, by: str
) -> None:
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    named = {"personNumber": citizen["personNumber"], "personId": ids["personId"]}[by]
    assert await operate(registry, "/find", {by: named}) == _ids(ids)
    assert await operate(registry, "/find", {"personId": str(uuid4())}) == {}


@pytest.mark.parametrize("path", ["", "/find", "/receipts"])
async def test_nobody_but_the_operator_may_erase_or_ask(registry: RegistryClient, path: str) -> None:
    for service in ("gateway", "citizen-intake", "cv-status"):
        answer = await registry.call(
            "POST", f"/internal/erasures{path}", {}, service=service, content_type="application/json"
        )
        assert answer.status_code == 403
