"""What was lost: a database that was restored lets a follower read again, and records that the log has no more are a gap."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from servicekit.data.postgres import Database
from servicekit.follow.following import Following
from servicekit.follow.health import FollowHealth
from servicekit.follow.positions_testing import Consumer, following_of, has_gap, records, store, stored
from servicekit.follow.projection import read_batch
from servicekit.follow.states import SubjectState
from servicekit.follow.testing import Copies, OwnedStates
from servicekit.settings import KafkaSettings

pytestmark = pytest.mark.infra


async def test_a_restored_database_is_no_gap_where_another_partition_is_read_for_the_first_time(
    following: Following, database: Database, owned: OwnedStates
) -> None:
    consumer = Consumer(0, 1)
    await following.handle(records(owned, 0, 0, 1, 2, 3), consumer)
    await store(database, 0, 2)
    with capture_logs() as logs:
        await following.handle([*records(owned, 0, 4), *records(owned, 1, 0)], consumer)
    assert [line["event"] for line in logs] == ["positions_rewound"]
    assert consumer.sought == [(0, 2)]
    assert await stored(database) == {0: 2, 1: 1}


async def test_a_restore_is_told_once_although_positions_from_before_it_came_late(
    following: Following, database: Database, owned: OwnedStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = Consumer(0)
    await following.handle(records(owned, 0, 0, 1, 2), consumer)
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
        await following.handle(records(owned, 0, 3), consumer)
        await following.handle(records(owned, 0, 0, 1, 2, 3), consumer)
    assert logs == []
    assert consumer.sought == [(0, 3), (0, 0)]
    assert await stored(database) == {0: 4}
    assert not await has_gap(database)


@pytest.mark.parametrize("read_here", [True, False])
async def test_what_a_quiet_partition_lost_is_sought_although_nothing_comes(
    following: Following, database: Database, owned: OwnedStates, read_here: bool
) -> None:
    consumer = Consumer(0, 1)
    if read_here:
        await following.handle([*records(owned, 0, 0, 1, 2), *records(owned, 1, 0)], consumer)
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
    await following.handle(records(owned, 0, 1, 2), consumer)
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
    owned, consumer = RestoredMeanwhile(database), Consumer(0)
    owned.following = following = following_of(database, copies, owned)
    await following.handle(records(owned, 0, 0, 1, 2), consumer)
    with capture_logs() as logs:
        await following.handle(records(owned, 0, 3), consumer)
    assert [line["event"] for line in logs] == ["positions_rewound"]
    assert await stored(database) == {0: 1}
    assert consumer.sought == [(0, 1)]


async def test_a_restore_found_while_first_records_are_compared_lets_the_others_be_compared_again(
    following: Following, database: Database, owned: OwnedStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, read = Consumer(0, 1), following.positions._read
    await following.handle(records(owned, 0, 0, 1, 2), consumer)
    await store(database, 0, 1)

    async def restored_meanwhile() -> dict[int, int]:
        monkeypatch.setattr(following.positions, "_read", read)
        found = await read()
        following.reassigned()
        return found

    monkeypatch.setattr(following.positions, "_read", restored_meanwhile)
    await following.handle([*records(owned, 0, 3), *records(owned, 1, 0)], consumer)
    assert await stored(database) == {0: 1, 1: 1}
    assert consumer.sought == [(0, 1)]


async def test_records_that_are_gone_are_a_gap_once_they_were_sought_in_vain(
    following: Following, database: Database, owned: OwnedStates
) -> None:
    await store(database, 0, 5)
    consumer, oldest = Consumer(0), records(owned, 0, 15)
    await following.handle(oldest, consumer)
    assert not await has_gap(database)
    with capture_logs() as logs:
        await following.handle(oldest, consumer)
    assert [(line["event"], line["count"]) for line in logs] == [("records_gone", 10)]
    assert await has_gap(database)


async def test_the_broker_is_asked_for_its_end_only_when_earlier_records_come_and_no_end_of_what_was_read_is_a_gap(
    following: Following, owned: OwnedStates
) -> None:
    consumer = Consumer(0, ends=5)
    await following.handle(records(owned, 0, 0, 1, 2, 3, 4), consumer)
    assert consumer.asked == 0
    batch = read_batch(records(owned, 0, 3, 4))
    await following.positions.mark_gaps(consumer, batch)
    assert consumer.asked == 1
    assert not batch.positions[0].gap


async def test_a_gap_found_while_partitions_are_dealt_out_anew_is_not_forgotten(
    following: Following, owned: OwnedStates
) -> None:
    consumer = Consumer(0, 1, ends=5)
    following.positions.known = {0: 9, 1: 3}
    consumer.meanwhile = following.reassigned
    batch = read_batch([*records(owned, 0, 0), *records(owned, 1, 4)])
    with capture_logs() as logs:
        await following.positions.mark_gaps(consumer, batch)
    assert {p: position.gap for p, position in batch.positions.items()} == {0: True, 1: True}
    assert [(line["event"], line["partition"]) for line in logs] == [
        ("log_made_anew", 0),
        ("records_gone", 1),
    ]
