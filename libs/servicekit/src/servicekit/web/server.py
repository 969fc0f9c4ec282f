"""Runs a service's ASGI application in this process, and lets it leave without failing anybody's request."""

import asyncio
import contextlib
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import cast

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from servicekit.memory import collect_seldom
from servicekit.observe import telemetry
from servicekit.settings import HttpSettings
from servicekit.web.heads import BoundedHeads
from servicekit.web.health import Health
from servicekit.web.http import Routes

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.02
CLOSE = (b"connection", b"close")


def serve(app: ASGIApp, settings: HttpSettings, health: Health | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain; leave with exit code 1 if a watched background task died."""
    if health is None:
        health = app.health if isinstance(app, Routes) else Health()
    server = DrainingServer(_config(app, settings), health, settings)
    server.run()
    telemetry.shutdown()
    if health.dead or not server.started:
        sys.exit(1)


class DrainingServer(uvicorn.Server):
    """Uvicorn, but connections are left by telling the client so (`connection: close`) rather than closed under it."""

    def __init__(self, config: uvicorn.Config, health: Health, settings: HttpSettings) -> None:
        super().__init__(config)
        self._connections = partial(BoundedHeads, settings=settings)
        self._health = health
        self._drain_idle = settings.drain_idle.total_seconds()
        health.on_death = self._leave

    def _leave(self) -> None:
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as a wish to leave; unlike uvicorn's own, do not raise them again at the end."""
        handlers = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        collect_seldom()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._health.drain()
        log.info("draining", connections=len(self.server_state.connections))
        await self._stop_accepting()
        self._announce_close()
        until = time.monotonic() + self._drain_idle
        while self.server_state.connections and time.monotonic() < until and not self.force_exit:  # noqa: ASYNC110 - uvicorn tells nobody when a connection has closed
            await asyncio.sleep(POLL_SECONDS)
        await super().shutdown(sockets)
        log.info("stopped")

    async def _stop_accepting(self) -> None:
        """Close the listeners; connections that the kernel has already accepted are served, not reset."""
        waiting = [
            socket.socket(fileno=os.dup(open_.fileno()))
            for server in self.servers
            for open_ in server.sockets
        ]
        for server in self.servers:
            server.close()
        for listener in waiting:
            with listener, contextlib.suppress(OSError):
                listener.setblocking(False)
                accepted = []
                while True:
                    accepted.append(listener.accept()[0])
            for connection in accepted:
                await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        return self._connections(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def _announce_close(self) -> None:
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        for connection in self.server_state.connections:
            if not isinstance(connection, HttpToolsProtocol):
                continue
            cycle = connection.cycle
            if cycle is not None and not cycle.response_started:
                cycle.keep_alive = False


def _config(app: ASGIApp, settings: HttpSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=cast(type[asyncio.Protocol], partial(BoundedHeads, settings=settings)),
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=settings.backlog,
        timeout_keep_alive=math.ceil(settings.keep_alive.total_seconds()),
        timeout_graceful_shutdown=math.ceil(settings.grace.total_seconds()),
    )
