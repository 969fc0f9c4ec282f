"""The pytest plugin: a real PostgreSQL and a real Kafka, started once per run when first asked for.

`CVHUB_POSTGRES` (a superuser's DSN) and `CVHUB_KAFKA` (bootstrap servers) point at existing servers instead.
What the plugin starts lives in a temporary folder and ends with pytest, also when pytest is killed.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from cv_contracts.topics import Topic
    from cvhub.servers.kafka import KafkaServer
    from cvhub.servers.postgres import PostgresServer
    from servicekit.settings import KafkaSettings, PostgresSettings
    from servicekit.web.testing import Identities

MEMORY, ROOM_BYTES = Path("/dev/shm"), 4 * 1024**3  # noqa: S108 - no file of a known name
SCRAM_USER = ("scram-user", "scram-password")
Server = TypeVar("Server", bound="PostgresServer | KafkaServer")


class FreshDatabase(Protocol):
    """Makes a new database, migrated by servicekit and `migrations`; with None it is empty."""

    async def __call__(self, migrations: str | None = None) -> "PostgresSettings": ...


class _Used(Generic[Server]):
    """A server as tests use it; an existing one, which `setting` names, can be used but not stopped."""

    setting: ClassVar[str]

    def __init__(self, server: Server | None) -> None:
        self._server = server

    @property
    def server(self) -> Server:
        if self._server is None:
            pytest.fail(f"this test stops {type(self).__name__}: run it without {self.setting}")
        return self._server

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def restart(self) -> None:
        self.server.restart()


class Postgres(_Used["PostgresServer"]):
    """A PostgreSQL for tests."""

    setting = "CVHUB_POSTGRES"

    def __init__(self, dsn: str, server: "PostgresServer | None") -> None:
        super().__init__(server)
        self.dsn = dsn
        self.templates: dict[str, str] = {}


class Kafka(_Used["KafkaServer"]):
    """A Kafka broker for tests."""

    setting = "CVHUB_KAFKA"

    def __init__(self, bootstrap_servers: str, server: "KafkaServer | None") -> None:
        super().__init__(server)
        self.bootstrap_servers = bootstrap_servers


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """Give the PostgreSQL of the run. Do not stop it: take `own_postgres` for that."""
    existing = os.environ.get(Postgres.setting)
    if existing:
        yield Postgres(existing, None)
        return
    yield from _private_postgres()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """Give a PostgreSQL for this test alone, which may be stopped and killed."""
    yield from _private_postgres()


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[Kafka]:
    """Give the Kafka of the run. Do not stop it: take `own_kafka` for that."""
    existing = os.environ.get(Kafka.setting)
    if existing:
        yield Kafka(existing, None)
        return
    yield from _private_kafka()


@pytest.fixture
def own_kafka() -> Iterator[Kafka]:
    """Give a Kafka broker for this test alone, which may be stopped and killed; it has no topics."""
    yield from _private_kafka()


@pytest.fixture
def scram_kafka() -> "Iterator[KafkaSettings]":
    """Give a broker of this test's own whose listener demands SCRAM-SHA-512; the settings know the right password."""
    from pydantic import SecretStr  # noqa: PLC0415

    from servicekit.settings import KafkaSettings  # noqa: PLC0415

    name, password = SCRAM_USER
    for kafka in _private_kafka({name: password}):
        yield KafkaSettings(
            bootstrap_servers=kafka.server.scram_bootstrap_servers,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username=name,
            sasl_password=SecretStr(password),
        )


@pytest_asyncio.fixture
async def fresh_database(postgres_server: Postgres) -> AsyncIterator[FreshDatabase]:
    """Give a factory of databases of this test's own, each a copy of a template migrated once per run."""
    made: list[str] = []

    async def make(migrations: str | None = None) -> "PostgresSettings":
        return await _fresh(postgres_server, migrations, made)

    yield make
    await _drop(postgres_server.dsn, made)


@pytest.fixture
def kafka_topics() -> "Sequence[Topic]":
    """Give the topics that each test finds: all, or fewer where a suite says so, for they take most of a second to make."""
    from cv_contracts.topics import TOPICS  # noqa: PLC0415

    return TOPICS


