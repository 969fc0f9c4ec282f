"""Where a follower reads: the database decides, whatever Kafka's offsets, a rebalance or a failed batch would have it read."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError
from structlog.testing import capture_logs

from servicekit.data.postgres import Database
from servicekit.follow import following as following_module
from servicekit.follow.applied import applied_by
from servicekit.follow.following import Following, NotSettled
from servicekit.follow.generations import Generations
from servicekit.follow.health import FollowHealth
from servicekit.follow.projection import read_batch
from servicekit.follow.records import Record, Records
from servicekit.follow.states import SubjectState
from servicekit.follow.testing import CITIZENS, Copies, OwnedStates, make_live
from servicekit.settings import KafkaSettings

pytestmark = pytest.mark.infra

TOPIC = "prefixed." + CITIZENS.name


class Consumer:
    """As much of aiokafka's as decides where is read."""

    def __init__(self, *assigned: int, ends: int = 1_000) -> None:
        self.assigned = set(assigned)
        self.sought: list[tuple[int, int]] = []
        self.ends = ends
        self.asked = 0
        self.meanwhile: Callable[[], None] = lambda: None
        """Called while the broker is asked."""

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition(TOPIC, partition) for partition in self.assigned}

    def seek(self, place: TopicPartition, offset: int) -> None:
        if place not in self.assignment():
            raise IllegalStateError
        self.sought.append((place.partition, offset))

    async def end_offsets(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        self.asked += 1
        self.meanwhile()
        await asyncio.sleep(0)
        return dict.fromkeys(places, self.ends)


def records(owner: OwnedStates, partition: int, *offsets: int) -> Records:
    """Make the records of new subjects at these offsets."""
    return [Record(CITIZENS, partition, offset, None, (), b"", owner.put(uuid4(), 1)) for offset in offsets]


def subject_of(record: Record) -> UUID:
    assert record.event is not None
    return record.event.subject


@pytest_asyncio.fixture
async def database(database: Database) -> Database:
    await make_live(database)
    return database


@pytest_asyncio.fixture
async def copies(database: Database) -> Copies:
    return await Copies(database).create()


@pytest.fixture
def owner() -> OwnedStates:
    return OwnedStates()


@pytest.fixture
def following(database: Database, copies: Copies, owner: OwnedStates) -> Following:
    projection = copies.projection(owner)
    return Following(database, projection, TOPIC, applied_by(database, {CITIZENS.name: projection.name}))


async def stored(database: Database) -> dict[int, int]:
    rows = await database.fetch("select partition, next_offset from follow_positions")
    return {row["partition"]: row["next_offset"] for row in rows}


async def store(database: Database, partition: int, offset: int) -> None:
    await database.execute(
        "insert into follow_positions (projection, topic, partition, next_offset) values ('copies', $1, $2, $3)"
        " on conflict (projection, topic, partition) do update set next_offset = excluded.next_offset",
        CITIZENS.name,
        partition,
        offset,
    )


async def has_gap(database: Database) -> bool:
    return await Generations(database, "copies").has_gap()


async def test_records_ahead_of_the_database_are_left_until_the_earlier_ones_were_read(
    following: Following, database: Database, copies: Copies, owner: OwnedStates
) -> None:
    await store(database, 0, 3)
    consumer, ahead, others = Consumer(0, 1), records(owner, 0, 5, 6), records(owner, 1, 0)
    await following.handle([*ahead, *others], consumer)
    assert consumer.sought == [(0, 3)]
    assert await copies.versions() == {subject_of(others[0]): 1}
    earlier = records(owner, 0, 3, 4)
    await following.handle([*earlier, *ahead], consumer)
    assert await stored(database) == {0: 7, 1: 1}
    assert len(await copies.versions()) == 5
    assert not await has_gap(database)


async def test_records_ahead_of_the_database_stay_left_when_the_others_are_tried_again(
    following: Following, database: Database, copies: Copies, owner: OwnedStates
) -> None:
    await store(database, 0, 3)
    consumer, ahead, others = Consumer(0, 1), records(owner, 0, 5, 6), records(owner, 1, 0)
    copies.poison = {subject_of(others[0])}
    await following.handle([*ahead, *others], consumer)
    assert await stored(database) == {0: 3, 1: 1}
    assert not await has_gap(database)


async def test_after_a_batch_that_could_not_be_written_the_database_decides_anew(
    following: Following,
    database: Database,
    copies: Copies,
    owner: OwnedStates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """FastStream then goes back to the first record of the batch, which is not what the database wants next."""
    await store(database, 0, 3)
    consumer, ahead, others = Consumer(0, 1), records(owner, 0, 5, 6), records(owner, 1, 0)
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
    following: Following, database: Database, owner: OwnedStates
) -> None:
    await store(database, 0, 8)
    consumer = Consumer(0)
    await following.handle(records(owner, 0, 5, 6), consumer)
    assert consumer.sought == [(0, 8)]
    assert await stored(database) == {0: 8}
    await following.handle(records(owner, 0, 8), consumer)
    assert await stored(database) == {0: 9}
    assert not await has_gap(database)


async def test_a_partition_that_the_database_does_not_know_is_read_from_its_begin(
    following: Following, database: Database, owner: OwnedStates
) -> None:
    consumer = Consumer(0)
    await following.handle(records(owner, 0, 5, 6), consumer)
    assert consumer.sought == [(0, 0)]
    assert await stored(database) == {}
    # What had been before is gone, and was never read by this database.
    await following.handle(records(owner, 0, 5, 6), consumer)
    assert await stored(database) == {0: 7}
    assert not await has_gap(database)


async def test_a_running_follower_whose_database_knows_nothing_any_more_reads_from_the_begin(
    following: Following, database: Database, owner: OwnedStates
) -> None:
    consumer = Consumer(0)
    await following.handle(records(owner, 0, 0, 1), consumer)
    await database.execute("delete from follow_positions")
    async with asyncio.timeout(20):
        await following.handle(records(owner, 0, 2), consumer)
        assert consumer.sought == [(0, 0)]
        await following.handle(records(owner, 0, 0, 1, 2), consumer)
    assert await stored(database) == {0: 3}


async def test_a_restored_database_is_no_gap_where_another_partition_is_read_for_the_first_time(
    following: Following, database: Database, owner: OwnedStates
) -> None:
    consumer = Consumer(0, 1)
    await following.handle(records(owner, 0, 0, 1, 2, 3), consumer)
    await store(database, 0, 2)
    with capture_logs() as logs:
        await following.handle([*records(owner, 0, 4), *records(owner, 1, 0)], consumer)
    assert [line["event"] for line in logs] == ["positions_rewound"]
    assert consumer.sought == [(0, 2)]
    assert await stored(database) == {0: 2, 1: 1}


async def test_a_restore_is_told_once_although_positions_from_before_it_came_late(
    following: Following, database: Database, owner: OwnedStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = Consumer(0)
    await following.handle(records(owner, 0, 0, 1, 2), consumer)
    before = await following.positions._read()
    look = look_of(following, database)
    await database.execute("delete from follow_positions")
    assert await look() == ["positions_rewound"]

    async def late() -> dict[int, int]:
        return before

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(following.positions, "_read", late)
        await following.positions.seek(consumer)
    with capture_logs() as logs:
        await following.handle(records(owner, 0, 3), consumer)
        await following.handle(records(owner, 0, 0, 1, 2, 3), consumer)
    assert logs == []
    assert consumer.sought == [(0, 3), (0, 0)]
    assert await stored(database) == {0: 4}
    assert not await has_gap(database)


@pytest.mark.parametrize("read_here", [True, False])
async def test_what_a_quiet_partition_lost_is_sought_although_nothing_comes(
    following: Following, database: Database, owner: OwnedStates, read_here: bool
) -> None:
    consumer = Consumer(0, 1)
    if read_here:
        await following.handle([*records(owner, 0, 0, 1, 2), *records(owner, 1, 0)], consumer)
    else:
        await store(database, 0, 3)
        await following.positions.seek(consumer)
    look = look_of(following, database)
    assert await look() == []
    await store(database, 0, 1)
    consumer.sought.clear()
    assert await look() == ["positions_rewound"]
    assert following.assigned.is_set()
    await following.positions.seek(consumer)
    assert (0, 1) in consumer.sought
    assert await look() == []
    await following.handle(records(owner, 0, 1, 2), consumer)
    assert (await stored(database))[0] == 3


def look_of(following: Following, database: Database) -> Callable[[], Awaitable[list[str]]]:
    """Give what looks at the positions as `FollowHealth` does while the broker is away, and tells what it said of them."""
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:1", request_timeout=timedelta(milliseconds=200))
    health = FollowHealth(database, nowhere, [following], lambda _: set())

    async def look() -> list[str]:
        with capture_logs() as logs:
            await health._look()
        return [line["event"] for line in logs if line["event"] != "progress_not_measured"]

    return look


class RestoredMeanwhile(OwnedStates):
    """While it is asked the second time, somebody else finds out that the database was restored."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        self.following: Following | None = None

    async def fetch(self, subjects: Sequence[UUID]) -> list[SubjectState]:
        if len(self.asked) == 1 and self.following is not None:
            await store(self.database, 0, 1)
            self.following.reassigned()
        return await super().fetch(subjects)


async def test_a_batch_in_hand_when_a_restore_is_found_moves_no_position_past_what_was_lost(
    database: Database, copies: Copies
) -> None:
    owner, consumer = RestoredMeanwhile(database), Consumer(0)
    owner.following = following = Following(
        database, copies.projection(owner), TOPIC, applied_by(database, {CITIZENS.name: "copies"})
    )
    await following.handle(records(owner, 0, 0, 1, 2), consumer)
    with capture_logs() as logs:
        await following.handle(records(owner, 0, 3), consumer)
    assert [line["event"] for line in logs] == ["positions_rewound"]
    assert await stored(database) == {0: 1}
    assert consumer.sought == [(0, 1)]


async def test_a_restore_found_while_first_records_are_compared_lets_the_others_be_compared_again(
    following: Following, database: Database, owner: OwnedStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, read = Consumer(0, 1), following.positions._read
    await following.handle(records(owner, 0, 0, 1, 2), consumer)
    await store(database, 0, 1)

    async def restored_meanwhile() -> dict[int, int]:
        monkeypatch.setattr(following.positions, "_read", read)
        found = await read()
        following.reassigned()
        return found

    monkeypatch.setattr(following.positions, "_read", restored_meanwhile)
    await following.handle([*records(owner, 0, 3), *records(owner, 1, 0)], consumer)
    assert await stored(database) == {0: 1, 1: 1}
    assert consumer.sought == [(0, 1)]


async def test_records_that_are_gone_are_a_gap_once_they_were_sought_in_vain(
    following: Following, database: Database, owner: OwnedStates
) -> None:
    await store(database, 0, 5)
    consumer, oldest = Consumer(0), records(owner, 0, 15)
    await following.handle(oldest, consumer)
    assert not await has_gap(database)
    with capture_logs() as logs:
        await following.handle(oldest, consumer)
    assert [(line["event"], line["count"]) for line in logs] == [("records_gone", 10)]
    assert await has_gap(database)


async def test_the_broker_is_asked_for_its_end_only_when_earlier_records_come_and_no_end_of_what_was_read_is_a_gap(
    following: Following, owner: OwnedStates
) -> None:
    consumer = Consumer(0, ends=5)
    await following.handle(records(owner, 0, 0, 1, 2, 3, 4), consumer)
    assert consumer.asked == 0
    batch = read_batch(records(owner, 0, 3, 4))
    await following.positions.mark_gaps(consumer, batch)
    assert consumer.asked == 1
    assert not batch.positions[0].gap


async def test_after_an_assignment_quiet_partitions_are_sought_too(
    following: Following, database: Database, owner: OwnedStates
) -> None:
    await store(database, 0, 8)
    await store(database, 1, 4)
    await store(database, 3, 9)
    consumer = Consumer(0, 1, 2)
    await following.handle(records(owner, 1, 4), consumer)
    await following.positions.seek(consumer)
    assert sorted(consumer.sought) == [(0, 8), (2, 0)]


async def test_a_partition_taken_away_meanwhile_is_not_sought(
    following: Following, database: Database, owner: OwnedStates
) -> None:
    await store(database, 0, 8)
    await following.handle(records(owner, 0, 9), Consumer())
    assert await stored(database) == {0: 8}


async def test_a_process_that_stood_still_while_another_took_over_moves_no_position_back(
    following: Following, database: Database, copies: Copies, owner: OwnedStates
) -> None:
    consumer, taken_over = Consumer(0), Consumer(0)
    await following.handle(records(owner, 0, 0, 1), consumer)
    in_hand, newer = records(owner, 0, 2), records(owner, 0, 3, 4)
    other = Following(database, following.projection, TOPIC, applied_by(database, {CITIZENS.name: "copies"}))
    await other.handle([*in_hand, *newer], taken_over)
    await following.handle(in_hand, consumer)
    assert await stored(database) == {0: 5}
    with capture_logs() as logs:
        await other.handle(records(owner, 0, 5), taken_over)
    assert logs == []
    assert taken_over.sought == []
    assert await copies.doubled() == 0


async def test_a_gap_found_while_partitions_are_dealt_out_anew_is_not_forgotten(
    following: Following, owner: OwnedStates
) -> None:
    consumer = Consumer(0, 1, ends=5)
    following.positions.known = {0: 9, 1: 3}
    consumer.meanwhile = following.reassigned
    batch = read_batch([*records(owner, 0, 0), *records(owner, 1, 4)])
    with capture_logs() as logs:
        await following.positions.mark_gaps(consumer, batch)
    assert {p: position.gap for p, position in batch.positions.items()} == {0: True, 1: True}
    assert [(line["event"], line["partition"]) for line in logs] == [
        ("log_made_anew", 0),
        ("records_gone", 1),
    ]


async def test_a_cancellation_by_the_client_that_nobody_asked_for_is_trouble_that_passes(
    following: Following, database: Database, owner: OwnedStates
) -> None:
    """aiokafka lets out that of a future whose connection went; let through, it would end the stream."""
    await store(database, 0, 9)
    consumer = Consumer(0, ends=5)
    await following.handle(records(owner, 0, 9), consumer)
    tries = iter([True, False])

    def cancelled_once() -> None:
        if next(tries):
            raise asyncio.CancelledError

    consumer.meanwhile = cancelled_once
    with capture_logs() as logs:
        await following.handle(records(owner, 0, 0), consumer)
    assert logs[0]["error_type"] == "ConnectionAbortedError"
    assert await stored(database) == {0: 1}
    assert await has_gap(database)
