"""A database behind connections that are open and bring no answer any more."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from cvhub.testing import FreshDatabase
from servicekit.data.postgres import RELEASE_WITHIN, Database
from servicekit.testing import eventually

pytestmark = [pytest.mark.infra, pytest.mark.slow]


@dataclass
class Silence:
    """Between a client and a server: passes everything on, or takes everything and passes nothing on."""

    host: str
    port: int
    speaks: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        self.speaks.set()
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()

    async def _pass(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        far, to_far = await asyncio.open_connection(self.host, self.port)
        await asyncio.gather(self._one_way(near, to_far), self._one_way(far, to_near))

    async def _one_way(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(65_536):
                await self.speaks.wait()
                target.write(piece)
        except ConnectionError:
            pass
        finally:
            target.close()


@pytest.fixture
async def silence(fresh_database: FreshDatabase) -> AsyncIterator[tuple[Silence, Database]]:
    """A database with one connection, and what stands before it."""
    settings = await fresh_database("servicekit.migrations")
    there = urlsplit(settings.dsn)
    silence = Silence(there.hostname or "", there.port or 0)
    async with silence.open() as port:
        dsn = there._replace(netloc=there.netloc.rpartition("@")[0] + f"@127.0.0.1:{port}").geturl()
        one = {"dsn": dsn, "pool_min": 1, "pool_max": 1}
        database = await Database.connect(settings.model_copy(update=one), "test")
        yield silence, database
        silence.speaks.set()
        await database.close()


async def works(database: Database) -> None:
    assert await database.fetchval("select 1") == 1


async def test_a_statement_that_is_given_up_holds_nobody_up_and_its_connection_is_replaced(
    silence: tuple[Silence, Database],
) -> None:
    between, database = silence
    between.speaks.clear()
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await database.execute("select 1")
    assert time.monotonic() - begun < 0.5 + RELEASE_WITHIN + 10
    between.speaks.set()
    await eventually(lambda: works(database))
    assert (database.pool.get_size(), database.pool.get_idle_size()) == (1, 1)


async def test_who_is_cancelled_meanwhile_stays_cancelled(silence: tuple[Silence, Database]) -> None:
    between, database = silence
    between.speaks.clear()
    asking = asyncio.create_task(database.execute("select 1"))
    await asyncio.wait({asking}, timeout=0.5)
    asking.cancel()
    begun = time.monotonic()
    await asyncio.wait({asking}, timeout=30)
    assert time.monotonic() - begun < RELEASE_WITHIN + 10
    assert asking.cancelled()
