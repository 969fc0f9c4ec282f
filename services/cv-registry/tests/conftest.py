from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from cv_citizens.renderer_testing import rendering
from cv_registry.app import create_app
from cv_registry.contact_testing import ContactOwner
from cv_registry.letter_testing import World
from cv_registry.settings import SERVICE
from cv_registry.testing import RegistryClient, SettableClock, some_settings
from cvhub.sinks.testing import PASSWORD, Sinks, running_sinks
from cvhub.testing import FreshDatabase
from servicekit.data.postgres import Database
from servicekit.follow.testing import make_live
from servicekit.settings import PostgresSettings
from servicekit.web.testing import Identities, in_process


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
    postgres: PostgresSettings, identities: Identities, clock: SettableClock
) -> AsyncIterator[RegistryClient]:
    """Give a running registry without Kafka: its events stay in the outbox."""
    identity, signers = identities.settings(SERVICE), identities.signers
    async with in_process(create_app(some_settings(postgres, identity), clock=clock)) as (client, _):
        yield RegistryClient(client, signers)


@pytest.fixture
def owner() -> ContactOwner:
    return ContactOwner()


@pytest_asyncio.fixture
async def registry_with_contacts(
    postgres: PostgresSettings,
    database: Database,
    identities: Identities,
    clock: SettableClock,
    owner: ContactOwner,
) -> AsyncIterator[RegistryClient]:
    """Give a registry whose ReplaceCVs have their contact data prepared by `owner`."""
    identity, signers = identities.settings(SERVICE), identities.signers
    settings = some_settings(postgres, identity, contact_url=owner.url, contact_timeout=1.0)
    await make_live(database, "contacts")
    async with owner.serving(identity), in_process(create_app(settings, clock=clock)) as (client, _):
        yield RegistryClient(client, signers)


@pytest_asyncio.fixture
async def sinks(tmp_path: Path) -> AsyncIterator[Sinks]:
    async with running_sinks(tmp_path) as sinks:
        yield sinks


@pytest_asyncio.fixture
async def world(
    postgres: PostgresSettings,
    database: Database,
    sinks: Sinks,
    clock: SettableClock,
    identities: Identities,
) -> AsyncIterator[World]:
    identity, signers = identities.settings(SERVICE), identities.signers
    async with rendering() as renderer:
        settings = some_settings(
            postgres,
            identity,
            renderer_url=renderer.url,
            renderer_timeout=timedelta(seconds=1),
            print_url=sinks.print_url,
            print_token=SecretStr(PASSWORD),
            print_timeout=timedelta(seconds=0.8),
            letters_settled_every=timedelta(seconds=3600),
        )

        @asynccontextmanager
        async def start() -> AsyncIterator[RegistryClient]:
            async with in_process(create_app(settings, clock=clock)) as (client, _):
                yield RegistryClient(client, signers)

        async with start() as registry:
            yield World(registry, renderer, database, start)
