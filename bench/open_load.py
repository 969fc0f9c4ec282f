"""An open-loop load client in a process of its own: each request has a moment at which it is due, whatever became of those before.

`python bench/open_load.py SPEC` with SPEC = JSON {port, seconds, streams: [{name, per_second, requests: [text, ...]}]}. Latency
counts from the due moment, so that a server that stalls is charged with all that should have been sent meanwhile. Prints one
JSON line: per stream a list of [due second, latency in seconds, status, whether there was a Retry-After]; status 0 is no answer.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import uvloop

LENGTH, RETRY_AFTER = b"content-length:", b"\r\nretry-after:"
MOST_CONNECTIONS = 4_000
PATIENCE = 15.0

Sample = tuple[float, float, int, bool]


class Line(asyncio.Protocol):
    """One connection, for one request at a time; knows only as much of HTTP as the gateway uses."""

    def __init__(self, idle: "list[Line]", ended: Callable[[], None]) -> None:
        self._idle = idle
        self._ended = ended
        self._answer = b""
        self._size = 0
        self._waiter: asyncio.Future[tuple[int, bool]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes) -> "asyncio.Future[tuple[int, bool]]":
        self._answer, self._size = b"", 0
        self._waiter = asyncio.get_running_loop().create_future()
        if self._transport is not None:
            self._transport.write(request)
        return self._waiter

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._size:
            end = self._answer.find(b"\r\n\r\n")
            if end < 0:
                return
            at = self._answer.lower().find(LENGTH, 0, end) + len(LENGTH)
            self._size = end + 4 + int(self._answer[at : self._answer.find(b"\r\n", at)])
        if len(self._answer) >= self._size and self._waiter is not None and not self._waiter.done():
            head = self._answer[: self._answer.find(b"\r\n\r\n")].lower()
            self._waiter.set_result((int(head[9:12]), RETRY_AFTER in head))
            if b"connection: close" not in head:
                self._idle.append(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._ended()
        if self in self._idle:
            self._idle.remove(self)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result((0, False))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Client:
    """Sends when it is due, over an idle connection or a new one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Line] = []
        self._open = 0

    async def send(self, request: bytes, due: float, second: float, samples: list[Sample]) -> None:
        status, retry_after = await self._answer(request)
        samples.append((round(second, 3), round(time.perf_counter() - due, 5), status, retry_after))

    async def _answer(self, request: bytes) -> tuple[int, bool]:
        line: Line | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                line = self._idle.pop() if self._idle else await self._connect()
                return await line.ask(request)
        except (OSError, TimeoutError):
            if line is not None:
                line.close()
            return 0, False

    async def _connect(self) -> Line:
        if self._open >= MOST_CONNECTIONS:
            raise OSError("too many connections")
        self._open += 1
        loop = asyncio.get_running_loop()
        try:
            line = await loop.create_connection(
                lambda: Line(self._idle, self._ended), "127.0.0.1", self._port
            )
        except BaseException:
            self._ended()
            raise
        return line[1]

    def _ended(self) -> None:
        self._open -= 1


async def stream(client: Client, spec: dict[str, Any], begun: float, seconds: float) -> list[Sample]:
    """Send one stream at its rate."""
    requests = cycle([request.encode() for request in spec["requests"]])
    samples: list[Sample] = []
    async with asyncio.TaskGroup() as tasks:
        for number in range(round(spec["per_second"] * seconds)):
            second = number / spec["per_second"]
            if (ahead := begun + second - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            tasks.create_task(client.send(next(requests), begun + second, second, samples))
    return samples


async def main(spec: dict[str, Any]) -> None:
    client, begun = Client(spec["port"]), time.perf_counter() + 0.1
    answers = await asyncio.gather(*(stream(client, one, begun, spec["seconds"]) for one in spec["streams"]))
    print(json.dumps({one["name"]: found for one, found in zip(spec["streams"], answers, strict=True)}))


if __name__ == "__main__":
    uvloop.run(main(json.loads(Path(sys.argv[1]).read_text())))
