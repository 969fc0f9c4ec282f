"""Offsets that cannot be committed are no reason to end: where to go on is in the database."""

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError

from servicekit.follow.committing import Committer

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
