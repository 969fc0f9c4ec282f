# ruff: noqa: PT012 - it is the whole transaction that raises
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from cv_contracts.envelope import data_json
from cv_contracts.events.cv_registry import CVChanged
from servicekit.data.postgres import Database
from servicekit.publish.outbox import Outbox, outbox_insert

pytestmark = pytest.mark.infra


def an_event(version: int = 1) -> CVChanged:
    return CVChanged(id=uuid4(), subject=uuid4(), version=version, time=datetime.now(UTC), change="replaced")


async def test_a_row_says_what_the_record_will_say(database: Database) -> None:
    outbox, event = Outbox(), an_event()
    async with database.write("k") as tx:
        await outbox.add_rows(tx, [outbox.row(event, partition=3)])
    row = await database.fetchrow("select * from outbox")
    assert row is not None
    assert (row["id"], row["aggregateid"], row["type"]) == (event.id, str(event.subject), CVChanged.TYPE)
    assert row["aggregatetype"] == "cv-registry.cv-changed"
    assert row["payload"] == data_json(event)
    assert (row["version"], row["time"], row["partition"]) == (event.version, event.time, 3)
    assert row["tracingspancontext"] is None


async def test_events_are_published_with_the_state_or_not_at_all(database: Database) -> None:
    with pytest.raises(LookupError):
        async with database.write("k") as tx:
            await Outbox().add(tx, an_event())
            raise LookupError
    assert await database.fetchval("select count(*) from outbox") == 0


async def test_many_events_keep_their_order(database: Database) -> None:
    events = [an_event(n) for n in range(300)]
    async with database.write("k") as tx:
        await Outbox().add(tx, *events)
    rows = await database.fetch("select id from outbox order by seq")
    assert [row["id"] for row in rows] == [event.id for event in events]


async def test_the_relay_is_woken_once_per_transaction_and_only_after_the_commit(database: Database) -> None:
    woken: list[bool] = []
    outbox = Outbox()
    outbox.on_commit(lambda: woken.append(True))
    async with database.write("k") as tx:
        await outbox.add(tx, an_event())
        await outbox.add(tx, an_event())
        assert not woken
    assert woken == [True]


async def test_a_store_can_publish_in_its_own_statement(database: Database) -> None:
    outbox, event = Outbox(), an_event()
    await database.execute("create table things (n int)")
    async with database.write("k") as tx:
        query = f"with state as (insert into things values ($1)) {outbox_insert(2)}"
        await tx.conn.execute(query, 1, *outbox.row(event))
        tx.after_commit(outbox.wake)
    assert await database.fetchval("select id from outbox") == event.id


async def test_a_store_whose_statement_did_nothing_publishes_nothing(database: Database) -> None:
    outbox, events = Outbox(), [an_event(), an_event()]
    await database.execute("create table things (n int primary key)")
    query = f"with state as (insert into things values ($1) on conflict do nothing returning n) {outbox_insert(2, 'state')}"
    for event in events:
        async with database.write("k") as tx:
            await tx.conn.execute(query, 1, *outbox.row(event))
    assert [row["id"] for row in await database.fetch("select id from outbox")] == [events[0].id]


async def test_who_has_no_events_publishes_none(database: Database) -> None:
    """A chunk of persons may have nothing that was to be erased."""
    async with database.write("k") as tx:
        await Outbox().add(tx)
    assert await database.fetchval("select count(*) from outbox") == 0
