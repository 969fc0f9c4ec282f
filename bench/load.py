"""A load client in a process of its own: keep-alive connections that each send the next request when an answer is whole.

`python bench/load.py SPEC` with SPEC = JSON {port, connections, seconds, requests: [text, ...]}; prints one JSON line.
"""

import asyncio
import json
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import uvloop

LENGTH = b"content-length:"


class Line(asyncio.Protocol):
    """One connection; knows only as much of HTTP as the services measured here use."""

    def __init__(self, requests: "cycle[bytes]", latencies: list[float], failures: list[bytes]) -> None:
        self._requests = requests
        self._latencies = latencies
        self._failures = failures
        self._answer = b""
        self._size = 0
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer = self._answer + data if self._answer else data
        if not self._size:
            end = self._answer.find(b"\r\n\r\n")
            if end < 0:
                return
            at = self._answer.lower().find(LENGTH, 0, end) + len(LENGTH)
            self._size = end + 4 + int(self._answer[at : self._answer.find(b"\r\n", at)])
        if len(self._answer) >= self._size:
            if not self._answer.startswith(b"HTTP/1.1 200"):
                self._failures.append(self._answer[:400])
            self._latencies.append(time.perf_counter() - self._sent)
            self._answer, self._size = b"", 0
            self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        if self._transport is not None:
            self._transport.write(next(self._requests))

    def connection_lost(self, _exc: Exception | None) -> None:
        self._failures.append(b"connection lost")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def main(spec: dict[str, Any]) -> None:
    requests = cycle([request.encode() for request in spec["requests"]])
    latencies: list[float] = []
    failures: list[bytes] = []
    loop = asyncio.get_running_loop()
    lines = [
        (
            await loop.create_connection(
                lambda: Line(requests, latencies, failures), "127.0.0.1", spec["port"]
            )
        )[1]
        for _ in range(spec["connections"])
    ]
    await asyncio.sleep(spec["warm_up"])
    warmed_up = len(latencies)
    latencies.clear()
    begun = time.perf_counter()
    await asyncio.sleep(spec["seconds"])
    seconds = time.perf_counter() - begun
    ordered, failed = sorted(latencies), len(failures)
    first = failures[0].decode("latin-1") if failures else None
    for line in lines:
        line.close()
    print(
        json.dumps(
            {
                "answers": warmed_up + len(ordered),
                "per_second": len(ordered) / seconds,
                "p50_ms": ordered[len(ordered) // 2] * 1000,
                "p99_ms": ordered[len(ordered) * 99 // 100] * 1000,
                "failures": failed,
                "first_failure": first,
            }
        )
    )


if __name__ == "__main__":
    uvloop.run(main(json.loads(Path(sys.argv[1]).read_text())))
