"""Reading one's own writes: a token says what a reader has seen, and a read waits until that much is applied."""

import asyncio
import struct
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self
from uuid import UUID
from zlib import crc32

from cv_contracts.event import Event
from cv_contracts.faults import Fault, FieldError, Unavailable
from cv_contracts.topics import topic_of
from servicekit.observe import metrics
from servicekit.pace import set_within

CONSISTENCY_HEADER = "x-consistency-token"
MOST_ENTRIES = 64
LONGEST_HEADER = 16_384
DEFAULT_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(seconds=5)
LOOK_AGAIN = timedelta(milliseconds=25)
"""How often to look whether another process has applied it; this process tells at once."""

_FORMAT = b"\x01"
_ENTRY = struct.Struct(">B16sq")
_CHECK = struct.Struct(">I")

Entry = tuple[str, UUID]


class _Malformed(Exception):  # noqa: N818 - never leaves this module
    pass


@dataclass(frozen=True, slots=True)
class ConsistencyToken:
    """Which version of which subject a caller has seen, per stream (topic). Opaque to callers; tokens merge with `|`.

    At most 64 entries: of more, those with the highest versions are kept.
    """

    entries: Mapping[Entry, int] = field(default_factory=dict)

    @classmethod
    def of(cls, *events: Event) -> Self:
        """Give the token of the events that a write published."""
        return cls(_highest(((topic_of(type(e)).name, e.subject), e.version) for e in events))

    def __or__(self, other: "ConsistencyToken") -> "ConsistencyToken":
        return ConsistencyToken(_highest([*self.entries.items(), *other.entries.items()]))

    def encode(self) -> str:
        """Give the header's value: base64url of a format byte, the streams' names, the entries and a check sum."""
        newest = sorted(self.entries.items(), key=lambda entry: -entry[1])[:MOST_ENTRIES]
        streams = sorted({stream for (stream, _), _ in newest})
        data = _FORMAT + bytes([len(streams)])
        data += b"".join(bytes([len(name)]) + name for name in (stream.encode() for stream in streams))
        data += b"".join(
            _ENTRY.pack(streams.index(stream), subject.bytes, version)
            for (stream, subject), version in sorted(newest)
        )
        return urlsafe_b64encode(data + _CHECK.pack(crc32(data))).rstrip(b"=").decode()


def _highest(entries: Iterable[tuple[Entry, int]]) -> dict[Entry, int]:
    highest: dict[Entry, int] = {}
    for entry, version in entries:
        highest[entry] = max(version, highest.get(entry, version))
    return highest


def parse(header: str | None) -> ConsistencyToken:
    """Read the header: one token or several, separated by commas; nothing gives the empty token.

    A value that is none of ours, or holds more than 64 entries in all, is fault 1014 naming the header.
    """
    if not header or not header.strip():
        return ConsistencyToken()
    try:
        merged = _merged(header)
    except _Malformed:
        merged = None
    if merged is None or len(merged.entries) > MOST_ENTRIES:
        reason = (
            "is not a token of this system" if merged is None else f"holds more than {MOST_ENTRIES} entries"
        )
        raise Fault(1014, errors=(FieldError(CONSISTENCY_HEADER, reason),))
    return merged


def _merged(header: str) -> ConsistencyToken:
    if len(header) > LONGEST_HEADER:
        raise _Malformed
    merged = ConsistencyToken()
    for part in header.split(","):
        merged |= _decode(part.strip())
    return merged


def _decode(text: str) -> ConsistencyToken:
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (NotBase64, UnicodeEncodeError):
        raise _Malformed from None
    data, check = raw[: -_CHECK.size], raw[-_CHECK.size :]
    if data[:1] != _FORMAT or _CHECK.unpack(check)[0] != crc32(data):
        raise _Malformed
    try:
        return _unpacked(data)
    except (IndexError, struct.error, UnicodeDecodeError):
        raise _Malformed from None


def _unpacked(data: bytes) -> ConsistencyToken:
    streams, at = [], 2
    for _ in range(data[1]):
        end = at + 1 + data[at]
        streams.append(data[at + 1 : end].decode())
        at = end
    entries = _ENTRY.iter_unpack(data[at:])
    return ConsistencyToken(_highest([((streams[i], UUID(bytes=subject)), v) for i, subject, v in entries]))


Current = Callable[[UUID], Awaitable[int | None]]
"""Looks up which version of a subject is applied in the service's own database; None for none."""


class Applied:
    """What this service has applied of the streams it follows, one look-up per stream; others are of no concern here.

    `look_again` says how often to look for what another process has applied.
    """

    def __init__(self, streams: Mapping[str, Current], look_again: timedelta = LOOK_AGAIN) -> None:
        self._streams = streams
        self._look_again = look_again.total_seconds()
        self._waiting: dict[Entry, set[asyncio.Event]] = {}
        self._asked: dict[str, asyncio.Event] = {stream: asyncio.Event() for stream in streams}

    def notify(self, stream: str, *subjects: UUID) -> None:
        """Wake the reads that wait for these subjects; to be called once their new state is committed."""
        for subject in subjects:
            for event in self._waiting.get((stream, subject), ()):
                event.set()

    async def unhurried(self, stream: str, pause: timedelta) -> None:
        """Return after a pause, or as soon as somebody waits for anything of that stream."""
        asked = self._asked[stream]
        asked.clear()
        if not any(waited_for == stream for waited_for, _ in self._waiting):
            await set_within(asked, pause.total_seconds())

    async def wait(
        self,
        stream: str,
        subject: UUID,
        version: int,
        timeout: timedelta = DEFAULT_WAIT,  # noqa: ASYNC109 - ends in an answer of its own
    ) -> None:
        """Wait until that version or a later one is applied; raises Unavailable (503, Retry-After 1) when it takes longer."""
        current = self._streams.get(stream)
        if current is None:
            return
        begun, outcome = time.perf_counter(), "applied"
        try:
            async with asyncio.timeout(min(timeout, LONGEST_WAIT).total_seconds()):
                await self._until(current, (stream, subject), version)
        except TimeoutError:
            outcome = "late"
            raise Unavailable(
                retry_after=1, detail="A write that this read must show is not applied yet"
            ) from None
        finally:
            metrics.record("consistency.wait.duration", time.perf_counter() - begun, {"outcome": outcome})

    async def wait_for(
        self,
        token: ConsistencyToken,
        timeout: timedelta = DEFAULT_WAIT,  # noqa: ASYNC109 - ends in an answer of its own
    ) -> None:
        """Wait for all that the token says of the streams followed here."""
        deadline = asyncio.get_running_loop().time() + timeout.total_seconds()
        for (stream, subject), version in token.entries.items():
            left = timedelta(seconds=max(0.001, deadline - asyncio.get_running_loop().time()))
            await self.wait(stream, subject, version, left)

    async def _until(self, current: Current, entry: Entry, version: int) -> None:
        event = asyncio.Event()
        self._waiting.setdefault(entry, set()).add(event)
        try:
            while (await current(entry[1]) or 0) < version:
                self._asked[entry[0]].set()
                await set_within(event, self._look_again)
                event.clear()
        finally:
            self._waiting[entry].discard(event)
            if not self._waiting[entry]:
                del self._waiting[entry]
