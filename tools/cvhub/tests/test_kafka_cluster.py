"""Three brokers as one Kafka: any one may be away, and one that lost its disk gets all records again."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from cv_contracts.topics import TOPICS
from cvhub.servers.kafka import KafkaPorts
from cvhub.servers.kafka_cluster import KafkaCluster
from cvhub.servers.process import CannotStart
from servicekit.kafka_admin import ensure_topics
from servicekit.settings import KafkaSettings

pytestmark = pytest.mark.infra


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KafkaCluster]:
    made = KafkaCluster(tmp_path / "kafka", [KafkaPorts() for _ in range(3)], logs=tmp_path)
    try:
        made.start()
        yield made
    finally:
        for server in made.servers:
            server.kill()


@pytest.mark.long
async def test_a_record_is_taken_while_any_one_broker_is_away(cluster: KafkaCluster) -> None:
    kafka = KafkaSettings(bootstrap_servers=cluster.bootstrap_servers)
    await ensure_topics(kafka, TOPICS[:1], replication_factor=3)
    sent = []
    for server in cluster.servers:
        server.kill()
        async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap_servers, acks="all") as producer:
            sent.append(await producer.send_and_wait(TOPICS[0].name, secrets.token_bytes(8), partition=0))
        server.start()
    assert [record.offset for record in sent] == [0, 1, 2]


@pytest.mark.long
async def test_all_brokers_end_by_themselves_and_find_their_records_again(
    cluster: KafkaCluster, tmp_path: Path
) -> None:
    kafka = KafkaSettings(bootstrap_servers=cluster.bootstrap_servers)
    for round_ in range(2):
        await ensure_topics(kafka, TOPICS[:1], replication_factor=3)
        async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap_servers, acks="all") as producer:
            record = await producer.send_and_wait(TOPICS[0].name, b"x", partition=0)
        assert record.offset == round_
        await asyncio.to_thread(cluster.stop)
        clean = [tmp_path / "kafka" / str(number) / "data" / ".kafka_cleanshutdown" for number in (1, 2, 3)]
        assert [file.exists() for file in clean] == [True, True, True]
        if round_ == 0:
            await asyncio.to_thread(cluster.start)


def test_data_of_one_broker_are_not_taken_for_those_of_three(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(CannotStart, match="another number of brokers"):
        KafkaCluster(tmp_path, [KafkaPorts() for _ in range(3)], logs=tmp_path).start()
