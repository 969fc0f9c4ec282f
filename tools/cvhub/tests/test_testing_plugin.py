"""The fixtures that every other package's tests stand on."""

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from cvhub.testing import FreshDatabase, Kafka, Postgres
from servicekit.settings import KafkaSettings

pytestmark = pytest.mark.infra


async def test_two_fresh_databases_do_not_see_each_other(fresh_database: FreshDatabase) -> None:
    one = await asyncpg.connect((await fresh_database()).dsn)
    other = await asyncpg.connect((await fresh_database()).dsn)
    try:
        await one.execute("CREATE TABLE only_here (id int)")
        assert await other.fetchval("SELECT to_regclass('only_here')") is None
    finally:
        await one.close()
        await other.close()


async def test_a_fresh_database_comes_migrated(fresh_database: FreshDatabase) -> None:
    connection = await asyncpg.connect((await fresh_database("servicekit.migrations")).dsn)
    try:
        assert await connection.fetchval("SELECT to_regclass('outbox')::text") == "outbox"
    finally:
        await connection.close()


async def test_what_was_committed_outlives_a_killed_server(own_postgres: Postgres) -> None:
    connection = await asyncpg.connect(own_postgres.dsn)
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    own_postgres.kill()
    connection.terminate()
    own_postgres.start()
    connection = await asyncpg.connect(own_postgres.dsn)
    assert await connection.fetchval("SELECT n FROM kept") == 7
    await connection.close()


async def test_the_topics_of_the_contracts_exist_under_a_prefix(kafka_settings: KafkaSettings) -> None:
    topic = kafka_settings.topic_prefix + "cv-registry.cv-changed"
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka_settings.bootstrap_servers, auto_offset_reset="earliest"
    )
    producer = AIOKafkaProducer(bootstrap_servers=kafka_settings.bootstrap_servers)
    await consumer.start()
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"hello")
        record = await consumer.getone()
        assert record.value == b"hello"
    finally:
        await producer.stop()
        await consumer.stop()


async def test_a_killed_broker_comes_back(own_kafka: Kafka) -> None:
    own_kafka.kill()
    own_kafka.start()
    producer = AIOKafkaProducer(bootstrap_servers=own_kafka.bootstrap_servers)
    await producer.start()
    await producer.stop()


async def test_the_scram_listener_refuses_a_wrong_password(scram_kafka: KafkaSettings) -> None:
    assert scram_kafka.sasl_password is not None
    common = {
        "bootstrap_servers": scram_kafka.bootstrap_servers,
        "security_protocol": scram_kafka.security_protocol,
        "sasl_mechanism": scram_kafka.sasl_mechanism,
        "sasl_plain_username": scram_kafka.sasl_username,
    }
    right = AIOKafkaProducer(**common, sasl_plain_password=scram_kafka.sasl_password.get_secret_value())
    await right.start()
    await right.stop()
    wrong = AIOKafkaProducer(**common, sasl_plain_password="wrong")
    with pytest.raises(KafkaError):
        await wrong.start()
    await wrong.stop()
