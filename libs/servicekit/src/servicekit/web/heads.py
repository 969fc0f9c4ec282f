"""HTTP connections whose request heads are limited in size and time, which uvicorn with httptools does not do."""

import asyncio
from typing import Any

from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from servicekit.settings import HttpSettings

__all__ = ["BoundedHeads"]

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedHeads(HttpToolsProtocol):
    """Closes connections whose head is too long (431) or does not come; costs whole heads nothing but a comparison."""

    _before = 0
    """Bytes of the head that came in pieces after its first and before the present one; minus the first piece while in it."""
    _piece = 0
    _in_head = False
    _too_large = False
    _patience: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, settings: HttpSettings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit = settings.head_limit
        self._seconds = settings.head_time.total_seconds()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
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

    def _give_up(self) -> None:
        self._patience = None
        self.transport.close()
