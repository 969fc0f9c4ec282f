"""Receipts of erasures: counted in the transaction that removes, summed over several, and only then whole."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.follow.erasing import ErasureReceipts, Held, Holdings, receipted, removing
from servicekit.follow.projection import Projection
from servicekit.follow.states import Erased, Known
from servicekit.follow.testing import Copies, OwnedStates, apply_states, make_live
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

HOLDINGS = Holdings(
    (Held("copies", "subject = any($1)"), Held("notes", "note = any($1)")),
    related="select note from notes where subject = any($1)",
)


class Service:
    """A service that keeps copies of subjects, and notes about them under ids of their own."""

    def __init__(self, database: Database, projection: Projection) -> None:
        self.database = database
        self.projection = projection
        self.receipts = ErasureReceipts(database, "a-service", HOLDINGS)

    async def note(self, subject: UUID) -> UUID:
        note = uuid4()
        await self.database.execute("insert into notes values ($1, $2)", subject, note)
        return note

    async def request(self, subject: UUID | None) -> None:
        await self.database.execute(
            "insert into request_log (request, body_hash, status, body, headers, subject)"
            " values ($1, '', 200, '', '{}', $2)",
            uuid4().bytes,
            subject,
        )

    @asynccontextmanager
    async def forgetting(self, person: UUID, version: int, *others: UUID) -> AsyncIterator[None]:
        """Forget the notes about a person in one transaction, which ends with the block."""
        async with self.database.pool.acquire() as conn, conn.transaction():
            async with removing(conn, HOLDINGS, person, version, *others):
                await conn.execute("delete from notes where subject = $1", person)
            yield


@pytest_asyncio.fixture
async def service(fresh_database: FreshDatabase) -> AsyncIterator[Service]:
    database = await Database.connect(await fresh_database("servicekit.migrations"), "erasing-tests")
    await database.execute("create table notes (subject uuid, note uuid)")
    copies = await Copies(database).create()
    await make_live(database)
    [projection] = receipted([copies.projection(OwnedStates())], HOLDINGS)
    yield Service(database, projection)
    await database.close()


async def test_a_receipt_says_what_was_removed_and_what_is_left(service: Service) -> None:
    person, other = uuid4(), uuid4()
    known = [Known(subject, 1, {}) for subject in (person, other)]
    await apply_states(service.database, service.projection, known)
    note = await service.note(person)
    before = await service.receipts.of(person, note)
    assert (before["version"], before["removed"], before["left"]) == (None, {}, {"copies": 1, "notes": 1})
    await apply_states(service.database, service.projection, [Erased(person, 2)])
    between = await service.receipts.of(person, note)
    assert (between["version"], between["removed"]["copies"], between["left"]) == (2, 1, {"notes": 1})
    await service.database.execute("delete from notes where subject = $1", person)
    assert (await service.receipts.of(person, note))["left"] == {}
    assert (await service.receipts.of(other, uuid4()))["left"] == {"copies": 1}


async def test_an_erasure_that_comes_again_adds_what_it_removes_again(service: Service) -> None:
    person = uuid4()
    await apply_states(service.database, service.projection, [Known(person, 1, {})])
    await apply_states(service.database, service.projection, [Erased(person, 2)])
    await apply_states(service.database, service.projection, [Known(person, 3, {})])
    await apply_states(service.database, service.projection, [Erased(person, 4)])
    receipt = await service.receipts.of(person, uuid4())
    assert (receipt["version"], receipt["removed"]["copies"], receipt["left"]) == (4, 2, {})


async def test_many_erased_in_one_batch_have_a_receipt_each(service: Service) -> None:
    people = sorted(uuid4() for _ in range(5))
    await apply_states(service.database, service.projection, [Known(p, 1, {}) for p in people])
    await apply_states(service.database, service.projection, [Erased(p, 2) for p in people])
    for person in people:
        assert (await service.receipts.of(person, uuid4()))["removed"]["copies"] == 1


async def test_remembered_requests_about_the_erased_are_forgotten(service: Service) -> None:
    person, other = uuid4(), uuid4()
    for subject in (person, other, None):
        await service.request(subject)
    await apply_states(service.database, service.projection, [Erased(person, 2)])
    rows = await service.database.fetch("select subject from request_log")
    assert {row["subject"] for row in rows} == {other, None}
    assert (await service.receipts.of(person, uuid4()))["removed"]["request_log"] == 1


async def test_access_rows_stay_and_are_counted(service: Service) -> None:
    person = uuid4()
    await service.database.execute("select access_log_make_months(current_date, 1)")
    await service.database.execute(
        "insert into access_log (at, subject, method, detail) values (now(), $1, 'GetCV', '{}')", person
    )
    await apply_states(service.database, service.projection, [Erased(person, 2)])
    assert (await service.receipts.of(person, uuid4()))["accessRows"] == 1


async def test_what_is_removed_under_all_ids_of_a_person_is_counted(service: Service) -> None:
    """Also where an id is found by what is removed, or is known to whoever removes and to nobody else."""
    person, old_id = uuid4(), uuid4()
    for subject in (await service.note(person), old_id, person, uuid4()):
        await service.request(subject)
    async with service.forgetting(person, 2, old_id):
        pass
    receipt = await service.receipts.of(person, uuid4())
    assert receipt["removed"] == {"copies": 0, "notes": 1, "request_log": 3}


async def test_two_that_remove_the_same_rows_at_once_count_them_once(service: Service) -> None:
    person = uuid4()
    await service.note(person)

    async def remove() -> None:
        async with service.forgetting(person, 2):
            pass

    async with service.forgetting(person, 2):
        other = asyncio.create_task(remove())

        async def waits() -> None:
            waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            assert await service.database.fetchval(waiting) == 1

        await eventually(waits)
    await other
    assert (await service.receipts.of(person, uuid4()))["removed"]["notes"] == 1


async def test_a_receipt_is_of_the_newest_erasure_of_the_person_and_counts_what_was_removed_of_the_cv(
    service: Service,
) -> None:
    person, cv = uuid4(), uuid4()
    assert (await service.receipts.of(person, cv))["erasedAt"] is None
    for subject, version in ((person, 5), (person, 3), (cv, 9)):
        await service.note(subject)
        async with service.forgetting(subject, version):
            pass
    receipt = await service.receipts.of(person, cv)
    assert (receipt["version"], receipt["removed"]["notes"]) == (5, 3)
    times = await service.database.fetch("select erased_at from erasure_receipts order by subject = $1", cv)
    assert times[0][0] < times[1][0] == receipt["erasedAt"]
    assert (await service.receipts.of(cv, person))["erasedAt"] == receipt["erasedAt"]
