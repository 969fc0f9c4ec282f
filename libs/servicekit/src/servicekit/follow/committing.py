"""Offsets on their way to Kafka: committed after the effects, beside later batches, the newest in place of older ones."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from servicekit.kafka import no_stray_cancellation

__all__ = ["Committer"]

log = structlog.get_logger(__name__)

EVERY = 1.0
"""Seconds between two commits: where to go on is in the database, Kafka's offsets only tell others how far we are."""
LAST_WITHIN = 2.0


class Committer:
    """Commits one consumer's offsets, one request at a time.

    A commit that fails is not repeated: the next batch brings newer offsets, and after a restart or a rebalance the
    database's positions say where to go on.
    """

    def __init__(self) -> None:
        self._offsets: dict[TopicPartition, int] = {}
        self._new = asyncio.Event()

    def commit_soon(self, topic: str, next_offsets: Mapping[int, int]) -> None:
        self._offsets |= {
            TopicPartition(topic, partition): offset for partition, offset in next_offsets.items()
        }
        self._new.set()

    async def run(self, consumer: Callable[[], Any]) -> None:
        """Commit what is to be committed, until cancelled."""
        while True:
            await self._new.wait()
            await self.commit(consumer())
            await asyncio.sleep(EVERY)

    async def last(self, consumer: Any) -> None:
        """Commit what is left before the consumer goes."""
        try:
            async with asyncio.timeout(LAST_WITHIN):
                await self.commit(consumer)
        except TimeoutError:
            log.info("offsets_not_committed", reason="too slow")

    async def commit(self, consumer: Any) -> None:
        self._new.clear()
        offsets, self._offsets = self._offsets, {}
        assigned = consumer.assignment() if consumer is not None else set()
        mine = {tp: offset for tp, offset in offsets.items() if tp in assigned}
        if not mine:
            return
        try:
            with no_stray_cancellation():
                await consumer.commit(mine)
        except (KafkaError, IllegalStateError, OSError, RuntimeError) as error:
            # RuntimeError is uvloop's for a connection that was closed while aiokafka still held it.
            log.info("offsets_not_committed", error_type=type(error).__name__)
