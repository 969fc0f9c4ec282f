"""The log as the feed reads it: one plain consumer over all partitions of every public topic, from the feed's own positions."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from change_feed.settings import SERVICE
from cv_contracts.topics import TOPICS, Topic
from servicekit import kafka
from servicekit.follow.records import Record, read_record
from servicekit.settings import KafkaSettings

__all__ = ["FOLLOWED", "Bounds", "Log", "Start", "begin", "begin_new"]

log = structlog.get_logger(__name__)

FOLLOWED: Final = tuple(topic for topic in TOPICS if topic.public)
FETCH_WAIT_MS: Final = 500
POLL_MS: Final = 250
COMMIT_WITHIN: Final = 3.0
BOUNDS_WITHIN: Final = 20.0
"""Seconds. aiokafka itself asks a broker that is away for ever, and a lease whose holder is silent for that long ends."""

Offsets = dict[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the broker has: the first and the next offset of each partition, and what this group committed."""

    first: Offsets
    next: Offsets
    committed: Offsets


@dataclass(frozen=True, slots=True)
class Start:
    """Where reading begins. `gap`: records between the feed's positions and the log are gone for good."""

    offsets: Offsets
    gap: bool
    restored: bool


class Log:
    """A consumer; all positions are the feed's own, Kafka's copy of them only shows how far it is. `only`: just to look at a partition."""

    def __init__(self, settings: KafkaSettings, most: int, only: tuple[str, int] | None = None) -> None:
        self._prefix = settings.topic_prefix
        self._most = most
        self._topics: Mapping[str, Topic] = {self._prefix + topic.name: topic for topic in FOLLOWED}
        self._partitions = [
            TopicPartition(name, number)
            for name, topic in self._topics.items()
            for number in range(topic.partitions)
            if only in (None, (topic.name, number))
        ]
        self._consumer: AIOKafkaConsumer = kafka.consumer(
            settings,
            group_id=SERVICE if only is None else None,
            client_id=SERVICE,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=256 * 1024,
            metadata_max_age_ms=30_000,
            # A place that the log does not have any more is trouble, and found to be a gap when reading begins anew.
            auto_offset_reset="none",
        )

    async def start(self) -> None:
        await self._consumer.start()
        self._consumer.assign(self._partitions)

    async def stop(self) -> None:
        await self._consumer.stop()
        kafka.heed_cancellation()

    async def first(self) -> Offsets:
        """Ask the broker where its partitions begin."""
        first = await self._consumer.beginning_offsets(self._partitions)
        return {self._key(tp): offset for tp, offset in first.items()}

    async def bounds(self) -> Bounds:
        """Ask the broker what there is; raises KafkaError while a topic is not there yet, TimeoutError while the broker is away."""
        async with asyncio.timeout(BOUNDS_WITHIN):
            first = await self.first()
            end = await self._consumer.end_offsets(self._partitions)
            committed = {tp: await self._consumer.committed(tp) for tp in self._partitions}
        return Bounds(
            first,
            {self._key(tp): offset for tp, offset in end.items()},
            {self._key(tp): offset for tp, offset in committed.items() if offset is not None},
        )

    def seek(self, offsets: Mapping[tuple[str, int], int]) -> None:
        for tp in self._partitions:
            self._consumer.seek(tp, offsets[self._key(tp)])

    async def read(self) -> list[Record]:
        """Give the next records, none after a quarter of a second without any."""
        batches: dict[TopicPartition, list[Any]] = await self._consumer.getmany(
            timeout_ms=POLL_MS, max_records=self._most
        )
        return [read_record(self._topics[tp.topic], raw) for tp, raws in batches.items() for raw in raws]

    async def commit(self, offsets: Mapping[tuple[str, int], int]) -> bool:
        """Tell the broker how far the feed is; False where that took too long."""
        committed = {
            TopicPartition(self._prefix + topic, number): next_ for (topic, number), next_ in offsets.items()
        }
        try:
            async with asyncio.timeout(COMMIT_WITHIN):
                await self._consumer.commit(committed)
        except TimeoutError:
            log.info("offsets_not_committed", reason="too slow")
            return False
        return True

    def _key(self, tp: TopicPartition) -> tuple[str, int]:
        return self._topics[tp.topic].name, tp.partition


def begin(bounds: Bounds, stored: Mapping[tuple[str, int], int]) -> Start:
    """Say where a feed that has positions goes on. What it has read and the log no longer has cannot be read again.

    A topic that was made anew is read from its beginning as a whole: places in it are of another log. What is read twice by that is
    known by its event ids.
    """
    offsets, gap, anew = {}, False, _made_anew(bounds, stored)
    for key, first in bounds.first.items():
        at = stored.get(key, first)
        if key[0] in anew or at < first:
            gap = True
            at = first
        offsets[key] = at
    restored = any(stored.get(key, 0) < committed for key, committed in bounds.committed.items())
    return Start(offsets, gap, restored)


def _made_anew(bounds: Bounds, stored: Mapping[tuple[str, int], int]) -> set[str]:
    """Give the topics that are other ones than were read: a partition is shorter than that, or the group has lost its places."""
    shorter = {key[0] for key, at in stored.items() if at > bounds.next.get(key, at)}
    placeless = {key[0] for key, at in stored.items() if at > 0} - {topic for topic, _ in bounds.committed}
    # A group without any places may be one that has just begun.
    return shorter | placeless if shorter or bounds.committed else set()


def begin_new(bounds: Bounds) -> Start:
    """Say where a new epoch begins: a feed that was lost goes on from now, the very first one has all that the log has."""
    lost = any(bounds.committed.values())
    return Start(dict(bounds.next if lost else bounds.first), gap=False, restored=lost)
