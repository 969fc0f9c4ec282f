"""Where to read: the database's positions, written with the effects, are the truth; Kafka's offsets are a copy.

So a restored database reads again what it lost, although Kafka's offsets say that it was dealt with; what it knows nothing of,
it reads from the begin.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError

from servicekit.data.postgres import Database
from servicekit.follow.projection import Batch, Projection
from servicekit.follow.records import Records
from servicekit.kafka import no_stray_cancellation

__all__ = ["Consumer", "Positions"]

log = structlog.get_logger(__name__)

_READ = "select partition, next_offset from follow_positions where projection = $1 and topic = $2"

Consumer = Any
"""aiokafka's consumer, which has no types."""


class Positions:
    """The positions of one projection's partitions in this process.

    aiokafka may hand out records of a new assignment before a rebalance listener could seek, and it hides a listener's
    failure. So the first records of each partition in an assignment are compared with the database, and dropped
    after a seek if they are not those that it wants next.
    """

    def __init__(self, database: Database, projection: Projection, topic: str) -> None:
        self._database = database
        self._projection = projection
        self._topic = topic
        self._compared: set[int] = set()
        self.known: dict[int, int] = {}
        """What the database holds, as far as this process knows."""

    def forget(self) -> None:
        """Compare everything anew: after an assignment, or when the database turned out to be another."""
        self._compared.clear()
        self.known.clear()

    async def seek(self, consumer: Consumer) -> None:
        """Go to the database's positions, for partitions of which nothing was read yet in this assignment."""
        stored = await self._read()
        for place in consumer.assignment():
            partition = place.partition
            if partition not in self._compared:
                self._seek(consumer, partition, stored.get(partition, 0))
                if partition in stored:
                    self.known[partition] = stored[partition]

    async def only_next(self, consumer: Consumer, records: Records) -> Records:
        """Give the records without those of partitions where the database wants other ones next."""
        first, elsewhere = _first_offsets(records), set[int]()
        # Whoever makes everything be compared anew may do so while the database is asked.
        while new := first.keys() - elsewhere - self._compared:
            stored = await self._read()
            self._compared |= new
            # Where the database has no row any more, one from before it was restored is not known either.
            for partition in new:
                self.known.pop(partition, None)
            self.known |= {p: offset for p, offset in stored.items() if p in new}
            for partition in new:
                if first[partition] != stored.get(partition, 0):
                    elsewhere.add(partition)
                    self._seek(consumer, partition, stored.get(partition, 0))
        return [record for record in records if record.partition not in elsewhere]

    async def mark_gaps(self, consumer: Consumer, batch: Batch) -> None:
        """Mark the positions before which records were gone, and raise the alarm: the projection is to be built anew."""
        # A rebalance forgets what is known while the broker is asked.
        known = dict(self.known)
        for partition, first in batch.first_offsets.items():
            before = known.get(partition, first)
            if first > before:
                log.error("records_gone", topic=self._topic, partition=partition, count=first - before)
            elif first == before or not await self._is_made_anew(consumer, partition, before):
                continue
            else:
                log.error("log_made_anew", topic=self._topic, partition=partition)
            batch.positions[partition] = replace(batch.positions[partition], gap=True)

    async def _is_made_anew(self, consumer: Consumer, partition: int, before: int) -> bool:
        """Tell whether the log ends before what was read of it: then what nobody had read of the old one is gone."""
        place = TopicPartition(self._topic, partition)
        with no_stray_cancellation():
            ends: dict[TopicPartition, int] = await consumer.end_offsets([place])
        return ends[place] < before

    def committed(self, batch: Batch) -> None:
        """Note what a transaction has written."""
        for partition, position in batch.positions.items():
            self.known[partition] = position.next_offset

    def known_of(self, partitions: Collection[int]) -> Mapping[int, int]:
        return {p: self.known[p] for p in partitions if p in self.known}

    async def _read(self) -> dict[int, int]:
        rows = await self._database.fetch(_READ, self._projection.name, self._projection.topic.name)
        return {row["partition"]: row["next_offset"] for row in rows}

    def _seek(self, consumer: Consumer, partition: int, offset: int) -> None:
        try:
            consumer.seek(TopicPartition(self._topic, partition), offset)
        except IllegalStateError:
            log.info("partition_taken_away", topic=self._topic, partition=partition)


def _first_offsets(records: Records) -> dict[int, int]:
    first: dict[int, int] = {}
    for record in records:
        first.setdefault(record.partition, record.offset)
    return first
