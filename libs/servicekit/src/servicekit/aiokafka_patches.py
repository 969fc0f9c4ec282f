"""What aiokafka does not survive, made good for every client of this process: it has no place to say so for one.

Connections that it does not take for closed, or does not close. Writing to one that uvloop closed is a RuntimeError, which ends
its fetching for ever, in silence. The first one of a client stays open if whoever starts the client is cancelled while it asks
there for the brokers.

Records whose header names are not UTF-8: it can read neither them nor anything after them in the partition. Such a name cannot be
one of ours, so it is read with its odd bytes written out as escapes, and the record counts like any other.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any, cast

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, KafkaConnectionError
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

__all__ = ["apply"]

_send = AIOKafkaConnection.send


def apply() -> None:
    """Let clients take such a connection for the lost one that it is and connect anew, and consumers read such records."""
    AIOKafkaConnection.send = _send_or_lose
    fetcher.MemoryRecords = _Fetched


def _send_or_lose(self: Any, request: Any, expect_response: bool = True) -> Any:
    try:
        answer = _send(self, request, expect_response)
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"Connection at {self.host}:{self.port} is closed") from error
    # Its client hears of the end of any connection but the first one.
    return answer if self._on_close_cb is not None else _answer_or_close(self, answer)


async def _answer_or_close(connection: Any, answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except asyncio.CancelledError:
        connection.close()
        raise


class _Fetched:
    """What a fetch brought of one partition, batch by batch (aiokafka's MemoryRecords)."""

    def __init__(self, fetched: bytes) -> None:
        self._batches = _MemoryRecordsPy(fetched)
        self.has_next = self._batches.has_next
        self.size_in_bytes = self._batches.size_in_bytes

    def next_batch(self) -> "_Batch":
        raw = self._batches._next_slice  # noqa: SLF001
        return _Batch(self._batches.next_batch(), raw)


class _Batch:
    """A batch read the quick way, and once more from its bytes the patient way when that fails."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        reached = -1
        try:
            for record in self._batch:
                yield record
                reached = record.offset
        except (CorruptRecordException, UnicodeDecodeError):
            yield from (record for record in self._patiently() if record.offset > reached)

    def _patiently(self) -> Iterator[Any]:
        batch = _DefaultRecordBatchPy(self._raw)
        batch._maybe_uncompress()  # noqa: SLF001
        batch._buffer = _Lenient(batch._buffer)  # noqa: SLF001
        return cast("Iterator[Any]", iter(batch))


class _Lenient(bytearray):
    """Bytes of which any part can be decoded."""

    def __getitem__(self, part: Any) -> Any:
        got = super().__getitem__(part)
        return got if isinstance(got, int) else _Lenient(got)

    def decode(self, encoding: str = "utf-8", _errors: str = "strict") -> str:
        return super().decode(encoding, "backslashreplace")
