"""CVs that nobody has changed for a settable time are archived, with reason and who, and can be restored."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from cv_registry.archiving import Archiving
from cv_registry.life_cycle import Moved, Moving
from cv_registry.store_cvs import CvStore
from cv_registry.testing import RegistryClient, SettableClock, a_citizen, a_person_number, with_cv
from servicekit.data.postgres import Database, lock_number
from servicekit.publish.outbox import Outbox
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

IDLE = timedelta(days=90)


@pytest.fixture
def archiving(database: Database, clock: SettableClock) -> Archiving:
    return Archiving(database, Moving(CvStore(database, Outbox())), IDLE, clock)


async def a_cv_of(registry: RegistryClient, database: Database, clock: SettableClock, days: int) -> str:
    """Make a CV that was last replaced so many days ago; gives the person number."""
    citizen = a_citizen()
    (ids,) = await registry.register(citizen)
    assert (await registry.replace(citizen["personNumber"])).status_code == 200
    await database.execute(
        "update cvs set revised_at = $2 where cv_id = $1::text::uuid",
        ids["cvId"],
        clock.now - timedelta(days=days),
    )
    return str(citizen["personNumber"])


async def code(registry: RegistryClient, number: str) -> int | None:
    found: int | None = (await registry.get(number)).json().get("code")
    return found


async def test_only_cvs_that_were_idle_for_long_enough_are_archived(
    registry: RegistryClient, database: Database, clock: SettableClock, archiving: Archiving
) -> None:
    idle = await a_cv_of(registry, database, clock, 91)
    fresh = await a_cv_of(registry, database, clock, 89)
    assert await archiving.archive_idle() == 1
    assert (await code(registry, idle), await code(registry, fresh)) == (4753, None)
    [move] = await database.fetch("select state, reason, moved_by from cv_state_moves")
    assert tuple(move) == ("ARCHIVED", "nobody has changed it for 90 days", "cv-registry")
    payload = await database.fetchval(
        "select payload from outbox where aggregatetype like '%cv-changed' order by seq desc limit 1"
    )
    assert b'"change":"archived"' in payload
    assert await archiving.archive_idle() == 0


async def test_a_restored_cv_begins_anew(
    registry: RegistryClient, database: Database, clock: SettableClock, archiving: Archiving
) -> None:
    number = await a_cv_of(registry, database, clock, 200)
    assert await archiving.archive_idle() == 1
    cv_id = str(await database.fetchval("select cv_id from cvs"))
    assert (await registry.move(cv_id, "ACTIVE")).status_code == 200
    await database.execute("update cv_state_moves set moved_at = $1", clock.now)
    assert await archiving.archive_idle() == 0
    assert await code(registry, number) is None
    clock.now += IDLE + timedelta(days=1)
    assert await archiving.archive_idle() == 1


async def test_a_cv_that_is_replaced_meanwhile_is_left_alone(
    registry: RegistryClient, database: Database, clock: SettableClock
) -> None:
    number = await a_cv_of(registry, database, clock, 200)

    class Late(Moving):
        async def move(self, *move: Any, **only: Any) -> Moved:
            assert (await registry.replace(number)).status_code == 200
            return await super().move(*move, **only)

    late = Archiving(database, Late(CvStore(database, Outbox())), IDLE, clock)
    assert await late.archive_idle() == 0
    assert await code(registry, number) is None


async def test_a_move_waits_for_who_replaces_under_a_person_number_that_is_new(
    registry: RegistryClient, database: Database
) -> None:
    citizen = await with_cv(registry)
    new_number = a_person_number()
    renumbered = {name: value for name, value in citizen.items() if name in a_citizen()} | {
        "sourceVersion": 2,
        "personNumber": new_number,
        "formerPersonNumber": citizen["personNumber"],
    }

    async with database.write(CvStore.lock(new_number)):
        async with database.write(CvStore.lock(citizen["personNumber"])):
            moving = asyncio.create_task(registry.move(citizen["cvId"], "ARCHIVED"))
            await eventually(lambda: _waits(database, citizen["personNumber"]))
            await registry.register(renumbered)
        await eventually(lambda: _waits(database, new_number), timeout=timedelta(seconds=4))
    assert (await moving).status_code == 200


async def _waits(database: Database, person_number: str) -> None:
    """See that a write waits for the lock of this person's CV; pg_locks tells of a key in two halves."""
    waiting = """select 1 from pg_locks where locktype = 'advisory' and not granted
        and (classid::bigint << 32 | objid::bigint) = $1"""
    assert await database.fetchval(waiting, lock_number(CvStore.lock(person_number))) == 1
