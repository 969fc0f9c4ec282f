"""HTTP connections that end where uvicorn's would not: at heads that are too long or do not come, at answers that nobody takes."""

import asyncio
import fcntl
import struct
import termios
from contextlib import suppress
from typing import Any

from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from servicekit.settings import HttpSettings

__all__ = ["BoundedHeads"]

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedHeads(HttpToolsProtocol):
    """Closes connections whose head is too long (431) or does not come; costs whole heads nothing but a comparison.

    Those whose other end takes nothing of an answer for as long as an idle one is kept are dropped, with what is left of it.
    What comes after an answer, and is no next request, does not make a connection less idle: its time runs on.
    """

    _before = 0
    """Bytes of the head that came in pieces after its first and before the present one; minus the first piece while in it."""
    _piece = 0
    _in_head = False
    _too_large = False
    _patience: asyncio.TimerHandle | None = None
    _answered = 0
    _taking: asyncio.TimerHandle | None = None
    """Looks whether what is written is taken; once begun it serves all answers until none is left."""
    _idle_until = 0.0
    """When it ends if no further request comes; later only where the body of one answered early has come to its end."""

    def __init__(self, *args: Any, settings: HttpSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit = settings.head_limit
        self._seconds = settings.head_time.total_seconds()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._piece = len(data)
        super().data_received(data)
        if self._in_head:
            self._before += len(data)
            if self._patience is None:
                self._wait_for_head()
            if self._before > self._limit and not self.transport.is_closing():
                self._refuse()
        elif self.cycle is not None and self.cycle.response_complete and not self.transport.is_closing():
            # Any byte ends uvicorn's own timer.
            self.timeout_keep_alive_task = self.loop.call_at(
                self._idle_until, self.timeout_keep_alive_handler
            )

    def on_message_begin(self) -> None:
        self._before, self._in_head = -self._piece, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._patience is not None:
            self._stop_waiting()
        whole = self._before == -self._piece and self._piece <= self._limit
        if not whole and self._head_bytes() > self._limit:
            self._too_large = True
            raise HttpParserError
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle.response_complete:
            self._rest()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._rest()
        self._answered += 1
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        if self._too_large:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse(self) -> None:
        self.transport.write(_TOO_LARGE)
        self.transport.close()

    def _wait_for_head(self) -> None:
        self._patience = asyncio.get_running_loop().call_later(self._seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _rest(self) -> None:
        self._idle_until = self.loop.time() + self.timeout_keep_alive

    def _watch(self) -> None:
        if self._taking is None:
            self._look_later()

    def _look_later(self) -> None:
        self._taking = self.loop.call_later(self.timeout_keep_alive, self._look, self._written())

    def _look(self, before: tuple[int, int]) -> None:
        now, self._taking = self._written(), None
        if now[1] and now == before:
            self.transport.abort()
        elif now[1]:
            self._look_later()

    def _written(self) -> tuple[int, int]:
        return self._answered, self.transport.get_write_buffer_size() + _in_kernel(self.transport)

    def _give_up(self) -> None:
        self._patience = None
        self.transport.close()


def _in_kernel(transport: asyncio.Transport) -> int:
    """Give how many bytes the kernel has taken over that the other end has not: without them, slow progress cannot be seen."""
    with suppress(OSError, ValueError):
        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        return int(struct.unpack("i", answer)[0])
    return 0
