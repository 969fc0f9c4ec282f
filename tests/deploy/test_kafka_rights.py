"""A real broker that knows nothing but what the contracts say: who may write, who may read, who may do neither."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.fetch import FetchRequest
from pydantic import SecretStr

from cv_contracts.kafka_rights import OPERATOR, acls, principals
from cv_contracts.topics import SERVICES, TOPICS, Topic
from cvhub.doctor.kafka import topics
from cvhub.doctor.patient import Patient
from cvhub.operator import Place
from cvhub.servers.kafka import KafkaServer
from servicekit import kafka
from servicekit.kafka_admin import ensure_acls, ensure_topics
from servicekit.settings import KafkaSettings

pytestmark = pytest.mark.infra

STRANGER = "stranger"
PASSWORD = "only-in-this-test"
EVERYBODY = (*SERVICES, OPERATOR, STRANGER)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    folder = tmp_path_factory.mktemp("guarded")
    server = KafkaServer(folder, scram_users=dict.fromkeys(EVERYBODY, PASSWORD), guarded=True)
    server.start()
    try:
        asyncio.run(_prepare(KafkaSettings(bootstrap_servers=server.bootstrap_servers)))
        yield server
    finally:
        server.kill()


async def _prepare(plain: KafkaSettings) -> None:
    await ensure_topics(plain, TOPICS)
    allowed = [acl for name in principals() for acl in acls(name)]
    assert await ensure_acls(plain, allowed) == await ensure_acls(plain, allowed)
    sender = kafka.producer(plain, "prepare")
    await sender.start()
    for topic in TOPICS:
        await sender.send_and_wait(topic.name, b"{}", partition=0)
    await sender.stop()


def as_principal(broker: KafkaServer, name: str) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=broker.scram_bootstrap_servers,
        security_protocol="SASL_PLAINTEXT",
        sasl_username=name,
        sasl_password=SecretStr(PASSWORD),
    )


async def may_write(settings: KafkaSettings, *, idempotent: bool) -> set[str]:
    sender = kafka.producer(settings, "test", enable_idempotence=idempotent)
    await sender.start()
    allowed = set()
    try:
        for topic in TOPICS:
            try:
                await sender.send_and_wait(topic.name, b"{}", partition=0)
            except TopicAuthorizationFailedError:
                continue
            allowed.add(topic.name)
    finally:
        await sender.stop()
    return allowed


async def may_read(settings: KafkaSettings) -> set[str]:
    """Fetch from every topic with one request; a consumer would wait for ever for topics it may not even see."""
    admin = AIOKafkaAdminClient(**kafka.connection(settings))
    await admin.start()
    try:
        wanted = [(topic.name, [(0, 0, 1_000)]) for topic in TOPICS]
        answer = await admin._send_request(FetchRequest(0, 0, 100_000, 0, wanted))
    finally:
        await admin.close()
    errors = {topic: partitions[0][1] for topic, partitions in answer.topics}
    assert set(errors.values()) <= {0, TopicAuthorizationFailedError.errno}
    return {topic for topic, error in errors.items() if error == 0}


@pytest.mark.parametrize("name", EVERYBODY)
async def test_a_principal_writes_what_it_produces_and_reads_what_it_follows_and_nothing_else(
    broker: KafkaServer, name: str
) -> None:
    settings = as_principal(broker, name)
    produced = {topic.name for topic in TOPICS if topic.producer == name}
    # Whoever may write nothing is refused an idempotent producer before any topic is looked at.
    assert await may_write(settings, idempotent=bool(produced)) == produced
    assert await may_read(settings) == {topic.name for topic in TOPICS if name in topic.followers}


async def _joins(settings: KafkaSettings, topic: Topic, group: str) -> None:
    consumer = kafka.consumer(settings, topic.name, group_id=group)
    try:
        await consumer.start()
        async with asyncio.timeout(60):
            await consumer.getone()
            await consumer.commit()
    finally:
        await consumer.stop()


async def test_a_follower_uses_its_own_groups_only(broker: KafkaServer) -> None:
    settings = as_principal(broker, "cv-status")
    followed = next(topic for topic in TOPICS if "cv-status" in topic.followers)
    await _joins(settings, followed, "cv-status.citizens")
    for group in ("cv-status2.citizens", "cv-search.citizens", "anything"):
        with pytest.raises(GroupAuthorizationFailedError):
            await _joins(settings, followed, group)


@pytest.mark.parametrize("name", ["cv-registry", OPERATOR, STRANGER])
async def test_nobody_creates_topics_or_gives_rights(broker: KafkaServer, name: str) -> None:
    settings = as_principal(broker, name)
    with pytest.raises(KafkaError, match=r"Authorization"):
        await ensure_acls(settings, acls("cv-registry"))
    admin = AIOKafkaAdminClient(**kafka.connection(settings))
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic("cv-registry.of-my-own", 1, 1)])
        assert [code for _, code, *_ in answer.topic_errors] == [29]
    finally:
        await admin.close()


async def test_the_operator_may_look_at_all_that_the_doctor_looks_at(broker: KafkaServer) -> None:
    patient = Patient(as_principal(broker, OPERATOR), Place({}, Path()), production=False)
    findings = [one async for one in topics(patient)]
    assert [(one.subject, one.level) for one in findings] == [(topic.name, "well") for topic in TOPICS]
