"""A TCP door before servers, as a platform's balancer is; it can keep what callers said through it."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Sequence
from typing import Self

from servicekit.testing import free_port

_REQUEST_LINE = re.compile(rb"(?:GET|POST|PUT|DELETE|HEAD|OPTIONS|PATCH) (\S+) HTTP/1\.[01]\r\n")


class Door:
    """Listens on `port` and leads each connection to the first of `servers` (ports) that takes it, in turn.

    Runs in a thread of its own, so that it can stand before processes that start later. `said` holds what went in.
    """

    def __init__(self, *servers: int, keeps: bool = False) -> None:
        self.port = free_port()
        self.servers: Sequence[int] = servers
        self.said = bytearray()
        self._keeps = keeps
        self._turn = 0
        self._leads: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def targets(self) -> list[bytes]:
        """Give every request target that was asked for."""
        return _REQUEST_LINE.findall(bytes(self.said))

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)

    async def _close(self) -> None:
        for listening in self._server.sockets:
            self._loop.remove_reader(listening.fileno())
        # A server that closes forgets the sockets of those whom it has let in and nobody leads yet.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for lead in self._leads:
                lead.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        self._server.close()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lead = self._loop.create_task(self._lead(reader, writer))
        self._leads.add(lead)
        lead.add_done_callback(self._leads.discard)
        # However it ends, and if it is cancelled before it begins.
        lead.add_done_callback(lambda _: writer.close())

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await self._connected()
        if inner is None:
            return
        from_server, to_server = inner
        try:
            await asyncio.gather(
                self._pass(reader, to_server, keeps=self._keeps), self._pass(from_server, writer)
            )
        finally:
            to_server.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        self._turn += 1
        for step in range(len(self.servers)):
            port = self.servers[(self._turn + step) % len(self.servers)]
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        return None

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keeps: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if keeps:
                    self.said += data
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()
