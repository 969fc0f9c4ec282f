"""A TCP proxy that does to connections what networks do: cuts, delays, goes silent, stops in the middle of a frame."""

import asyncio
import contextlib
import socket
import struct
from typing import Literal

from tests.e2e.door import Door

Trouble = Literal["none", "cut", "slow", "silent", "truncating"]
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class Proxy(Door):
    """A door whose connections can be given trouble, those that are open and those to come.

    `cut`: reset at once, new ones too. `slow`: each piece takes `delay` seconds. `silent`: half-open; nothing arrives any more
    and nobody is told, nor after `none`, as the other end is gone. `truncating`: the next piece arrives half, then a reset.
    """

    def __init__(self, *servers: int, delay: float = 2.0) -> None:
        super().__init__(*servers)
        self.trouble: Trouble = "none"
        self._delay = delay
        self.ends: set[asyncio.StreamWriter] = set()

    def give(self, trouble: Trouble) -> None:
        """Give connections this trouble until told otherwise; `none` heals."""
        self.trouble = trouble
        if trouble == "cut":
            asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(10)

    async def _cut(self) -> None:
        for writer in list(self.ends):
            _reset(writer)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.trouble == "cut":
            return _reset(writer)
        inner = await self._connected()
        if inner is None:
            return _reset(writer)
        from_server, to_server = inner
        ends = {writer, to_server}
        self.ends |= ends
        try:
            # Python 3.11 logs an error for a connection whose task is cancelled, as all are at the end.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(
                    self._forward(reader, to_server, writer), self._forward(from_server, writer, to_server)
                )
        finally:
            self.ends -= ends
            for end in ends:
                end.close()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        gone = False
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.trouble == "slow":
                    await asyncio.sleep(self._delay)
                gone |= self.trouble == "silent"
                if gone:
                    continue
                if self.trouble == "truncating":
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    _reset(writer)
                    return _reset(back)
                writer.write(data)
                await writer.drain()
        if not gone:
            with contextlib.suppress(OSError):
                writer.close()
        return None


def _reset(writer: asyncio.StreamWriter) -> None:
    inner = writer.get_extra_info("socket")
    if inner is not None:
        with contextlib.suppress(OSError):
            inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    writer.transport.abort()
