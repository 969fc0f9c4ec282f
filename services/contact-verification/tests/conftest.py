"""A contact-verification on a real PostgreSQL, with a registry stand-in and real sinks for mail and SMS beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from contact_verification.app import create_app
from contact_verification.settings import MailSettings, SendingSettings, Settings, SmsSettings
from contact_verification.testing import TODAY, Registry, Sending, Start, ToSinks, World, live
from cvhub.sinks.certificate import certificate_file
from cvhub.sinks.mail import USERNAME
from cvhub.sinks.testing import PASSWORD, Sinks, running_sinks
from cvhub.testing import FreshDatabase
from servicekit.settings import KafkaSettings
from servicekit.web.testing import Identities, in_process

NOWHERE = 9


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    registry = Registry()
    await registry.start()
    yield registry
    await registry.stop()


@pytest.fixture
async def sinks(tmp_path: Path) -> AsyncIterator[Sinks]:
    async with running_sinks(tmp_path) as sinks:
        yield sinks


@pytest.fixture
async def settings(fresh_database: FreshDatabase, identities: Identities, registry: Registry) -> Settings:
    """Give settings with a database of the test's own; Kafka, mail and SMS are away, which nobody who calls may notice."""
    return Settings(
        postgres=await fresh_database("contact_verification.migrations"),
        kafka=KafkaSettings(bootstrap_servers=f"127.0.0.1:{NOWHERE}"),
        identity=identities.settings("contact-verification"),
        request_secret=SecretStr("a secret of sixteen bytes"),
        data_keys=SecretStr("k1:a data key of sixteen bytes"),
        blind_secret=SecretStr("a blind key of sixteen bytes"),
        code_secret=SecretStr("a code key of sixteen bytes"),
        registry_url=registry.url,
        registry_timeout=1.0,
        mail=MailSettings(port=NOWHERE),
        sms=SmsSettings(url=f"http://127.0.0.1:{NOWHERE}/messages"),
    )


@pytest.fixture
def start(identities: Identities, registry: Registry) -> Start:

    @asynccontextmanager
    async def start(settings: Settings) -> AsyncIterator[World]:
        async with in_process(create_app(settings, clock=lambda: TODAY)) as (client, parts):
            yield World(client, parts, parts.database, registry, identities.signers, settings)

    return start


@pytest.fixture
async def world(settings: Settings, start: Start) -> AsyncIterator[World]:
    async with live(start, settings) as world:
        yield world


@pytest.fixture
def to_sinks(sinks: Sinks) -> ToSinks:
    """Give a maker of settings of a service that sends to the sinks, quickly again where it must."""

    def make(settings: Settings, **sending: Any) -> Settings:
        quick = {"first_back_off": 0.05, "longest_back_off": 0.2, "circuit_rest": 0.2, "timeout": 2.0}
        mail = MailSettings(
            port=sinks.mail.port,
            ca_file=certificate_file(sinks.folder),
            username=USERNAME,
            password=SecretStr(PASSWORD),
        )
        sms = SmsSettings(url=sinks.sms_url, token=SecretStr(PASSWORD))
        changed = {"mail": mail, "sms": sms, "sending": SendingSettings(**{**quick, **sending})}
        return settings.model_copy(update=changed)

    return make


@pytest.fixture
def sending(settings: Settings, start: Start, to_sinks: ToSinks) -> Sending:
    """Give a maker of worlds whose messages go to the sinks; what it is told says how."""

    @asynccontextmanager
    async def sending(**how: Any) -> AsyncIterator[World]:
        async with live(start, to_sinks(settings, **how)) as world:
            yield world

    return sending


@pytest.fixture
async def posted(sending: Sending) -> AsyncIterator[World]:
    """Give a world whose messages go to the sinks."""
    async with sending() as world:
        yield world
