"""The replica of citizens at cv-status, as real processes: killed, doubled, without owner or database, beside an owner restored empty."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx
import pytest
from tests.e2e.caller import Caller, Json, fault
from tests.e2e.movers import Movers, movers_at, moving
from tests.e2e.system import REGISTRY, System

from servicekit.testing import eventually

pytestmark = pytest.mark.timeout(400)

STATUS = "cv-status"
PATIENCE = timedelta(seconds=90)
LOOK = timedelta(milliseconds=200)
AT_ONCE = 60

EMPTIED = """
do $$ begin
    execute (select 'truncate ' || string_agg(quote_ident(tablename), ', ') || ' cascade' from pg_tables
        where schemaname = 'public' and tablename not in ('schema_migrations', 'heartbeats')
        and tablename not like 'access_log%');
end $$
"""


@pytest.fixture
async def movers(system: System, http: httpx.AsyncClient) -> Movers:
    return await movers_at(system, http, AT_ONCE)


async def operate(system: System, http: httpx.AsyncClient, what: str, body: Json | None = None) -> Json:
    """Do what an operator does at cv-status."""
    token = system.signer("operator").token(STATUS, None)
    answer = await http.post(
        f"{system.url(STATUS)}/internal/operations/{what}",
        json=body,
        headers={"authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 200, answer.text
    done: Json = answer.json()
    return done


WHY = {"who": "a drill", "reason": "to see it work"}


async def is_as_the_registry_has_it(system: System, http: httpx.AsyncClient) -> None:
    """Wait until nothing is on its way, then compare: by ranges as an operator does, and row by row."""

    async def settled() -> None:
        assert await system.value("select count(*) from outbox where partition is null") == 0
        assert await system.value("select count(*) from pending_subjects", service=STATUS) == 0
        assert (await operate(system, http, "projections/citizens/verify"))["differences"] == []

    await eventually(settled, PATIENCE, LOOK)
    owned = await system.rows("select person_id, version, state->'relations' from citizens")
    followed = await system.rows(
        "select person_id, c.version, c.state->'relations' from citizens c join projection_generations g"
        " using (generation) where g.projection = 'citizens' and g.status = 'live'",
        service=STATUS,
    )
    assert _relations(owned) == _relations(followed)


def _relations(rows: Iterable[asyncpg.Record]) -> dict[UUID, tuple[object, set[str]]]:
    return {
        UUID(str(person)): (
            version,
            {json.dumps(r, sort_keys=True) for r in json.loads(str(relations or "[]"))},
        )
        for person, version, relations in rows
    }


async def _kill(system: System, part: str) -> None:
    await asyncio.to_thread(system.kill, part)


async def _revive(system: System, part: str) -> None:
    await asyncio.to_thread(system.revive, part)


async def test_killed_with_9_while_it_follows_and_rebuilds_it_misses_nothing(
    system: System, http: httpx.AsyncClient, movers: Movers
) -> None:
    async with moving(movers):
        for _ in range(3):
            await movers.have_moved(3)
            await operate(system, http, "projections/citizens/rebuild", WHY)
            await _kill(system, STATUS)
            await movers.have_moved(2)
            await _revive(system, STATUS)
        await movers.have_moved(2)
    await is_as_the_registry_has_it(system, http)
    assert await _generations(system) == ["live"]


async def _generations(system: System) -> list[str]:
    async def one_is_left() -> None:
        assert await system.value("select count(*) from projection_generations", service=STATUS) == 1

    await eventually(one_is_left, PATIENCE, LOOK)
    rows = await system.rows("select status from projection_generations", service=STATUS)
    return [row["status"] for row in rows]


@pytest.mark.long
async def test_kafka_away_while_it_follows_loses_nothing_and_the_registry_decides(
    system: System, caller: Caller, http: httpx.AsyncClient, movers: Movers
) -> None:
    """A citizen handed over while Kafka is away is out of reach of the old authority in 30 s, without any record."""
    await is_as_the_registry_has_it(system, http)
    one, old, new = movers.people[0], caller.acting(f"8:{movers.town}00"), None
    assert (await old.call("GET", "/v6/Cv/cvstatus", one.person_number)).status_code == 200
    await _kill(system, "Kafka")
    assert await movers.move()
    new = caller.acting(f"8:{movers.town}00")

    async def handed_over() -> None:
        assert fault(await old.call("GET", "/v6/Cv/cvstatus", one.person_number)) == (403, 4575)

    await eventually(handed_over, timedelta(seconds=40), LOOK)
    assert (await new.call("GET", "/v6/Cv/cvstatus", one.person_number)).status_code == 200
    await _revive(system, "Kafka")
    await is_as_the_registry_has_it(system, http)


async def _follows_what_happened_before(
    system: System, movers: Movers, meanwhile: Callable[[], Awaitable[object]]
) -> None:
    """Let citizens move while cv-status is away, so that it reads of it when something else is the matter."""
    await _kill(system, STATUS)
    assert await movers.move()

    async def published() -> None:
        assert await system.value("select count(*) from outbox where partition is null") == 0

    await eventually(published, PATIENCE, LOOK)
    await asyncio.to_thread(system.terminate, REGISTRY)
    await meanwhile()
    await _revive(system, STATUS)


async def _all_wait(system: System, movers: Movers, reason: str) -> None:
    async def waiting() -> None:
        counted = "select count(*) from pending_subjects where reason = $1"
        assert await system.value(counted, reason, service=STATUS) >= len(movers.people)

    await eventually(waiting, PATIENCE, LOOK)


@pytest.mark.long
async def test_while_the_owner_is_away_its_citizens_wait_and_nobody_is_decided_about_by_old_states(
    system: System, caller: Caller, http: httpx.AsyncClient, movers: Movers
) -> None:
    await is_as_the_registry_has_it(system, http)
    old = caller.acting(f"8:{movers.town}00")

    async def nothing() -> None:
        """The registry stays away."""

    await _follows_what_happened_before(system, movers, nothing)
    await _all_wait(system, movers, "owner-unreachable")
    refused = await old.call("GET", "/v6/Cv/cvstatus", movers.people[0].person_number)
    assert fault(refused) == (503, 1011)
    assert int(refused.headers["retry-after"]) >= 1
    await _revive(system, REGISTRY)
    await is_as_the_registry_has_it(system, http)
    assert fault(await old.call("GET", "/v6/Cv/cvstatus", movers.people[0].person_number)) == (403, 4575)


@pytest.mark.long
async def test_an_owner_restored_empty_makes_nobody_forget(
    system: System, caller: Caller, http: httpx.AsyncClient, movers: Movers, tmp_path: Path
) -> None:
    await is_as_the_registry_has_it(system, http)
    followed = (
        "select count(*) from citizens join projection_generations using (generation) where status = 'live'"
    )
    known, backup = await system.value(followed, service=STATUS), tmp_path / "backup"

    async def emptied() -> None:
        await asyncio.to_thread(system.dump, "cv_registry", backup)
        await system.rows(EMPTIED)
        await _revive(system, REGISTRY)

    await _follows_what_happened_before(system, movers, emptied)
    await _all_wait(system, movers, "owner-unknown")
    await operate(system, http, "projections/citizens/rebuild", WHY)

    async def held() -> None:
        assert await system.value("select bool_or(held) from projection_generations", service=STATUS)

    await eventually(held, PATIENCE, LOOK)
    assert await system.value(followed, service=STATUS) == known
    new = caller.acting(f"8:{movers.town}00")
    assert fault(await new.call("GET", "/v6/Cv/cvstatus", movers.people[0].person_number)) == (503, 1011)

    await asyncio.to_thread(system.terminate, REGISTRY)
    await asyncio.to_thread(system.restore, "cv_registry", backup)
    await _revive(system, REGISTRY)
    await operate(system, http, "projections/citizens/rebuild/give-up", WHY)
    await operate(system, http, "pending/retry", {**WHY, "projection": "citizens"})
    await is_as_the_registry_has_it(system, http)
    assert (await new.call("GET", "/v6/Cv/cvstatus", movers.people[0].person_number)).status_code == 200
