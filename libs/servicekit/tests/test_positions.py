"""Where a follower reads: the database decides, whatever Kafka's offsets, a rebalance or a failed batch would have it read."""

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from servicekit.data.postgres import Database
from servicekit.follow import following as following_module
from servicekit.follow.following import Following, NotSettled
from servicekit.follow.positions_testing import Consumer, following_of, has_gap, records, store, stored
from servicekit.follow.records import Record
from servicekit.follow.testing import Copies, OwnedStates

pytestmark = pytest.mark.infra


def subject_of(record: Record) -> UUID:
    assert record.event is not None
    return record.event.subject


async def test_records_ahead_of_the_database_are_left_until_the_earlier_ones_were_read(
    following: Following, database: Database, copies: Copies, owned: OwnedStates
) -> None:
    await store(database, 0, 3)
    consumer, ahead, others = Consumer(0, 1), records(owned, 0, 5, 6), records(owned, 1, 0)
    await following.handle([*ahead, *others], consumer)
    assert consumer.sought == [(0, 3)]
    assert await copies.versions() == {subject_of(others[0]): 1}
    earlier = records(owned, 0, 3, 4)
    await following.handle([*earlier, *ahead], consumer)
    assert await stored(database) == {0: 7, 1: 1}
    assert len(await copies.versions()) == 5
    assert not await has_gap(database)


async def test_records_ahead_of_the_database_stay_left_when_the_others_are_tried_again(
    following: Following, database: Database, copies: Copies, owned: OwnedStates
) -> None:
    await store(database, 0, 3)
    consumer, ahead, others = Consumer(0, 1), records(owned, 0, 5, 6), records(owned, 1, 0)
    copies.poison = {subject_of(others[0])}
    await following.handle([*ahead, *others], consumer)
    assert await stored(database) == {0: 3, 1: 1}
    assert not await has_gap(database)


async def test_after_a_batch_that_could_not_be_written_the_database_decides_anew(
    following: Following,
    database: Database,
    copies: Copies,
    owned: OwnedStates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """FastStream then goes back to the first record of the batch, which is not what the database wants next."""
    await store(database, 0, 3)
    consumer, ahead, others = Consumer(0, 1), records(owned, 0, 5, 6), records(owned, 1, 0)
    with monkeypatch.context() as away:
        away.setattr(following_module, "PATIENCE", timedelta(0))
        away.setattr(following_module, "settle", failing)
        with pytest.raises(NotSettled):
            await following.handle([*ahead, *others], consumer)
    consumer.sought.clear()
    await following.handle([*ahead, *others], consumer)
    assert consumer.sought == [(0, 3)]
    assert await stored(database) == {0: 3, 1: 1}
    assert not await has_gap(database)


async def failing(*_: object, **__: object) -> None:
    raise asyncpg.CannotConnectNowError


async def test_records_that_the_database_has_dealt_with_are_left_and_make_no_gap(
    following: Following, database: Database, owned: OwnedStates
) -> None:
    await store(database, 0, 8)
    consumer = Consumer(0)
    await following.handle(records(owned, 0, 5, 6), consumer)
    assert consumer.sought == [(0, 8)]
    assert await stored(database) == {0: 8}
    await following.handle(records(owned, 0, 8), consumer)
    assert await stored(database) == {0: 9}
    assert not await has_gap(database)


async def test_a_partition_that_the_database_does_not_know_is_read_from_its_begin(
    following: Following, database: Database, owned: OwnedStates
) -> None:
    consumer = Consumer(0)
    await following.handle(records(owned, 0, 5, 6), consumer)
    assert consumer.sought == [(0, 0)]
    assert await stored(database) == {}
    # What had been before is gone, and was never read by this database.
    await following.handle(records(owned, 0, 5, 6), consumer)
    assert await stored(database) == {0: 7}
    assert not await has_gap(database)


async def test_a_running_follower_whose_database_knows_nothing_any_more_reads_from_the_begin(
    following: Following, database: Database, owned: OwnedStates
) -> None:
    consumer = Consumer(0)
    await following.handle(records(owned, 0, 0, 1), consumer)
    await database.execute("delete from follow_positions")
    async with asyncio.timeout(20):
        await following.handle(records(owned, 0, 2), consumer)
        assert consumer.sought == [(0, 0)]
        await following.handle(records(owned, 0, 0, 1, 2), consumer)
    assert await stored(database) == {0: 3}


async def test_after_an_assignment_quiet_partitions_are_sought_too(
    following: Following, database: Database, owned: OwnedStates
) -> None:
    await store(database, 0, 8)
    await store(database, 1, 4)
    await store(database, 3, 9)
    consumer = Consumer(0, 1, 2)
    await following.handle(records(owned, 1, 4), consumer)
    await following.positions.seek(consumer)
    assert sorted(consumer.sought) == [(0, 8), (2, 0)]


async def test_a_partition_taken_away_meanwhile_is_not_sought(
    following: Following, database: Database, owned: OwnedStates
) -> None:
    await store(database, 0, 8)
    await following.handle(records(owned, 0, 9), Consumer())
    assert await stored(database) == {0: 8}


async def test_a_process_that_stood_still_while_another_took_over_moves_no_position_back(
    following: Following, database: Database, copies: Copies, owned: OwnedStates
) -> None:
    consumer, taken_over = Consumer(0), Consumer(0)
    await following.handle(records(owned, 0, 0, 1), consumer)
    in_hand, newer = records(owned, 0, 2), records(owned, 0, 3, 4)
    other = following_of(database, copies, owned)
    await other.handle([*in_hand, *newer], taken_over)
    await following.handle(in_hand, consumer)
    assert await stored(database) == {0: 5}
    with capture_logs() as logs:
        await other.handle(records(owned, 0, 5), taken_over)
    assert logs == []
    assert taken_over.sought == []
    assert await copies.doubled() == 0


async def test_a_cancellation_by_the_client_that_nobody_asked_for_is_trouble_that_passes(
    following: Following, database: Database, owned: OwnedStates
) -> None:
    """aiokafka lets out that of a future whose connection went; let through, it would end the stream."""
    await store(database, 0, 9)
    consumer = Consumer(0, ends=5)
    await following.handle(records(owned, 0, 9), consumer)
    tries = iter([True, False])

    def cancelled_once() -> None:
        if next(tries):
            raise asyncio.CancelledError

    consumer.meanwhile = cancelled_once
    with capture_logs() as logs:
        await following.handle(records(owned, 0, 0), consumer)
    assert logs[0]["error_type"] == "ConnectionAbortedError"
    assert await stored(database) == {0: 1}
    assert await has_gap(database)
