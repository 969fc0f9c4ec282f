"""A cv-search on a real PostgreSQL, with a stand-in for its two owners beside it; and one on a real Kafka."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cv_contracts.codelists import default
from cv_search.app import create_app
from cv_search.engine_testing import OpenOne, Text, opensearch_at, tantivy_in
from cv_search.port import Engine, Query
from cv_search.reference import Reference
from cv_search.settings import IndexSettings, ReaderSettings, Settings
from cv_search.testing import Owners, World
from cv_search.text import clauses
from cvhub.servers.opensearch import OpenSearchServer
from cvhub.testing import FreshDatabase
from servicekit.settings import KafkaSettings, PostgresSettings
from servicekit.testing import eventually
from servicekit.web.testing import Identities, in_process

MakeSettings = Callable[..., Settings]
Start = Callable[[Settings], AbstractAsyncContextManager[World]]


@pytest.fixture
async def owners() -> AsyncIterator[Owners]:
    owners = Owners()
    await owners.start()
    yield owners
    await owners.stop()


@pytest.fixture
def make_settings(identities: Identities, owners: Owners, tmp_path: Path) -> MakeSettings:
    def make(postgres: PostgresSettings, kafka: KafkaSettings, **more: Any) -> Settings:
        parts: dict[str, Any] = {
            "postgres": postgres,
            "kafka": kafka,
            "identity": identities.settings("cv-search"),
            "index": IndexSettings(folder=tmp_path / "index", commit_every=0.02),
            "readers": ReaderSettings(processes=1),
            "registry_url": owners.url,
            "status_url": owners.url,
        }
        return Settings(**{**parts, **more})

    return make


@pytest.fixture
def start(identities: Identities, owners: Owners) -> Start:

    @asynccontextmanager
    async def start(settings: Settings) -> AsyncIterator[World]:
        async with in_process(create_app(settings)) as (client, parts):
            yield World(owners, client, parts, identities.signers)

    return start


@pytest.fixture
async def settings(fresh_database: FreshDatabase, make_settings: MakeSettings) -> Settings:
    """Give settings with a database of the test's own; there is no Kafka, which nobody who asks may notice."""
    postgres = await fresh_database("cv_search.migrations")
    return make_settings(postgres, KafkaSettings(bootstrap_servers="127.0.0.1:9"))


@pytest.fixture
async def world(settings: Settings, start: Start) -> AsyncIterator[World]:
    """Give a running service whose projections are live and fresh and whose index is there, both empty."""
    async with start(settings) as world:
        await eventually(lambda: world.parts.indexer.serving)
        await world.heartbeat()
        yield world


@pytest.fixture
async def world_on_kafka(
    fresh_database: FreshDatabase, kafka_settings: KafkaSettings, make_settings: MakeSettings, start: Start
) -> AsyncIterator[World]:
    """Give a running service on a real Kafka, which nothing has been said on yet."""
    async with start(make_settings(await fresh_database("cv_search.migrations"), kafka_settings)) as world:
        await eventually(lambda: world.parts.indexer.serving)
        yield world


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference(default())


@pytest.fixture(scope="session")
def opensearch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of an OpenSearch of this test run's own."""
    server = OpenSearchServer(tmp_path_factory.mktemp("opensearch"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="module", params=["tantivy", pytest.param("opensearch", marks=pytest.mark.opensearch)])
def open_one(
    request: pytest.FixtureRequest, reference: Reference, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenOne]:
    """Give what opens indexes of the engine under test."""
    if request.param == "opensearch":
        url: str = request.getfixturevalue("opensearch")
        prefix = request.module.__name__.rpartition(".")[2].replace("_", "-")
        with opensearch_at(url, prefix, reference) as open_one:
            yield open_one
    else:
        yield tantivy_in(tmp_path_factory.mktemp("indexes"), reference)


@pytest.fixture(scope="module")
def names() -> Iterator[str]:
    return (f"engine-{number}" for number in count())


@pytest.fixture
def engine(open_one: OpenOne, names: Iterator[str]) -> Iterator[Engine]:
    engine = open_one(next(names))
    yield engine
    engine.close()


@pytest.fixture
def text(reference: Reference) -> Text:
    return lambda typed: Query(text=clauses(typed, reference))
