"""A database with servicekit's own tables."""

from collections.abc import AsyncIterator

import pytest_asyncio

from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database


@pytest_asyncio.fixture
async def database(fresh_database: FreshDatabase) -> AsyncIterator[Database]:
    database = await Database.connect(await fresh_database("servicekit.migrations"), "test")
    yield database
    await database.close()
