"""Who takes none of an answer holds neither it nor a connection for ever; who takes it slowly gets all of it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from servicekit.settings import HttpSettings
from servicekit.testing import eventually
from servicekit.web.heads import BoundedHeads

pytestmark = pytest.mark.slow

BODY = b"x" * 8_000_000
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LAST_REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
KEPT = timedelta(seconds=1)


async def answering(_scope: Any, _receive: Any, send: Any) -> None:
    length = (b"content-length", b"%d" % len(BODY))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": BODY})


@pytest.fixture
async def served() -> AsyncIterator[tuple[int, ServerState]]:
    """Give the port of a server whose answers are long, and its state."""
    config = uvicorn.Config(
        answering,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_keep_alive=round(KEPT.total_seconds()),
    )
    config.load()
    state, settings = ServerState(), HttpSettings()
    server = await asyncio.get_running_loop().create_server(
        lambda: BoundedHeads(config=config, server_state=state, app_state={}, settings=settings), "127.0.0.1"
    )
    yield server.sockets[0].getsockname()[1], state
    server.close()
    for connection in list(state.connections):
        connection.transport.abort()
    await server.wait_closed()


def _asking(port: int, request: bytes = REQUEST) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    client.connect(("127.0.0.1", port))
    client.sendall(request)
    client.setblocking(False)
    return client


def _are_open(state: ServerState, number: int) -> None:
    assert len(state.connections) == number


@pytest.mark.parametrize("request_", [REQUEST, LAST_REQUEST, 3 * REQUEST])
async def test_a_connection_whose_caller_takes_nothing_is_dropped(
    served: tuple[int, ServerState], request_: bytes
) -> None:
    port, state = served
    with _asking(port, request_):
        await eventually(lambda: _are_open(state, 1))
        await eventually(lambda: _are_open(state, 0), timeout=20 * KEPT)


async def test_a_caller_who_takes_an_answer_slowly_gets_all_of_it(served: tuple[int, ServerState]) -> None:
    port, _ = served
    loop, taken = asyncio.get_running_loop(), 0
    with _asking(port) as client:
        while taken < len(BODY):
            some = await loop.sock_recv(client, 2_000_000)
            assert some
            if taken < 5 * len(some):
                await asyncio.sleep(KEPT.total_seconds() / 2)
            taken += len(some)


async def test_a_connection_that_rests_after_its_answer_is_only_closed(
    served: tuple[int, ServerState],
) -> None:
    port, state = served
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    await reader.readuntil(b"\r\n\r\n")
    assert await asyncio.wait_for(reader.read(), 20) == BODY
    writer.close()
    await eventually(lambda: _are_open(state, 0))
