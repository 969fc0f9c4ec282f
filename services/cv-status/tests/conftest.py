"""A cv-status on a real PostgreSQL and Kafka, with a registry stand-in beside it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from cv_citizens.renderer_testing import Renderer, rendering
from cv_status.app import create_app
from cv_status.settings import Settings
from cv_status.testing import TODAY, Registry, World
from cvhub.testing import FreshDatabase
from servicekit.follow.testing import made_live
from servicekit.settings import KafkaSettings, PostgresSettings
from servicekit.web.testing import Identities, in_process


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    registry = Registry()
    await registry.start()
    yield registry
    await registry.stop()


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    async with rendering() as renderer:
        yield renderer


@pytest.fixture
def make_settings(identities: Identities, registry: Registry, renderer: Renderer) -> Callable[..., Settings]:
    def make(postgres: PostgresSettings, kafka: KafkaSettings, **more: Any) -> Settings:
        parts: dict[str, Any] = {
            "postgres": postgres,
            "kafka": kafka,
            "identity": identities.settings("cv-status"),
            "request_secret": SecretStr("a secret of sixteen bytes"),
            "registry_url": registry.url,
            "registry_timeout": 1.0,
            "renderer_url": renderer.url,
            "renderer_timeout": 1.0,
        }
        return Settings(**{**parts, **more})

    return make


Start = Callable[[Settings], AbstractAsyncContextManager[World]]


@pytest.fixture
def start(identities: Identities, registry: Registry, renderer: Renderer) -> Start:

    @asynccontextmanager
    async def start(settings: Settings) -> AsyncIterator[World]:
        async with in_process(create_app(settings, clock=lambda: TODAY)) as (client, parts):
            yield World(client, parts.database, registry, identities.signers, settings, renderer)

    return start


@pytest.fixture
async def settings(fresh_database: FreshDatabase, make_settings: Callable[..., Settings]) -> Settings:
    """Give settings with a database of the test's own; there is no Kafka, which nobody who calls may notice."""
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:9")
    return make_settings(await fresh_database("cv_status.migrations"), nowhere)


@pytest.fixture
async def world(settings: Settings, start: Start) -> AsyncIterator[World]:
    """Give a running service whose replica is live and fresh."""
    await made_live(settings.postgres, "citizens")
    async with start(settings) as world:
        await world.heartbeat()
        yield world


@pytest.fixture
async def world_on_kafka(
    fresh_database: FreshDatabase,
    kafka_settings: KafkaSettings,
    make_settings: Callable[..., Settings],
    start: Start,
) -> AsyncIterator[World]:
    """Give a running service on a real Kafka, which nothing has been said on yet."""
    postgres = await fresh_database("cv_status.migrations")
    await made_live(postgres, "citizens")
    async with start(make_settings(postgres, kafka_settings)) as world:
        yield world
