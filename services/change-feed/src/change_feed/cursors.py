"""Positions as subscribers hold them: opaque, signed, and good for the subscriber that they were given to only.

A position is an epoch and a moment. It stays good when the feed's database is restored from a back-up: later entries always get
later positions, and whoever comes with one that the restored feed has not reached is told so.
"""

import base64
import binascii
import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any, Final
from uuid import UUID

from cv_contracts.faults import Fault, FieldError, Problem

__all__ = ["FEED_PATH", "SNAPSHOT_PATH", "Beyond", "Cursors", "EpochOver", "SnapshotMark", "Subscriber"]

FEED_PATH: Final = "/v1/feed/cv"
SNAPSHOT_PATH: Final = "/v1/feed/cv/snapshot"
_POSITION: Final = struct.Struct(">c16sq")
_MARK: Final = struct.Struct(">c16sq16s")
_MAC_BYTES: Final = 16
_LONGEST: Final = 200
_SUBSCRIBERS: Final = 1_000
_FILLING: Final = bytes(-(_POSITION.size + _MAC_BYTES) % 3)
"""What makes a signed position a multiple of three bytes; each byte of it adds one letter at the end."""
_LETTERS: Final = -(-(_POSITION.size + _MAC_BYTES) * 8 // 6)
_FOR_URLS: Final = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True, slots=True)
class Subscriber:
    """To whom positions are given: the client, and the scope it reads."""

    client: str
    scope: str


@dataclass(frozen=True, slots=True)
class SnapshotMark:
    """How far a snapshot was read: as of which position, and up to which CV."""

    position: int
    after: UUID


class EpochOver(Problem):
    """The feed that gave this position is lost; another one has begun."""

    def __init__(self, start: str) -> None:
        super().__init__(
            status=410,
            kind="problem:feed-epoch-over",
            title="The position is of an earlier feed",
            detail="The feed has begun anew. Read the snapshot and follow from its position, or follow from the start given here",
        )
        self._start = start

    def body(self, trace_id: str | None = None) -> dict[str, Any]:
        return {**super().body(trace_id), "snapshot": SNAPSHOT_PATH, "lastEventId": self._start}


class Beyond(Problem):
    """The feed was restored from a back-up and no longer knows what it has told up to this position."""

    def __init__(self, edge: str) -> None:
        super().__init__(
            status=409,
            kind="problem:feed-restored",
            title="The position is beyond what the feed knows",
            detail="The feed was restored from a back-up. Read the snapshot and follow from its position: who came to you or left you"
            " may be forgotten. After the position given here everything else comes again, under the same event ids",
            retry_after=1,
        )
        self._edge = edge

    def body(self, trace_id: str | None = None) -> dict[str, Any]:
        return {**super().body(trace_id), "snapshot": SNAPSHOT_PATH, "lastEventId": self._edge}


class Cursors:
    """Makes and reads positions. Forged, foreign and cut ones cannot be told apart: fault 1014."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"change-feed positions", sha256)
        self._hashes: dict[tuple[str, str], blake2b] = {}

    def of(self, subscriber: Subscriber, epoch: UUID, position: int) -> str:
        return self.of_all(subscriber, epoch, [position])[0]

    def of_all(self, subscriber: Subscriber, epoch: UUID, positions: Iterable[int]) -> list[str]:
        """Write many positions at once, as a page has a thousand: all of them are as long, so one text is cut to pieces."""
        head = b"p" + epoch.bytes
        begun = self._keyed(subscriber).copy()
        begun.update(head)
        signed = []
        for position in positions:
            tail = position.to_bytes(8, "big", signed=True)
            mac = begun.copy()
            mac.update(tail)
            signed.append(tail + mac.digest())
        text = _text(head + (_FILLING + head).join(signed) + _FILLING)
        return [text[i : i + _LETTERS] for i in range(0, len(text), _LETTERS + len(_FILLING))]

    def read(self, subscriber: Subscriber, text: str, element: str) -> tuple[UUID, int]:
        """Give the epoch and the position; raises fault 1014."""
        kind, epoch, position = self._opened(subscriber, text, element, _POSITION)
        if kind != b"p":
            raise _invalid(element)
        return UUID(bytes=epoch), position

    def of_mark(self, subscriber: Subscriber, epoch: UUID, mark: SnapshotMark) -> str:
        return self._signed(subscriber, _MARK.pack(b"s", epoch.bytes, mark.position, mark.after.bytes))

    def read_mark(self, subscriber: Subscriber, text: str, element: str) -> tuple[UUID, SnapshotMark]:
        """Give the epoch and how far a snapshot was read; raises fault 1014."""
        kind, epoch, position, after = self._opened(subscriber, text, element, _MARK)
        if kind != b"s":
            raise _invalid(element)
        return UUID(bytes=epoch), SnapshotMark(position, UUID(bytes=after))

    def _signed(self, subscriber: Subscriber, payload: bytes) -> str:
        return _text(payload + self._mac(subscriber, payload))

    def _opened(self, subscriber: Subscriber, text: str, element: str, form: struct.Struct) -> Any:
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise _invalid(element) from None
        payload, mac = raw[: form.size], raw[form.size :]
        expected = self._mac(subscriber, payload)
        # The text itself is compared too: base64 has spare bits at its end.
        if len(text) > _LONGEST or not hmac.compare_digest(mac, expected) or len(payload) != form.size:
            raise _invalid(element)
        if self._signed(subscriber, payload) != text:
            raise _invalid(element)
        return form.unpack(payload)

    def _mac(self, subscriber: Subscriber, payload: bytes) -> bytes:
        mac = self._keyed(subscriber).copy()
        mac.update(payload)
        return mac.digest()

    def _keyed(self, subscriber: Subscriber) -> blake2b:
        """Give what hashes by the subscriber's own key; made once for all its positions."""
        whose = (subscriber.client, subscriber.scope)
        keyed = self._hashes.get(whose)
        if keyed is None:
            if len(self._hashes) >= _SUBSCRIBERS:
                self._hashes.clear()
            key = hmac.digest(self._key, "\0".join(whose).encode(), sha256)
            keyed = self._hashes[whose] = blake2b(key=key, digest_size=_MAC_BYTES)
        return keyed


def _text(signed: bytes) -> str:
    """Write it as URLs can have it."""
    return binascii.b2a_base64(signed, newline=False).translate(_FOR_URLS).rstrip(b"=").decode("ascii")


def _invalid(element: str) -> Fault:
    return Fault(1014, (FieldError(element, "is not a position that was given to this subscriber"),))
