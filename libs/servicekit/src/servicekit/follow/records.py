"""Kafka records as a follower sees them. Reading never raises: a record is an event, or a reason why it is none.

FastStream's own parser decodes headers while it acknowledges: one header that is null or not UTF-8 loses the whole
batch without a word. Its decoder stops a partition for ever at broken JSON and at tombstones. So both are replaced.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias
from uuid import UUID

import orjson
from faststream.kafka import KafkaMessage

from cv_contracts.envelope import Event, Reason, Unreadable, read
from cv_contracts.topics import Topic

__all__ = ["Commits", "Record", "Records", "decoder", "kept_record", "parser", "read_record"]

Raw: TypeAlias = Any
"""aiokafka's ConsumerRecord, which has no types."""


Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a topic: `event` if it can be read, else `unreadable` says why not. Raw parts are kept as they came."""

    topic: Topic
    partition: int
    offset: int
    key: bytes | None
    headers: Headers
    value: bytes | None
    event: Event | None = None
    unreadable: Reason | None = None

    @property
    def is_heartbeat(self) -> bool:
        """Tell whether this says nothing but that the producer lives: only in a topic with heartbeats, about no subject."""
        return self.topic.heartbeat and self.event is not None and self.event.subject.int == 0

    @property
    def key_subject(self) -> UUID | None:
        """Give the subject that the key names; all that is known about an unreadable record."""
        try:
            return UUID((self.key or b"").decode("ascii"))
        except ValueError:
            return None

    def raw_headers(self) -> bytes:
        """Give the headers as JSON that keeps every byte."""
        return orjson.dumps([[name, None if raw is None else raw.hex()] for name, raw in self.headers])


Records = list[Record]


def read_record(topic: Topic, raw: Raw) -> Record:
    """Read one record of `topic`; an event that belongs to another topic is of an unknown type here."""
    headers = tuple(raw.headers)
    event, unreadable = _read(topic, headers, raw.value)
    return Record(topic, raw.partition, raw.offset, raw.key, headers, raw.value, event, unreadable)


def kept_record(topic: Topic, row: Raw) -> Record:
    """Read a record again that was kept raw, as this release reads it."""
    headers = tuple(
        (name, None if text is None else bytes.fromhex(text)) for name, text in orjson.loads(row["headers"])
    )
    event, unreadable = _read(topic, headers, row["value"])
    return Record(
        topic, row["partition"], row["offset"], row["key"], headers, row["value"], event, unreadable
    )


def _read(topic: Topic, headers: Headers, value: bytes | None) -> tuple[Event | None, Reason | None]:
    try:
        event = read(headers, value)
    except Unreadable as unreadable:
        return None, unreadable.reason
    return (event, None) if isinstance(event, topic.events) else (None, "unknown-type")


class Commits(Protocol):
    """Takes note of offsets that may be committed to Kafka: next offsets by partition."""

    def commit_soon(self, topic: str, next_offsets: Mapping[int, int]) -> None: ...


class _Acknowledged:
    """A message's consumer, to FastStream: acknowledging commits this batch's own offsets, and does not wait for it.

    FastStream would commit every position of the consumer and hold up the next batch for a round trip. The database's
    positions decide where reading goes on, so Kafka's copy may come a moment later.
    """

    def __init__(self, consumer: Any, batch: tuple[Raw, ...], commits: Commits) -> None:
        self._batch = batch
        self._commits = commits
        self.seek = consumer.seek

    async def commit(self) -> None:
        next_offsets = {raw.partition: raw.offset + 1 for raw in self._batch}
        self._commits.commit_soon(self._batch[0].topic, next_offsets)


def parser(commits: Commits) -> Callable[..., Awaitable[KafkaMessage]]:
    """Give the parser of batches: it makes FastStream's message without looking into the records."""

    async def parse(
        batch: tuple[Raw, ...], original: Callable[[Any], Awaitable[KafkaMessage]]
    ) -> KafkaMessage:
        # The original gets one stripped record, for it knows the consumer; the real ones are put back afterwards.
        message = await original((replace(batch[0], headers=(), value=b""),))
        message.raw_message = batch
        message.consumer = _Acknowledged(message.consumer, batch, commits)
        return message

    return parse


def decoder(topic: Topic) -> Callable[[KafkaMessage], Awaitable[Records]]:
    """Give the decoder of a topic's batches."""

    async def decode(message: KafkaMessage) -> Records:
        raw = message.raw_message
        return [read_record(topic, r) for r in (raw if isinstance(raw, tuple) else (raw,))]

    return decode
