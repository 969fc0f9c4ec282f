"""Rows in the binary format of COPY, so that another process can make them and this one only hands them on."""

import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from types import NoneType
from typing import Any, Final
from uuid import UUID

Value = UUID | str | bytes | int | datetime | date | None
"""As uuid, text or json, bytea, bigint, timestamptz, date, or NULL."""

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"

_NULL: Final = b"\xff\xff\xff\xff"
_LENGTH: Final = struct.Struct(">i")
_BIGINT: Final = struct.Struct(">iq")
_DATE: Final = struct.Struct(">ii")
_FIELDS: Final = struct.Struct(">h")
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST_DAY: Final = _EPOCH.date().toordinal()
_MICROSECOND: Final = timedelta(microseconds=1)


def binary_row(values: Iterable[Value]) -> bytes:
    """Give one row; a whole copy is HEADER, rows and TRAILER."""
    fields = [_WRITE[type(value)](value) for value in values]
    return _FIELDS.pack(len(fields)) + b"".join(fields)


def _sized(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


_WRITE: Final[Mapping[type, Callable[[Any], bytes]]] = {
    NoneType: lambda _: _NULL,
    str: lambda text: _sized(text.encode()),
    bytes: _sized,
    UUID: lambda identity: _sized(identity.bytes),
    int: lambda number: _BIGINT.pack(8, number),
    datetime: lambda time: _BIGINT.pack(8, (time - _EPOCH) // _MICROSECOND),
    date: lambda day: _DATE.pack(4, day.toordinal() - _FIRST_DAY),
}
