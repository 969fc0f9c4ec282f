"""What tests of the way to an owner share: a read and a write, limits, an answer in chunks, and times."""

import asyncio
from typing import Final

from cv_gateway.testing import raw
from servicekit.web.upstream import Forward, OwnerLimits

__all__ = ["CHUNKED", "LIMITS", "LONG", "READ", "SHORT", "WRITE", "is_now", "within"]

LIMITS: Final = OwnerLimits(connections=2, waiting=2, connect_timeout=0.5, answer_bytes=100_000)
READ: Final = Forward("GET", b"/v6/Cv", b"x-a: 1\r\n", b"", repeatable=True)
WRITE: Final = Forward("PUT", b"/v6/Cv", b"", b'{"a":1}', repeatable=False)
SHORT, LONG = 0.15, 5.0
"""Seconds that a call which is to be late is given, and one that is to be answered."""

CHUNKED: Final = raw(
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-b: 2\r\n\r\n3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nt: 1\r\n\r\n"
)


def within(seconds: float) -> float:
    """Give the deadline in so many seconds."""
    return asyncio.get_running_loop().time() + seconds


def is_now(value: int, expected: int) -> None:
    if value != expected:
        raise AssertionError(f"{value}, not {expected}")
