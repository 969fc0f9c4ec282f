"""One keep-alive HTTP/1.1 client connection, small because it decides what the gateway costs.

UpstreamError
├── Unreachable   no connection could be made: nothing was sent
├── Crowded       the owner's connections and its queue are full: nothing was sent
├── Late          no answer by the deadline: the owner may have done the work
├── Cut           the connection ended before any byte of the answer: the same
└── Garbled       the answer cannot be read: not HTTP, no clear end, cut short, too large
"""

import asyncio
from dataclasses import dataclass
from typing import cast

import httptools

HEAD_LIMIT_BYTES = 64 * 1024
BODILESS = frozenset({204, 304})


class UpstreamError(Exception):
    """An exchange with an owner that gave no answer; says nothing about what was sent."""


class Unreachable(UpstreamError):  # noqa: N818 - says what happened
    """No connection could be made, so nothing was sent."""


class Crowded(UpstreamError):  # noqa: N818 - says what happened
    """All connections to the owner are busy and the queue for one is full or too slow; nothing was sent."""


class Late(UpstreamError):  # noqa: N818 - says what happened
    """No whole answer by the deadline; the owner may have done the work."""


class Cut(UpstreamError):  # noqa: N818 - says what happened
    """The connection ended before the first byte of an answer; the owner may have done the work."""


class Garbled(UpstreamError):  # noqa: N818 - says what happened
    """What came back cannot be read as one answer; the owner may have done the work."""


@dataclass(slots=True)
class Answer:
    """A whole answer: header names in lower case, transfer encoding removed."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Connection(asyncio.Protocol):
    """One exchange at a time. After any fault the connection is aborted; it is never brought back into step."""

    def __init__(self, answer_limit: int) -> None:
        self._answer_limit = answer_limit
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._body_size = self._head_size = 0
        self._started = self._head_complete = self._framed = self._complete = False
        self.idle_since = self.keep_until = 0.0
        self.reusable = False

    def exchange(self, request: bytes, deadline: float) -> asyncio.Future[Answer]:
        """Send one request; the future ends with its answer or an UpstreamError, at the deadline (loop time) at the latest."""
        transport = self._transport
        if transport is None:
            raise Unreachable
        self._waiter = waiter = self._loop.create_future()
        self._timer = self._loop.call_at(deadline, self._fail, Late())
        self._expect_answer()
        transport.write(request)
        return waiter

    def abort(self) -> None:
        """Drop the connection at once: whatever is under way on it is over."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    @property
    def closing(self) -> bool:
        """Whether the other side, or this one, has begun to end the connection."""
        return self._transport is None or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self.abort()
            return
        self._started = True
        self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(Garbled())
        else:
            self._check_size()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        self.reusable = False
        self._transport = None
        self._fail(Garbled() if self._started else Cut())
        # It holds this connection's methods: apart, both go now, with the last answer, and wait for no search for cycles.
        del self._parser

    def on_message_begin(self) -> None:
        if self._complete:
            # A second answer to one request: nobody can say whose it is.
            self.abort()
        self._headers = []
        self._framed = False

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower in (b"content-length", b"transfer-encoding"):
            self._framed = True
        self._headers.append((lower, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._head_complete = status >= 200
        if self._head_complete and not self._framed and status not in BODILESS:
            self._fail(Garbled())

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size <= self._answer_limit:
            self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self._waiter is None:
            return
        if self._body_size > self._answer_limit:
            self._fail(Garbled())
            return
        self._complete = True
        transport = self._transport
        self.reusable = (
            transport is not None
            and self._parser.should_keep_alive()
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
        )
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        waiter = self._end_exchange()
        if waiter is not None and not waiter.done():
            waiter.set_result(Answer(status, self._headers, body))

    def _check_size(self) -> None:
        head_too_large = not self._head_complete and self._head_size > HEAD_LIMIT_BYTES
        if head_too_large or self._body_size > self._answer_limit:
            self._fail(Garbled())

    def _fail(self, error: UpstreamError) -> None:
        waiter = self._end_exchange()
        if waiter is None:
            return
        self.abort()
        if not waiter.done():
            waiter.set_exception(error)

    def _end_exchange(self) -> asyncio.Future[Answer] | None:
        waiter, self._waiter = self._waiter, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return waiter

    def _expect_answer(self) -> None:
        self.reusable = False
        self._started = False
        self._head_complete = False
        self._framed = False
        self._complete = False
        self._head_size = 0
        self._body_size = 0
        self._headers = []
        self._body = []
