"""A door that is closed leaves nothing open, wherever it stood with those who had come."""

import asyncio
import socket
from contextlib import ExitStack

import pytest
from tests.e2e.door import Door


def come(door: Door) -> socket.socket:
    return socket.create_connection(("127.0.0.1", door.port), timeout=10)


def is_over(connection: socket.socket) -> bool:
    """Tell whether the other side has ended it; raises TimeoutError if not."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_who_waits_for_a_server_is_told_when_the_door_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    door, asked = Door(), asyncio.Event()

    async def connecting() -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(door, "_connected", connecting)
    with ExitStack() as opened:
        with door:
            visitor = opened.enter_context(come(door))
            asyncio.run_coroutine_threadsafe(asked.wait(), door._loop).result(10)
        assert is_over(visitor)


def test_whoever_comes_while_the_door_closes_is_not_left_standing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as opened:
        for _ in range(30):
            with Door(server.getsockname()[1]) as door:
                visitors = [opened.enter_context(come(door)) for _ in range(5)]
            assert all(map(is_over, visitors))
