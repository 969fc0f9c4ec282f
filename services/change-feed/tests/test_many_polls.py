"""Thousands wait on one process: they cost no work while nothing happens, and each hears at once when something does."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from change_feed.settings import Settings
from change_feed.testing import World
from cv_citizens.testing import MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation
from cvhub.servers.process import ServerProcess
from servicekit.caller import Caller
from servicekit.testing import free_port

pytestmark = pytest.mark.infra

HERE, THERE = a_caller(MUNICIPALITY), a_caller(OTHER_MUNICIPALITY)
AT_ONCE = 200
POLL = 60_000
"""Milliseconds, the longest that there is."""
Asked = tuple[asyncio.StreamReader, asyncio.StreamWriter, float]


@pytest.fixture
def server(settings: Settings, tmp_path: Path) -> Iterator[tuple[ServerProcess, int]]:
    """Give a change-feed as a process of its own, beside the one in the test."""
    port = free_port()
    env = {
        **os.environ,
        "POSTGRES__DSN": settings.postgres.dsn,
        "KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
        "HTTP__PORT": str(port),
        "HTTP__BACKLOG": "16384",
        "IDENTITY__KEY_FILE": str(settings.identity.key_file),
        "IDENTITY__TRUSTED_FILE": str(settings.identity.trusted_file),
        "REQUEST_SECRET": settings.request_secret.get_secret_value(),
        "REGISTRY_URL": settings.registry_url,
    }
    process = ServerProcess(
        "feed-under-test", [sys.executable, "-m", "change_feed"], log=tmp_path / "feed.log", env=env
    )
    process.start()
    process.wait_until(lambda: _listens(port), seconds=60)
    yield process, port
    process.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Poller:
    """One who follows the feed of the process at a port, from a position on."""

    world: World
    port: int
    who: Caller
    after: str

    async def ask(self, milliseconds: int = POLL) -> Asked:
        """Send a poll, with a token of the moment as a gateway has it; gives the connection, and when that was."""
        asked = monotonic()
        token = self.world.headers(self.who)["authorization"]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        path = f"/v1/feed/cv?lastEventId={self.after}&timeout={milliseconds}"
        writer.write(f"GET {path} HTTP/1.1\r\nhost: feed\r\nauthorization: {token}\r\n\r\n".encode())
        await writer.drain()
        return reader, writer, asked

    async def hear(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: float
    ) -> list[Any]:
        """Wait for the answer. Who hears nothing for the whole time asks anew; an empty answer before that is one."""
        while True:
            found = await _answer(reader, writer)
            if found or monotonic() - asked < POLL / 1000:
                return found
            reader, writer, asked = await self.ask()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[Any]:
    answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(
        int(line.split(":")[1]) for line in answer.lower().split("\r\n") if line.startswith("content-length")
    )
    body = await reader.readexactly(length)
    writer.close()
    assert answer.startswith("HTTP/1.1 200"), answer
    found: list[Any] = json.loads(body)
    return found


async def _begin(poller: Poller, number: int) -> list[asyncio.Task[list[Any]]]:
    """Begin polls, no more at once than the process takes in before their tokens are over, however slow the machine."""
    polls: list[asyncio.Task[list[Any]]] = []
    for begun in range(0, number, AT_ONCE):
        asked = await asyncio.gather(*[poller.ask() for _ in range(min(AT_ONCE, number - begun))])
        polls += [asyncio.create_task(poller.hear(*one)) for one in asked]
        # The process takes in what comes in its order: once the last one is answered, the others wait.
        reader, writer, _ = await poller.ask(milliseconds=0)
        assert await _answer(reader, writer) == []
    return polls


async def _many(world: World, port: int, number: int) -> None:
    here, there = world.person(relation(MUNICIPALITY)), world.person(relation(OTHER_MUNICIPALITY))
    await world.log.send(world.cv(here), world.cv(there))
    while len(await world.all_of(THERE)) < 1 or len(await world.all_of(HERE)) < 1:  # noqa: ASYNC110 - until both are there
        await asyncio.sleep(0.05)
    mine, others = [
        Poller(world, port, who, (await world.feed(who)).headers["x-feed-to"]) for who in (HERE, THERE)
    ]
    idle = await _begin(others, number)
    [poll] = await _begin(mine, 1)
    await world.log.send(world.cv(here))
    events = await asyncio.wait_for(poll, 60)
    assert len(events) == 1
    assert [task.exception() or task.result() for task in idle if task.done()] == []
    made = world.cv(there)
    await world.log.send(made)
    answers = await asyncio.wait_for(asyncio.gather(*idle), 50)
    assert {answer[0]["eventid"] for answer in answers} == {str(made.id)}


@pytest.mark.long
async def test_hundreds_of_idle_polls_hear_only_what_is_theirs(
    world: World, server: tuple[ServerProcess, int]
) -> None:
    await _many(world, server[1], 300)


@pytest.mark.long
async def test_ten_thousand_idle_polls_on_one_process(
    world: World, server: tuple[ServerProcess, int]
) -> None:
    await _many(world, server[1], 10_000)
