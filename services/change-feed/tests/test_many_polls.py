"""Thousands wait on one process: they cost no work while nothing happens, and each hears at once when something does."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from change_feed.settings import Settings
from change_feed.testing import World
from cv_citizens.testing import MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation
from cvhub.servers.process import ServerProcess
from servicekit.testing import free_port

pytestmark = pytest.mark.infra

HERE, THERE = a_caller(MUNICIPALITY), a_caller(OTHER_MUNICIPALITY)


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


async def _poll(port: int, head: str, limit: asyncio.Semaphore) -> list[Any]:
    async with limit:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode())
        await writer.drain()
    answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(
        int(line.split(":")[1]) for line in answer.lower().split("\r\n") if line.startswith("content-length")
    )
    body = await reader.readexactly(length)
    writer.close()
    assert answer.startswith("HTTP/1.1 200"), answer
    found: list[Any] = json.loads(body)
    return found


async def _many(world: World, port: int, number: int) -> None:
    here, there = world.person(relation(MUNICIPALITY)), world.person(relation(OTHER_MUNICIPALITY))
    await world.log.send(world.cv(here), world.cv(there))
    while len(await world.all_of(THERE)) < 1 or len(await world.all_of(HERE)) < 1:  # noqa: ASYNC110 - until both are there
        await asyncio.sleep(0.05)
    heads = {}
    for who in (HERE, THERE):
        after = (await world.feed(who)).headers["x-feed-to"]
        token = world.headers(who)["authorization"]
        heads[who.active] = (
            f"GET /v1/feed/cv?lastEventId={after}&timeout=60000 HTTP/1.1\r\nhost: feed\r\nauthorization: {token}\r\n\r\n"
        )
    limit = asyncio.Semaphore(200)
    idle = [asyncio.create_task(_poll(port, heads[THERE.active], limit)) for _ in range(number)]
    mine = asyncio.create_task(_poll(port, heads[HERE.active], limit))
    while limit.locked() or limit._value < 200:  # noqa: ASYNC110 - until all have asked
        await asyncio.sleep(0.05)
    await world.log.send(world.cv(here))
    events = await asyncio.wait_for(mine, 60)
    assert len(events) == 1
    assert not any(task.done() for task in idle)
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
