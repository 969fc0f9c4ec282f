import asyncio
import secrets
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from aiokafka.errors import KafkaError
from pydantic import SecretStr, ValidationError

from cv_contracts.topics import TOPICS
from cvhub.testing import Kafka
from servicekit import kafka
from servicekit.kafka_admin import TopicMismatch, ensure_topics
from servicekit.settings import KafkaSettings

TOPIC = TOPICS[0]


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_a_key_gets_the_partition_that_the_java_client_gives_it(key: str, hashed: int) -> None:
    assert kafka.partition_of(key.encode(), 6) == (hashed & 0x7FFFFFFF) % 6


@pytest.mark.infra
async def test_topics_are_made_once_by_several_starters_with_the_contract_s_settings(
    kafka_broker: Kafka,
) -> None:
    settings = KafkaSettings(
        bootstrap_servers=kafka_broker.bootstrap_servers, topic_prefix=f"t{secrets.token_hex(4)}."
    )
    made = await asyncio.gather(*(ensure_topics(settings, TOPICS) for _ in range(4)))
    names = [name for created in made for name in created]
    assert sorted(names) == sorted(settings.topic_prefix + topic.name for topic in TOPICS)
    assert await ensure_topics(settings, TOPICS) == []


@pytest.mark.infra
async def test_a_topic_with_another_number_of_partitions_is_refused(kafka_settings: KafkaSettings) -> None:
    with pytest.raises(TopicMismatch, match="has 6 partitions, its contract says 12"):
        await ensure_topics(kafka_settings, [replace(TOPIC, partitions=12)])


@pytest.mark.infra
async def test_what_is_produced_is_consumed_from_the_beginning(kafka_settings: KafkaSettings) -> None:
    await _there_and_back(kafka_settings)


@pytest.mark.infra
async def test_a_broker_that_demands_scram_takes_the_right_password_only(
    scram_kafka: KafkaSettings, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{kafka.sasl_password(scram_kafka)}\n")
    from_file = scram_kafka.model_copy(update={"sasl_password": None, "sasl_password_file": secret})
    await ensure_topics(from_file, TOPICS)
    await _there_and_back(from_file)
    wrong = scram_kafka.model_copy(update={"sasl_password": SecretStr("wrong")})
    sender = kafka.producer(wrong, "test")
    with pytest.raises(KafkaError):
        await sender.start()
    await sender.stop()


async def _there_and_back(settings: KafkaSettings) -> None:
    sender = kafka.producer(settings, "test")
    await sender.start()
    await sender.send_and_wait(settings.topic_prefix + TOPIC.name, b"{}", key=b"k")
    await sender.stop()
    receiver = kafka.consumer(settings, TOPIC.name, group_id="test")
    await receiver.start()
    record = await asyncio.wait_for(receiver.getone(), 60)
    await receiver.stop()
    assert (record.key, record.value) == (b"k", b"{}")


def test_sasl_without_a_password_is_refused() -> None:
    with pytest.raises(ValueError, match="KAFKA__SASL_PASSWORD"):
        kafka.connection(KafkaSettings(bootstrap_servers="localhost:1", security_protocol="SASL_SSL"))


def test_tls_checks_names_and_takes_no_old_version() -> None:
    context = kafka.ssl_context(KafkaSettings(bootstrap_servers="localhost:1", security_protocol="SSL"))
    assert context is not None
    assert context.check_hostname
    assert context.minimum_version >= 0x0303
    assert kafka.ssl_context(KafkaSettings(bootstrap_servers="localhost:1")) is None


def test_a_password_is_neither_shown_nor_quoted() -> None:
    settings = KafkaSettings(bootstrap_servers="localhost:1", sasl_password=SecretStr("hidden-word"))
    assert "hidden-word" not in repr(settings)
    with pytest.raises(ValidationError) as refused:
        KafkaSettings.model_validate({"bootstrap_servers": "x", "security_protocol": "hidden-word"})
    assert "hidden-word" not in str(refused.value)


async def test_a_producer_that_is_aborted_ends_at_once_though_the_broker_is_away() -> None:
    sender = kafka.producer(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "test")
    with pytest.raises(KafkaError):
        await sender.start()
    async with asyncio.timeout(timedelta(seconds=30).total_seconds()):
        await kafka.abort(sender)
