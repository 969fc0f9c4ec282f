"""Records whose header names are not UTF-8: aiokafka can read neither them nor anything after them in the partition.

Such a name cannot be one of ours, so it is read with its odd bytes written out as escapes, and the record counts like any other.
"""

from collections.abc import Iterator
from typing import Any, cast

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

__all__ = ["read_any_header_name"]


def read_any_header_name() -> None:
    """Make every consumer of this process read them; aiokafka has no place to say so for one."""
    fetcher.MemoryRecords = _Fetched


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
