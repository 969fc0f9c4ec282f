"""What of a request goes to the owner and what of its answer comes back: both by lists of what is allowed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any

from cv_contracts.faults import Fault, FieldError, Problem
from cv_gateway.caller import IDENTITY_HEADERS, Identity
from servicekit.web.problems import BodyTooLarge

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Header = tuple[bytes, bytes]

INVALID = 1014
DISCARD_BYTES = 4 * 1024 * 1024
DISCARD_SECONDS = 1.0
ONCE = (b"x-civilregistrationidentifier", b"x-cvcustomeridentifier", b"x-requestid", b"content-type")
REPEATABLE = (b"if-match", b"if-none-match", b"x-consistency-token", b"accept")
ANSWERED = frozenset(
    {
        b"content-type",
        b"etag",
        b"retry-after",
        b"x-consistency-token",
        b"x-idempotent-replay",
        b"content-encoding",
        b"vary",
        b"x-feed-from",
        b"x-feed-to",
    }
)
OF_EVERY_ANSWER: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)

_PREFIX = {name: name + b": " for name in (*ONCE, *REPEATABLE)}
_ONCE = frozenset(ONCE)


class Departed(Exception):  # noqa: N818 - nobody is left to be answered
    """The caller has hung up."""


class TooSlow(Problem):
    """The caller took longer to send the body than a request may."""

    def __init__(self) -> None:
        super().__init__(
            status=408,
            kind="problem:too-slow",
            title="Request timeout",
            detail="The request body did not arrive in time",
        )

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "connection": "close"}


def split(headers: Iterable[Header]) -> tuple[Identity, list[Header]]:
    """Divide request headers into those that say who calls and those that go to the owner; the rest stays here."""
    identity: list[Header] = []
    forwarded: list[Header] = []
    for header in headers:
        if header[0] in _PREFIX:
            forwarded.append(header)
        elif header[0] in IDENTITY_HEADERS:
            identity.append(header)
    return tuple(identity), forwarded


def head_lines(forwarded: list[Header], traceparent: bytes) -> bytes:
    """Write the header lines for the owner, one for each name; raises Fault 1014 if one came twice that may come once.

    The others are lists: several lines of them say the same as one with commas (RFC 9110 5.3), and owners read one.
    """
    once = [name for name, _ in forwarded if name in _ONCE]
    if len(once) != len(set(once)):
        twice = sorted({name.decode() for name in once if once.count(name) > 1})
        raise Fault(INVALID, tuple(FieldError(name, "is given more than once") for name in twice))
    lines = [b"traceparent: ", traceparent, b"\r\n"]
    lists: dict[bytes, list[bytes]] = {}
    for name, value in forwarded:
        lists.setdefault(name, []).append(value)
    for name, values in lists.items():
        lines += (_PREFIX[name], b", ".join(values), b"\r\n")
    head = b"".join(lines)
    ends = 1 + len(lists)
    if not head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r") == ends:
        raise Fault(INVALID, (FieldError("headers", "hold a line break"),))
    return head


def answer_headers(owner_headers: Iterable[Header]) -> list[Header]:
    """Keep the owner's headers that callers may see."""
    return [header for header in owner_headers if header[0] in ANSWERED]


async def read_body(receive: Receive, headers: Iterable[Header], limit: int, seconds: float) -> bytes:
    """Read the whole body; raises BodyTooLarge (before reading where the length is told) or TooSlow."""
    try:
        async with asyncio.timeout(seconds):
            if any(name == b"content-length" and int(value) > limit for name, value in headers):
                raise BodyTooLarge(limit)  # noqa: TRY301 - handled below like one that told no length
            return await _read(receive, limit)
    except TimeoutError:
        raise TooSlow from None
    except BodyTooLarge:
        await _discard(receive)
        raise


async def _read(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Departed
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise BodyTooLarge(limit)
        if not message.get("more_body", False):
            return b"".join(parts)


async def _discard(receive: Receive) -> None:
    """Take a little more of a body that is refused: closing with bytes unread would destroy the answer on its way."""
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while size < DISCARD_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
