"""Connections to Kafka, PostgreSQL and between services: cut, slow, half-open, ended in the middle of a frame."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import cycle, islice

import httpx
from tests.drills.drill import Scene, drill
from tests.drills.proxy import Trouble
from tests.e2e.caller import Caller, population
from tests.e2e.system import REGISTRY

from servicekit.testing import eventually
from servicekit.web.tls import trusting

READERS_OF_DOCUMENTS = 160
"""As many as the gateway lets wait for or be at one owner."""
READER_SECONDS, READER_PAUSE = 60.0, 1.0


async def _troubled(scene: Scene, trouble: Trouble, part: str, seconds: float) -> None:
    scene.proxy(part).give(trouble)
    await scene.lasts(seconds)
    scene.proxy(part).give("none")


@drill(10, "Kafka is slow: 2 s for each piece, for 30 s")
async def kafka_slow(scene: Scene) -> None:
    await _troubled(scene, "slow", "Kafka", 30)


@drill(11, "connections to Kafka become half-open")
async def kafka_half_open(scene: Scene) -> None:
    await _troubled(scene, "silent", "Kafka", 5)


@drill(11, "connections to PostgreSQL become half-open")
async def postgres_half_open(scene: Scene) -> None:
    await _troubled(scene, "silent", "PostgreSQL", 5)


@drill(11, "connections to the registry become half-open")
async def registry_half_open(scene: Scene) -> None:
    await _troubled(scene, "silent", REGISTRY, 5)


async def _truncated(scene: Scene, part: str) -> None:
    for _ in range(5):
        await _troubled(scene, "truncating", part, 0.3)
        await scene.lasts(1)


@drill(12, "connections to Kafka end in the middle of a frame, for 0.3 s, five times")
async def kafka_truncated(scene: Scene) -> None:
    await _truncated(scene, "Kafka")


@drill(12, "connections to PostgreSQL end in the middle of a frame, for 0.3 s, five times")
async def postgres_truncated(scene: Scene) -> None:
    await _truncated(scene, "PostgreSQL")


@drill(12, "connections to the registry end in the middle of a frame, for 0.3 s, five times")
async def registry_truncated(scene: Scene) -> None:
    await _truncated(scene, REGISTRY)


@drill(
    None,
    "pdf-renderer hangs for 30 s, while 160 ask for documents: nobody who asks for something else notices",
    no_failures=True,
)
async def renderer_hangs(scene: Scene) -> None:
    caller = scene.press.readers.caller
    async with _reading_documents(caller):
        await _troubled(scene, "silent", "pdf-renderer", 30)

    async def comes() -> None:
        answer = await caller.call("GET", "/v6/Cv/pdf", population(200)[0].person_number)
        assert answer.status_code == httpx.codes.OK, answer.text

    await eventually(comes)


@asynccontextmanager
async def _reading_documents(caller: Caller) -> AsyncIterator[None]:
    """Let many ask for documents, whatever becomes of it, while the block runs."""
    ending = asyncio.Event()

    async def read(http: httpx.AsyncClient, person_number: str) -> None:
        reader = replace(caller, http=http, user="reader-of-documents")
        while not ending.is_set():
            await reader.call("GET", "/v6/Cv/pdf", person_number)
            await asyncio.sleep(READER_PAUSE)

    limits = httpx.Limits(max_connections=READERS_OF_DOCUMENTS)
    async with (
        httpx.AsyncClient(timeout=READER_SECONDS, trust_env=False, verify=trusting(), limits=limits) as http,
        asyncio.TaskGroup() as group,
    ):
        for one in islice(cycle(population(200)), READERS_OF_DOCUMENTS):
            group.create_task(read(http, one.person_number))
        try:
            yield
        finally:
            ending.set()


@drill(None, "every connection of the system is cut at once, five times")
async def all_cut(scene: Scene) -> None:
    for _ in range(5):
        for proxy in scene.system.proxies.values():
            proxy.give("cut")
        await scene.lasts(0.5)
        for proxy in scene.system.proxies.values():
            proxy.give("none")
        await scene.lasts(1)
