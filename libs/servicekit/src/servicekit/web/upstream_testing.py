"""An owner over real TCP that answers as it is told, and what tests of the way to one share: requests, limits and times."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from servicekit.web.upstream import Forward, OwnerLimits

__all__ = [
    "CHUNKED",
    "LIMITS",
    "LONG",
    "READ",
    "SHORT",
    "WRITE",
    "Answering",
    "Received",
    "ScriptedOwner",
    "cut",
    "hang",
    "plain",
    "raw",
    "within",
]

LIMITS: Final = OwnerLimits(connections=2, waiting=2, connect_timeout=0.5, answer_bytes=100_000)
READ: Final = Forward("GET", b"/thing", b"x-a: 1\r\n", b"", repeatable=True)
WRITE: Final = Forward("PUT", b"/thing", b"", b'{"a":1}', repeatable=False)
SHORT, LONG = 0.15, 5.0
"""Seconds that a call which is to be late is given, and one that is to be answered."""


@dataclass(slots=True)
class Received:
    """A request as the owner got it; header names in lower case, repeated ones kept."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known == name), None)


Answering = Callable[[Received, asyncio.StreamWriter], Awaitable[bool]]
"""Writes an answer; True keeps the connection open for the next request."""


def plain(body: bytes = b"{}", status: str = "200 OK", *headers: str) -> Answering:
    """Answer as an owner should."""
    media = "application/json" if status.startswith("2") else "application/problem+json"
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", f"content-type: {media}", *headers]
    answer = "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def write(_request: Received, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer)
        return True

    return write


def raw(answer: bytes, *, keep: bool = True) -> Answering:
    """Answer with exactly these bytes, then keep the connection or end it."""

    async def write(_request: Received, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer)
        return keep

    return write


async def hang(_request: Received, _writer: asyncio.StreamWriter) -> bool:
    """Never answer."""
    await asyncio.Event().wait()
    return False


async def cut(_request: Received, _writer: asyncio.StreamWriter) -> bool:
    """End the connection without a byte."""
    return False


@dataclass(slots=True)
class ScriptedOwner:
    """A small real HTTP server. `script` answers the next requests one by one, `answering` all later ones."""

    answering: Answering = field(default_factory=plain)
    script: list[Answering] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    url: str = ""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop_connections(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open += 1
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                request = await _read(reader)
                self.received.append(request)
                answering = self.script.pop(0) if self.script else self.answering
                gone = asyncio.ensure_future(reader.read(1)) if answering is hang else None
                keep = await _until(answering(request, writer), gone)
                await writer.drain()
                if not keep:
                    break
        self.open -= 1
        self._writers.discard(writer)
        writer.close()


async def _until(answering: Awaitable[bool], gone: asyncio.Future[bytes] | None) -> bool:
    if gone is None:
        return await answering
    answer = asyncio.ensure_future(answering)
    either: set[asyncio.Future[Any]] = {answer, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        answer.cancel()
        gone.cancel()
    return False


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = [
        (name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:-2])
    ]
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    return Received(head[0], headers, await reader.readexactly(length))


CHUNKED: Final = raw(
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-b: 2\r\n\r\n3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nt: 1\r\n\r\n"
)


def within(seconds: float) -> float:
    """Give the deadline in so many seconds."""
    return asyncio.get_running_loop().time() + seconds