@pytest_asyncio.fixture
async def kafka_settings(
    kafka_broker: Kafka, kafka_topics: "Sequence[Topic]"
) -> "AsyncIterator[KafkaSettings]":
    """Give settings with a topic prefix of this test's own, under which the topics of the suite exist."""
    from servicekit.kafka_admin import ensure_topics  # noqa: PLC0415
    from servicekit.settings import KafkaSettings  # noqa: PLC0415

    settings = KafkaSettings(
        bootstrap_servers=kafka_broker.bootstrap_servers, topic_prefix=f"t{secrets.token_hex(4)}."
    )
    await ensure_topics(settings, kafka_topics)
    yield settings
    await _delete_topics(settings, [topic.name for topic in kafka_topics])


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> "Identities":
    """Give keys of all services, of those who call them, and of a stranger; all know each other."""
    from cvhub.services import IDENTITIES, SERVICES  # noqa: PLC0415
    from servicekit.web.testing import Identities  # noqa: PLC0415

    known = (*(service.name for service in SERVICES), *IDENTITIES, "stranger")
    return Identities(tmp_path_factory.mktemp("keys"), known)


def _private_postgres() -> Iterator[Postgres]:
    from cvhub.servers.guard import guard  # noqa: PLC0415
    from cvhub.servers.postgres import PostgresServer  # noqa: PLC0415

    folder = _folder("cvhub-postgres-")
    guard().remove_at_end(folder)
    server = PostgresServer(folder, durable=False)
    try:
        server.start()
        yield Postgres(server.dsn, server)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _private_kafka(scram_users: dict[str, str] | None = None) -> Iterator[Kafka]:
    from cvhub.servers.guard import guard  # noqa: PLC0415
    from cvhub.servers.kafka import KafkaServer  # noqa: PLC0415

    folder = _folder("cvhub-kafka-")
    guard().remove_at_end(folder)
    server = KafkaServer(folder, scram_users=scram_users)
    try:
        server.start()
        yield Kafka(server.bootstrap_servers, server)
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _folder(prefix: str) -> Path:
    """Make a folder, in memory where there is room: a broker syncs several files for each partition that a test makes."""
    in_memory = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES else None
    return Path(tempfile.mkdtemp(prefix=prefix, dir=in_memory))


async def _fresh(postgres: Postgres, migrations: str | None, made: list[str]) -> "PostgresSettings":
    import asyncpg  # noqa: PLC0415

    from servicekit.settings import PostgresSettings  # noqa: PLC0415

    template = await _template(postgres, migrations) if migrations else "template1"
    name = f"t_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(postgres.dsn)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
    finally:
        await connection.close()
    made.append(name)
    return PostgresSettings(dsn=_with_database(postgres.dsn, name))


async def _template(postgres: Postgres, migrations: str) -> str:
    """Give the template database of a migrations package; made when first asked for."""
    import asyncpg  # noqa: PLC0415

    from servicekit.data.postgres import migrate  # noqa: PLC0415

    if migrations not in postgres.templates:
        name = f"template_{migrations.replace('.', '_')}_{secrets.token_hex(4)}"
        connection = await asyncpg.connect(postgres.dsn)
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        await migrate(_with_database(postgres.dsn, name), migrations)
        postgres.templates[migrations] = name
    return postgres.templates[migrations]


async def _drop(dsn: str, names: list[str]) -> None:
    import asyncpg  # noqa: PLC0415

    connection = await asyncpg.connect(dsn)
    try:
        for name in names:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()


async def _delete_topics(settings: "KafkaSettings", names: list[str]) -> None:
    from aiokafka.admin import AIOKafkaAdminClient  # noqa: PLC0415

    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([settings.topic_prefix + name for name in names])
    finally:
        await admin.close()


def _with_database(dsn: str, name: str) -> str:
    from urllib.parse import urlsplit  # noqa: PLC0415

    return urlsplit(dsn)._replace(path=f"/{name}").geturl()
