from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cv_registry.app import create_app
from cv_registry.testing import RegistryClient, SettableClock, identities, running, some_settings
from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.settings import PostgresSettings


@pytest_asyncio.fixture
async def postgres(fresh_database: FreshDatabase) -> PostgresSettings:
    return await fresh_database("cv_registry.migrations")


@pytest_asyncio.fixture
async def database(postgres: PostgresSettings) -> AsyncIterator[Database]:
    """Give the registry's own database, for a test that looks into it."""
    database = await Database.connect(postgres, "test")
    yield database
    await database.close()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest_asyncio.fixture
async def registry(
    postgres: PostgresSettings, tmp_path: Path, clock: SettableClock
) -> AsyncIterator[RegistryClient]:
    """Give a running registry without Kafka: its events stay in the outbox."""
    identity, signers = identities(tmp_path)
    async with running(create_app(some_settings(postgres, identity), clock=clock)) as client:
        yield RegistryClient(client, signers)
