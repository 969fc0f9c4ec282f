"""One round of the relay: rows become one batch per partition, and each batch is acknowledged, refused or in trouble."""

import asyncio
import re
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedForMessageFormatError,
)

from cv_contracts.envelope import attributes
from cv_contracts.topics import MAX_RECORD_BYTES
from servicekit import kafka
from servicekit.observe.telemetry import send_span
from servicekit.settings import KafkaSettings

REFUSED_FOR_GOOD = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    InvalidTopicError,
    PolicyViolationError,
    UnsupportedForMessageFormatError,
)
TOPIC_TROUBLE = (TopicAuthorizationFailedError, UnknownTopicOrPartitionError)
TOPIC_PAUSE_SECONDS = 10.0
TOPIC_PATIENCE_SECONDS = 2.0
SEARCH_SECONDS = 10.0
"""How long one round looks for the rows that are meant by a refusal; each costs new connections, and a round has an end."""
_TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")

Row = asyncpg.Record
Key = tuple[str, str, int | None]


class Refusal(NamedTuple):
    """A row that Kafka will never take."""

    seq: int
    event_id: UUID
    topic: str
    reason: str


@dataclass(slots=True)
class Batch:
    """The rows of one round that go to one partition, in order; Kafka takes all of them or none."""

    topic: str
    partition: int
    builder: Any
    rows: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class Round:
    """What became of the rows of one round. Rows named nowhere stay in the outbox and come again."""

    acknowledged: list[int] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    held: set[Key] = field(default_factory=set)
    suspects: list[Batch] = field(default_factory=list)
    trouble: KafkaError | None = None
    renew: bool = False

    def refuse(self, row: Row, reason: str) -> None:
        self.refused.append(Refusal(row["seq"], row["id"], row["aggregatetype"], reason))
        self.held.add(key_of(row))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A round that is ready to be sent."""

    round: Round
    batches: Sequence[Batch]

    @property
    def seqs(self) -> list[int]:
        return [row["seq"] for batch in self.batches for row in batch.rows]


def key_of(row: Row) -> Key:
    """Give what keeps its order: all rows of one key in one topic (and one partition, where the row names it)."""
    return row["aggregatetype"], row["aggregateid"], row["partition"]


async def _acknowledged(batch: Batch, answer: Awaitable[Any]) -> Any:
    """Wait for a batch in a span of its own, that goes on in the traces of its rows."""
    links = (row["tracingspancontext"] for row in batch.rows)
    with send_span(batch.topic, len(batch.rows), links):
        return await answer


class Sender:
    """Sends rows with one idempotent producer.

    Only one batch per partition is ever under way, so that one that Kafka refuses has no later record of its keys behind it.
    """

    def __init__(self, settings: KafkaSettings, source: str) -> None:
        self._settings = settings
        self._source = source
        self._producer: AIOKafkaProducer | None = None
        self._paused: dict[str, float] = {}

    async def start(self) -> AIOKafkaProducer:
        """Connect, unless connected."""
        if self._producer is None:
            producer = kafka.producer(self._settings, f"{self._source}-relay")
            try:
                async with asyncio.timeout(self._settings.request_timeout.total_seconds()):
                    await producer.start()
            except BaseException:
                await kafka.abort(producer)
                raise
            self._producer = producer
        return self._producer

    async def abort(self) -> None:
        """Drop what is under way and the connections with it."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await kafka.abort(producer)

    def paused(self) -> list[str]:
        """Give the topics whose rows are left alone for now: they do not exist, or may not be written."""
        now = time.monotonic()
        self._paused = {topic: until for topic, until in self._paused.items() if until > now}
        return list(self._paused)

    async def prepare(self, rows: Sequence[Row]) -> Prepared:
        """Put the rows into one batch per partition; nothing is sent yet."""
        producer = await self.start()
        partitions = {
            kind: await self._partitions(producer, kind) for kind in {row["aggregatetype"] for row in rows}
        }
        round_ = Round()
        batches: dict[tuple[str, int], Batch] = {}
        for row in rows:
            kind, count = row["aggregatetype"], partitions[row["aggregatetype"]]
            if count == 0 or (round_.held and key_of(row) in round_.held):
                continue
            reason = self._reason_to_refuse(row, count)
            if reason is not None:
                round_.refuse(row, reason)
                continue
            partition = row["partition"]
            if partition is None:
                partition = kafka.partition_of(row["aggregateid"].encode(), count)
            batch = batches.get((kind, partition))
            if batch is None:
                batch = batches[kind, partition] = Batch(kind, partition, producer.create_batch())
            self._append(batch, row)
        return Prepared(round_, list(batches.values()))

    async def send(self, batches: Sequence[Batch]) -> "asyncio.Future[list[Any]]":
        """Hand the batches to the producer; the future holds one answer per batch, in their order."""
        producer = await self.start()
        prefix = self._settings.topic_prefix
        answers = [
            await producer.send_batch(batch.builder, prefix + batch.topic, partition=batch.partition)
            for batch in batches
        ]
        waiting = [_acknowledged(batch, answer) for batch, answer in zip(batches, answers, strict=True)]
        return asyncio.gather(*waiting, return_exceptions=True)

    async def finish(self, prepared: Prepared, answers: Sequence[Any]) -> Round:
        """Sort the answers. A batch that was refused is sent again row by row, to find out which ones are meant.

        What it does not come to in time comes again with the next round.
        """
        round_ = prepared.round
        for batch, answer in zip(prepared.batches, answers, strict=True):
            self._sort(round_, batch, answer)
        if round_.renew:
            await self.abort()
        until = time.monotonic() + SEARCH_SECONDS
        for batch in round_.suspects:
            await self._one_by_one(round_, batch, until)
        return round_

    def _reason_to_refuse(self, row: Row, partitions: int) -> str | None:
        if len(row["payload"]) > MAX_RECORD_BYTES:
            return "too-large"
        if partitions < 0:
            return "invalid-topic"
        partition = row["partition"]
        return None if partition is None or 0 <= partition < partitions else "no-such-partition"

    def _append(self, batch: Batch, row: Row) -> None:
        headers = attributes(
            id=row["id"],
            source=self._source,
            type=row["type"],
            subject=row["aggregateid"],
            time=row["time"],
            traceparent=row["tracingspancontext"],
        )
        key = row["aggregateid"].encode()
        # A builder takes a first row of any size, and none after one that found no room: no row goes before another.
        if batch.builder.append(timestamp=None, key=key, value=row["payload"], headers=headers) is not None:
            batch.rows.append(row)

    async def _partitions(self, producer: AIOKafkaProducer, kind: str) -> int:
        """Give the number of partitions: 0 if the topic is in trouble and paused now, -1 if there can be no topic of that name."""
        topic = self._settings.topic_prefix + kind
        if not _TOPIC_NAME.fullmatch(topic):
            return -1
        try:
            async with asyncio.timeout(TOPIC_PATIENCE_SECONDS):
                return len(await producer.partitions_for(topic))
        except (*TOPIC_TROUBLE, TimeoutError):
            self._pause(kind)
            return 0

    def _pause(self, kind: str) -> None:
        self._paused[kind] = time.monotonic() + TOPIC_PAUSE_SECONDS

    def _sort(self, round_: Round, batch: Batch, answer: object) -> None:
        if not isinstance(answer, BaseException):
            round_.acknowledged += (row["seq"] for row in batch.rows)
            return
        # The producer's sequence numbers have a hole after a failed batch: the next one needs a new producer.
        round_.renew = True
        if isinstance(answer, REFUSED_FOR_GOOD):
            if len(batch.rows) == 1:
                round_.refuse(batch.rows[0], type(answer).__name__)
            else:
                round_.suspects.append(batch)
        elif isinstance(answer, TOPIC_TROUBLE):
            self._pause(batch.topic)
        elif isinstance(answer, KafkaError):
            round_.trouble = answer
        else:
            raise answer

    async def _one_by_one(self, round_: Round, refused: Batch, until: float) -> None:
        for row in refused.rows:
            if key_of(row) in round_.held or refused.topic in self._paused or round_.trouble is not None:
                continue
            producer = await self.start()
            batch = Batch(refused.topic, refused.partition, producer.create_batch())
            self._append(batch, row)
            (answer,) = await (await self.send([batch]))
            self._sort(round_, batch, answer)
            if isinstance(answer, BaseException):
                await self.abort()
            if time.monotonic() >= until:
                return
