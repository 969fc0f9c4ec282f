"""Offsets that cannot be committed are no reason to end: where to go on is in the database."""

import asyncio
from contextlib import suppress

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError
from structlog.testing import capture_logs

from servicekit.follow.committing import Committer
from servicekit.testing import in_skipped_time

PARTITION = TopicPartition("a-topic", 3)


class Broken:
    """A consumer of one partition, whose connection is in trouble for the first commit."""

    def __init__(self, trouble: BaseException) -> None:
        self.trouble: BaseException | None = trouble
        self.committed: dict[TopicPartition, int] = {}

    def assignment(self) -> set[TopicPartition]:
        return {PARTITION}

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        self.committed |= offsets


@pytest.mark.parametrize(
    "trouble",
    [
        CommitFailedError(),
        ConnectionResetError(),
        asyncio.CancelledError(),
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
async def test_a_commit_that_fails_is_followed_by_the_next_one(trouble: BaseException) -> None:
    committer, consumer = Committer(), Broken(trouble)
    committer.commit_soon(PARTITION.topic, {PARTITION.partition: 7})
    await committer.commit(consumer)
    assert consumer.committed == {}
    committer.commit_soon(PARTITION.topic, {PARTITION.partition: 9})
    await committer.commit(consumer)
    assert consumer.committed == {PARTITION: 9}


class Noting:
    """A consumer of one partition; notes when it committed what. Where it is `slow`, a commit has no end."""

    def __init__(self, *, slow: bool = False) -> None:
        self.committed: list[tuple[float, dict[TopicPartition, int]]] = []
        self._slow = slow

    def assignment(self) -> set[TopicPartition]:
        return {PARTITION}

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if self._slow:
            await asyncio.Event().wait()
        self.committed.append((asyncio.get_running_loop().time(), offsets))


@in_skipped_time
async def test_the_newest_offsets_are_committed_at_once_and_then_once_a_second_where_there_are_new_ones() -> (
    None
):
    committer, consumer = Committer(), Noting()
    running = asyncio.create_task(committer.run(lambda: consumer))
    for offset in (7, 8, 9):
        committer.commit_soon(PARTITION.topic, {PARTITION.partition: offset})
        await asyncio.sleep(0.25)
    await asyncio.sleep(4)
    committer.commit_soon(PARTITION.topic, {PARTITION.partition: 10})
    await asyncio.sleep(4)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert consumer.committed == [
        (0, {PARTITION: 7}),
        (pytest.approx(1), {PARTITION: 9}),
        (pytest.approx(4.75), {PARTITION: 10}),
    ]


async def test_offsets_of_a_partition_that_was_taken_away_are_left_to_whoever_has_it_now() -> None:
    """The client refuses all that are committed with them."""
    committer, consumer = Committer(), Noting()
    committer.commit_soon(PARTITION.topic, {PARTITION.partition: 7, PARTITION.partition + 1: 9})
    await committer.commit(consumer)
    committer.commit_soon(PARTITION.topic, {PARTITION.partition + 1: 10})
    await committer.commit(consumer)
    assert [offsets for _, offsets in consumer.committed] == [{PARTITION: 7}]


@in_skipped_time
async def test_a_consumer_that_goes_is_not_waited_for_longer_than_two_seconds() -> None:
    committer = Committer()
    committer.commit_soon(PARTITION.topic, {PARTITION.partition: 7})
    with capture_logs() as logs:
        await committer.last(Noting(slow=True))
    assert asyncio.get_running_loop().time() == pytest.approx(2)
    assert [(one["event"], one["reason"]) for one in logs] == [("offsets_not_committed", "too slow")]
