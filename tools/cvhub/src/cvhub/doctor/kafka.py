"""Compares what is in Kafka with what the contracts say."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from cv_contracts.topics import SERVICES, TOPICS, Topic
from cvhub.doctor.findings import Finding, warning, well, wrong
from cvhub.doctor.patient import Patient
from servicekit.kafka import connection

MAKE = "make it: the chart's KafkaTopic objects, or `python -m cvhub.prepare topics`; here `make up` does"
IN_SYNC = "min.insync.replicas"


async def topics(patient: Patient) -> AsyncIterator[Finding]:
    """Compare topics with the contracts: there, partitions, settings, copies."""
    admin = AIOKafkaAdminClient(**connection(patient.kafka))
    try:
        await admin.start()
        prefix = patient.kafka.topic_prefix
        there = set(await admin.list_topics())
        for topic in TOPICS:
            if prefix + topic.name in there:
                yield await _topic(admin, prefix, topic, production=patient.production)
            else:
                yield wrong("topics", topic.name, "missing", MAKE)
        known = {prefix + topic.name for topic in TOPICS}
        ours = tuple(f"{prefix}{service}." for service in SERVICES)
        for name in sorted(one for one in there - known if one.startswith(ours)):
            yield warning(
                "topics", name, "in no contract", "an older version's? Delete it once nobody reads it"
            )
    except (KafkaError, OSError, TimeoutError) as error:
        yield wrong(
            "topics",
            "Kafka",
            f"not reachable ({type(error).__name__})",
            "is it up, and are address, password and certificates right?",
        )
    finally:
        await admin.close()


async def _topic(admin: AIOKafkaAdminClient, prefix: str, topic: Topic, *, production: bool) -> Finding:
    (described,) = await admin.describe_topics([prefix + topic.name])
    partitions = described["partitions"]
    if len(partitions) != topic.partitions:
        text = f"{len(partitions)} partitions, the contract says {topic.partitions}"
        return wrong(
            "topics",
            topic.name,
            text,
            "never add partitions to a topic that has records: its keys would move. Ask who did, and see docs/production.md",
        )
    config = await _config(admin, prefix + topic.name)
    differing = [name for name, value in topic.config.items() if config.get(name) != value]
    if differing:
        return wrong(
            "topics",
            topic.name,
            f"differs in {', '.join(differing)}",
            "set it as in deploy/chart/files/kafka.json",
        )
    if any(len(one["isr"]) < len(one["replicas"]) for one in partitions):
        return warning("topics", topic.name, "a copy is not in step", "bring the broker back that holds it")
    if production and (len(partitions[0]["replicas"]) < 3 or int(config.get(IN_SYNC, 1)) < 2):
        return wrong(
            "topics",
            topic.name,
            f"fewer than three copies, or {IN_SYNC} below 2",
            "a broker's loss would lose what was acknowledged: three copies, two in step",
        )
    return well("topics", topic.name, f"{topic.partitions} partitions, as in the contract")


async def _config(admin: AIOKafkaAdminClient, name: str) -> Mapping[str, Any]:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    (resource,) = answer.resources
    return {entry[0]: entry[1] for entry in resource[4]}
