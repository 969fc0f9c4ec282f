"""The way to one owner: its own bounded pool of connections, a bounded queue before it, deadlines, careful retries."""

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from urllib.parse import urlsplit

from servicekit.web.connection import Answer, Connection, Crowded, Cut, Garbled, Late, Unreachable
from servicekit.web.room import LEAST, Room
from servicekit.web.tls import trusting

RETRIED = (Cut, Garbled)
BURST = 0.25
"""Seconds for which somebody may wait at each moment, while answers come, before it counts as more than the owner can do."""
PAUSE = 0.05
"""Without an answer for so many seconds the owner has paused: what has piled up meanwhile is a burst of its own."""
LONGEST_PAUSE = 1.0
"""After it the owner counts as overrun, whether it answers or not."""


@dataclass(frozen=True, slots=True)
class OwnerLimits:
    """How much of this process one owner may take; times in seconds."""

    connections: int = 64
    least: int = LEAST
    """So many of the connections are never taken away, however slow the answers are."""
    waiting: int = 256
    longest_wait: float = inf
    """For one of the connections: whoever would wait longer is better told to come back later."""
    hurried_wait: float = inf
    """The same where the waiting does not end: then it is no burst, and waiting only makes everybody late."""
    connect_timeout: float = 1.0
    idle: float = 4.0
    """Below the keep-alive time of the owners, so that most stale connections are never tried."""
    idle_for_writes: float = 1.0
    longest_kept: float = 30.0
    """However busy a connection is, about then it is left: a balancer chooses where each connection leads, and new instances get new ones."""
    answer_bytes: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Forward:
    """A request for an owner; `head` is its header lines, each ended, without host, length and deadline.

    `credentials` gives more of them, which age: they are made whenever it is sent, after all waiting and again for a second time.
    `repeatable` says that running it twice does no harm: only then is it ever sent a second time. An owner that takes
    longer than `swift` seconds for it is busy, and is given less at once; of `waits` seconds more, which it may take on
    purpose, nothing is learnt.
    """

    verb: str
    target: bytes
    head: bytes
    body: bytes
    repeatable: bool
    swift: float = inf
    waits: float = 0.0
    credentials: Callable[[], bytes] = lambda: b""


class Owner:
    """An owner of methods, by its base URL. One per owner, so that a slow one takes nothing from the others."""

    def __init__(
        self, url: str, limits: OwnerLimits | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError("an owner needs an http or https URL")
        self._tls = None if parts.scheme == "http" else tls or trusting()
        self._host = parts.hostname
        self._port = parts.port or (80 if self._tls is None else 443)
        self._prefix = parts.path.rstrip("/").encode("ascii")
        self._host_line = b" HTTP/1.1\r\nhost: " + parts.netloc.rpartition("@")[2].encode("ascii") + b"\r\n"
        self._limits = limits or OwnerLimits()
        self._idle: list[Connection] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._waiting_since = 0.0
        self._burst_since = 0.0
        self._answered_at = 0.0
        self._room = Room(self._limits.connections, self._limits.least)
        self.busy = 0

    async def send(self, request: Forward, deadline: float) -> Answer:
        """Give the owner's answer, whatever its status; raises an UpstreamError. `deadline` is in loop time."""
        if self.crowded:
            raise Crowded
        if self.busy < self._room.size:
            self.busy += 1
        else:
            await self._queue(deadline)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            answer = await self._repeated(request, deadline)
            self._answered(request, begun, loop.time())
        except Late:
            self._room.answered(swiftly=False)
            raise
        finally:
            self._give_back()
        return answer

    async def _repeated(self, request: Forward, deadline: float) -> Answer:
        try:
            return await self._exchange(request, deadline, self._kept(request.repeatable))
        except RETRIED:
            if not request.repeatable:
                raise
            return await self._exchange(request, deadline, None)

    @property
    def crowded(self) -> bool:
        """Whether one more request would be turned away at once."""
        if self.busy < self._room.size:
            return False
        places = min(self._limits.waiting, self._room.size) if self._is_overrun() else self._limits.waiting
        return len(self._waiting) >= places

    def close(self) -> None:
        """Close the idle connections; those in use close when they are given back."""
        while self._idle:
            self._idle.pop().abort()

    async def _exchange(self, request: Forward, deadline: float, connection: Connection | None) -> Answer:
        connection = connection or await self._connect(deadline)
        try:
            answer = await connection.exchange(self._serialise(request, deadline), deadline)
        except BaseException:
            connection.abort()
            raise
        now = asyncio.get_running_loop().time()
        if connection.reusable and now < connection.keep_until:
            connection.idle_since = now
            self._idle.append(connection)
        else:
            connection.abort()
        return answer

    def _kept(self, repeatable: bool) -> Connection | None:
        """Find a connection that is surely alive for a write, and probably alive for what may be repeated."""
        longest = self._limits.idle if repeatable else self._limits.idle_for_writes
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and not connection.closing and now - connection.idle_since <= longest:
                return connection
            connection.abort()
        return None

    async def _connect(self, deadline: float) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + self._limits.connect_timeout)):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._limits.answer_bytes), self._host, self._port, ssl=self._tls
                )
        except OSError as error:
            # TimeoutError is one of them.
            raise Unreachable from error
        # Not all at one moment those that were made at one.
        connection.keep_until = loop.time() + self._limits.longest_kept * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        return connection

    def _serialise(self, request: Forward, deadline: float) -> bytes:
        left = max(1, int((deadline - asyncio.get_running_loop().time()) * 1000))
        length = b"" if request.verb == "GET" else b"content-length: %d\r\n" % len(request.body)
        return b"".join(
            (
                request.verb.encode("ascii"),
                b" ",
                self._prefix,
                request.target,
                self._host_line,
                request.head,
                request.credentials(),
                b"x-deadline-ms: %d\r\n" % left,
                length,
                b"\r\n",
                request.body,
            )
        )

    def _answered(self, request: Forward, begun: float, now: float) -> None:
        swiftly = now - begun <= request.swift
        if swiftly or now - begun > request.swift + request.waits:
            self._room.answered(swiftly=swiftly)
        if now - self._answered_at > PAUSE:
            self._burst_since = now
        self._answered_at = now

    def _is_overrun(self) -> bool:
        """Tell whether somebody has waited at each moment for longer than a burst lasts, or than any pause should."""
        if not self._waiting:
            return False
        now = asyncio.get_running_loop().time()
        answers = now - self._answered_at <= PAUSE
        lasts = now - max(self._waiting_since, self._burst_since) > BURST
        return (answers and lasts) or now - self._waiting_since > LONGEST_PAUSE

    async def _queue(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        longest = self._limits.hurried_wait if self._is_overrun() else self._limits.longest_wait
        if not self._waiting:
            self._waiting_since = loop.time()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + longest)):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_back()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise Crowded from error
            raise

    def _give_back(self) -> None:
        self.busy -= 1
        while self._waiting and self.busy < self._room.size:
            turn = self._waiting.popleft()
            if not turn.done():
                self.busy += 1
                turn.set_result(None)
