"""A change-feed on a real PostgreSQL and Kafka, with a registry stand-in beside it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from change_feed import leading
from change_feed.app import create_app
from change_feed.settings import Settings
from change_feed.testing import Registry, World, Writer, log_writer
from cv_citizens.danish_time import Clock, utc_now
from cvhub.testing import FreshDatabase
from servicekit.settings import KafkaSettings, PostgresSettings
from servicekit.testing import eventually
from servicekit.web.testing import Identities, in_process

MIGRATIONS = "change_feed.migrations"


@pytest.fixture(autouse=True)
def no_long_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the writer look at once for what nobody tells it of."""
    for name in ("CALENDAR_EVERY", "REREADS_EVERY"):
        monkeypatch.setattr(leading, name, 0.25)


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    registry = Registry()
    await registry.start()
    yield registry
    await registry.stop()


@pytest.fixture
async def log(kafka_settings: KafkaSettings) -> AsyncIterator[Writer]:
    async with log_writer(kafka_settings) as writer:
        yield writer


MakeSettings = Callable[..., Settings]
Start = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def make_settings(identities: Identities, registry: Registry, kafka_settings: KafkaSettings) -> MakeSettings:
    def make(postgres: PostgresSettings, **more: Any) -> Settings:
        parts: dict[str, Any] = {
            "postgres": postgres,
            "kafka": kafka_settings,
            "identity": identities.settings("change-feed"),
            "request_secret": SecretStr("a secret of sixteen bytes"),
            "registry_url": registry.url,
            "registry_timeout": timedelta(seconds=1),
            "unknown_patience": timedelta(0),
        }
        return Settings(**{**parts, **more})

    return make


@pytest.fixture
def start(identities: Identities, registry: Registry, log: Writer) -> Start:

    @asynccontextmanager
    async def start(settings: Settings, clock: Clock = utc_now) -> AsyncIterator[World]:
        app = create_app(settings, clock=clock)
        async with in_process(app) as (client, parts):
            world = World(client, parts.database, registry, identities.signers, settings, log, app.health)
            await eventually(world.has_begun)
            yield world

    return start


@pytest.fixture
async def settings(fresh_database: FreshDatabase, make_settings: MakeSettings) -> Settings:
    return make_settings(await fresh_database(MIGRATIONS))


@pytest.fixture
async def world(settings: Settings, start: Start) -> AsyncIterator[World]:
    async with start(settings) as world:
        yield world
