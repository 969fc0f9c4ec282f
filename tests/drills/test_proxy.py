"""What the proxy of the drills does to connections, over real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest
from tests.drills.proxy import Proxy

from servicekit.testing import eventually

QUIET = 0.15


@dataclass
class Line:
    """A connection through the proxy to a server that says everything back."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def says_back(self, text: bytes) -> bytes:
        self.writer.write(text)
        return await self.reader.readexactly(len(text))


Connect = Callable[[Proxy], Awaitable[Line]]


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    async def say_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(say_back, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy(echo, delay=QUIET) as proxy:
        yield proxy


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    made: list[Line] = []

    async def connect(proxy: Proxy) -> Line:
        made.append(Line(*await asyncio.open_connection("127.0.0.1", proxy.port)))
        return made[-1]

    yield connect
    for line in made:
        line.writer.close()


@pytest.fixture
async def line(proxy: Proxy, connect: Connect) -> Line:
    return await connect(proxy)


async def test_without_trouble_all_bytes_pass_both_ways(line: Line) -> None:
    assert await line.says_back(b"abc" * 300) == b"abc" * 300


async def test_a_cut_ends_open_connections_and_refuses_new_ones_until_healed(
    proxy: Proxy, line: Line, connect: Connect
) -> None:
    assert await line.says_back(b"abc") == b"abc"
    proxy.give("cut")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await line.says_back(b"abc")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await (await connect(proxy)).says_back(b"abc")
    proxy.give("none")
    assert await (await connect(proxy)).says_back(b"abc") == b"abc"


async def test_a_slow_one_delays_each_piece_and_loses_none(proxy: Proxy, line: Line) -> None:
    proxy.give("slow")
    begun = time.monotonic()
    assert await line.says_back(b"abc") == b"abc"
    assert time.monotonic() - begun >= 2 * QUIET


async def test_a_silent_connection_stays_silent_and_open_also_when_the_network_is_well_again(
    proxy: Proxy, line: Line, connect: Connect
) -> None:
    assert await line.says_back(b"abc") == b"abc"
    proxy.give("silent")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(line.says_back(b"lost"), QUIET)
    proxy.give("none")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(line.says_back(b"lost as well"), QUIET)
    assert await (await connect(proxy)).says_back(b"abc") == b"abc"


async def test_a_frame_ends_in_its_middle_and_the_connection_with_it(proxy: Proxy, line: Line) -> None:
    assert await line.says_back(b"abc") == b"abc"
    proxy.give("truncating")
    line.writer.write(b"0123456789")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await line.reader.readexactly(10)


async def test_where_no_server_listens_the_next_one_is_taken(echo: int, connect: Connect) -> None:
    with Proxy(1, echo) as proxy:
        for _ in range(3):
            assert await (await connect(proxy)).says_back(b"abc") == b"abc"


async def test_nothing_is_left_of_connections_that_ended(proxy: Proxy, line: Line) -> None:
    assert await line.says_back(b"abc") == b"abc"
    line.writer.close()
    await eventually(lambda: not proxy.ends)
