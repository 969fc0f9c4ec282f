"""For tests: a small HTTP server in another service's place, which does what a test asks of it."""

import asyncio
import gzip
import json
from typing import Any

__all__ = ["StandIn", "reply"]

LARGEST_HEAD = 1 << 20


class StandIn:
    """Answers each JSON body by `found`. `mode` is how it behaves: ok, error, slow, garbage, or what a subclass adds.

    `modes` holds other modes for single paths, `asked` the paths in their order, `authorization` what came with them.
    """

    zipped = False

    def __init__(self) -> None:
        self.mode: str = "ok"
        self.modes: dict[str, str] = {}
        self.asked: list[Any] = []
        self.authorization: list[str] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen; after a stop on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=LARGEST_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def found(self, path: str, body: Any) -> Any:
        """Give the JSON that is answered."""
        raise NotImplementedError

    def noted(self, path: str, body: Any) -> None:  # noqa: ARG002 - for those who keep it
        """Keep what was asked."""
        self.asked.append(path)

    async def before(self, path: str) -> None:
        """Do what a test wants done between question and answer."""

    def answer(self, mode: str, path: str, body: Any) -> bytes:
        """Give the whole answer, head and body."""
        if mode == "error":
            return reply(b"", "500 Oops")
        raw = (
            b"<html>not what was asked for"
            if mode == "garbage"
            else json.dumps(self.found(path, body)).encode()
        )
        return reply(gzip.compress(raw, 1), "200 OK", "content-encoding: gzip") if self.zipped else reply(raw)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            named = {name.lower(): value for name, value in headers.items()}
            body = json.loads(await reader.readexactly(int(named["content-length"])))
            path = lines[0].split(" ")[1]
            self.noted(path, body)
            self.authorization.append(named.get("authorization", ""))
            mode = self.modes.get(path, self.mode)
            await self.before(path)
            if mode == "slow":
                await asyncio.sleep(60)
            writer.write(self.answer(mode, path, body))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def reply(body: bytes, status: str = "200 OK", *lines: str, missing: int = 0) -> bytes:
    """Give an answer that ends its connection; `missing` bytes are promised and never come."""
    head = [
        f"HTTP/1.1 {status}",
        "content-type: application/json",
        f"content-length: {len(body) + missing}",
        *lines,
        "connection: close",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
