"""Heads of requests that are long, endless, late, or in pieces, over TCP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from servicekit.settings import HttpSettings
from servicekit.web.heads import BoundedHeads

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

SHORT = b"GET /quick HTTP/1.1\r\nhost: x\r\n\r\n"
TALL = b"GET /quick HTTP/1.1\r\nhost: x\r\nx-long: " + b"x" * 30_000 + b"\r\n\r\n"
POSTED = b"POST /quick HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n" + b"x" * 300_000
TOO_LONG = (
    b"GET /quick HTTP/1.1\r\nhost: x\r\n"
    + b"".join(b"h%d: %s\r\n" % (n, b"x" * 1_000) for n in range(100))
    + b"\r\n"
)
ENDLESS = TOO_LONG[:-2] + b"name-without-end" * 20_000


EARLY = b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the length of the body, or at once."""
    size, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = b"%06d" % size
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
    )
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def serving(keep_alive: int = 5, **settings: Any) -> AsyncIterator[int]:
    """Serve on a free port of this machine; gives it. `keep_alive` in seconds."""
    config = uvicorn.Config(
        answering, log_config=None, access_log=False, lifespan="off", timeout_keep_alive=keep_alive
    )
    config.load()
    state, limits = ServerState(), HttpSettings.model_validate(settings)
    server = await asyncio.get_running_loop().create_server(
        lambda: BoundedHeads(config=config, server_state=state, app_state={}, settings=limits), "127.0.0.1", 0
    )
    yield server.sockets[0].getsockname()[1]
    server.close()
    for connection in list(state.connections):
        connection.transport.abort()
    await server.wait_closed()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield reader, writer
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def answers(connection: Connection, expected: int) -> list[bytes]:
    """Read so many answers: status and body."""
    reader, _ = connection
    found = []
    for _ in range(expected):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        found.append(head.split()[1] + b" " + await reader.readexactly(length))
    return found


async def sent(connection: Connection, request: bytes, piece: int) -> None:
    for begin in range(0, len(request), piece):
        connection[1].write(request[begin : begin + piece])
        await connection[1].drain()


@pytest.mark.parametrize("piece", [9_000, 1_000_000])
async def test_a_head_that_is_too_long_is_refused(piece: int) -> None:
    async with serving() as port, connected(port) as connection:
        await sent(connection, TOO_LONG, piece)
        line = await asyncio.wait_for(connection[0].readline(), 60)
        assert line == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"


async def test_a_head_without_end_is_cut_off() -> None:
    async with serving() as port, connected(port) as connection:
        with pytest.raises(ConnectionError):  # noqa: PT012 - at which piece is for the two kernels to say
            while True:
                await sent(connection, ENDLESS, 20_000)


@pytest.mark.parametrize("piece", [1_000, 7_000, 1_000_000])
async def test_heads_within_the_limit_and_long_bodies_are_served_however_they_are_cut(piece: int) -> None:
    async with serving() as port, connected(port) as connection:
        await sent(connection, SHORT + TALL + POSTED + TALL + POSTED + SHORT, piece)
        assert await answers(connection, 6) == [
            b"200 000000",
            b"200 000000",
            b"200 300000",
            b"200 000000",
            b"200 300000",
            b"200 000000",
        ]


@pytest.mark.parametrize("begun", [b"", b"GET /quick HT", b"GET /quick HTTP/1.1\r\nhost: x\r\nname"])
async def test_a_connection_whose_first_head_does_not_come_is_closed(begun: bytes) -> None:
    async with serving(head_time=timedelta(seconds=0.2)) as port, connected(port) as connection:
        connection[1].write(begun)
        assert await asyncio.wait_for(connection[0].read(), 60) == b""


async def test_a_later_head_that_does_not_come_to_an_end_closes_the_connection() -> None:
    async with serving(head_time=timedelta(seconds=0.2)) as port, connected(port) as connection:
        connection[1].write(SHORT + SHORT[:9])
        assert await answers(connection, 1) == [b"200 000000"]
        assert await asyncio.wait_for(connection[0].read(), 60) == b""


async def test_time_for_heads_counts_neither_bodies_nor_rests_between_requests() -> None:
    async with serving(head_time=timedelta(seconds=0.2)) as port, connected(port) as slow:
        slow[1].write(POSTED[:1_000])
        async with connected(port) as other:
            assert await asyncio.wait_for(other[0].read(), 60) == b""
        slow[1].write(POSTED[1_000:])
        assert await answers(slow, 1) == [b"200 300000"]
        async with connected(port) as other:
            assert await asyncio.wait_for(other[0].read(), 60) == b""
        slow[1].write(SHORT)
        assert await answers(slow, 1) == [b"200 000000"]


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param([b"x"], id="a byte"),
        pytest.param([b"x" * 100], id="all"),
        pytest.param([b"x"] * 90, id="byte by byte"),
        pytest.param([b"x" * 100, *[b"\r\n"] * 90], id="empty lines"),
    ],
)
async def test_a_connection_stays_idle_whatever_comes_after_an_answer_but_a_request(
    rest: list[bytes],
) -> None:
    """Any byte ends uvicorn's timer of an idle connection, which would then stay open for ever."""
    async with serving(keep_alive=1) as port, connected(port) as (reader, writer):
        writer.write(EARLY)
        assert await answers((reader, writer), 1) == [b"200 000000"]
        ended = asyncio.ensure_future(reader.read())
        for piece in rest:
            writer.write(piece)
            await asyncio.wait([ended], timeout=0.1)
            if ended.done():
                break
        assert await asyncio.wait_for(ended, 4) == b""


async def test_a_request_after_the_rest_of_one_answered_early_is_served() -> None:
    """And the time of the idle connection, which runs on with the rest, does not cut it off."""
    async with serving(keep_alive=2) as port, connected(port) as connection:
        connection[1].write(EARLY)
        assert await answers(connection, 1) == [b"200 000000"]
        await asyncio.sleep(1.2)
        connection[1].write(b"x" * 100)
        await asyncio.sleep(1.2)
        connection[1].write(SHORT + EARLY)
        assert await answers(connection, 2) == [b"200 000000", b"200 000000"]
        connection[1].write(b"x" * 100 + POSTED[:1_000])
        await asyncio.sleep(2.5)
        connection[1].write(POSTED[1_000:])
        assert await answers(connection, 1) == [b"200 300000"]
