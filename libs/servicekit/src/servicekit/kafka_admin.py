"""Tells a broker which topics there are and who may do what. Needs rights that no service has."""

import asyncio
from collections.abc import Iterable, Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code
from aiokafka.protocol.admin import CreateAclsRequest

from cv_contracts.errors import Misconfigured
from cv_contracts.kafka_rights import Acl
from cv_contracts.topics import Topic
from servicekit.kafka import connection
from servicekit.settings import KafkaSettings

__all__ = ["TopicMismatch", "ensure_acls", "ensure_topics"]

TOPICS_SEEN_WITHIN_SECONDS = 20.0
LOOK_AGAIN_SECONDS = 0.05

_RESOURCES = {"topic": 2, "group": 3, "cluster": 4}
_PATTERNS = {"literal": 3, "prefix": 4}
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Alter": 7, "Describe": 8, "DescribeConfigs": 10}
_ALLOW = 3


class TopicMismatch(Misconfigured):
    """A topic has another number of partitions than its contract: keys would change partition, and order with them."""


async def ensure_topics(
    settings: KafkaSettings, topics: Sequence[Topic], replication_factor: int = 1
) -> list[str]:
    """Create the topics that are missing, and give their names. Safe to repeat and with several starters at once.

    Returns once the broker shows them all; raises TopicMismatch if one has another number of partitions.
    """
    admin = AIOKafkaAdminClient(**connection(settings))
    try:
        await admin.start()
        there = set(await admin.list_topics())
        missing = [topic for topic in topics if settings.topic_prefix + topic.name not in there]
        created = await _create(admin, settings.topic_prefix, missing, replication_factor)
        async with asyncio.timeout(TOPICS_SEEN_WITHIN_SECONDS):
            await _check_partitions(admin, settings.topic_prefix, topics)
    finally:
        await admin.close()
    return created


async def _create(
    admin: AIOKafkaAdminClient, prefix: str, topics: Sequence[Topic], replication_factor: int
) -> list[str]:
    if not topics:
        return []
    answer = await admin.create_topics(
        [
            NewTopic(prefix + topic.name, topic.partitions, replication_factor, topic_configs=topic.config)
            for topic in topics
        ]
    )
    created = []
    for name, code, *message in answer.topic_errors:
        error = for_code(code)
        if code == 0:
            created.append(name)
        elif error is not TopicAlreadyExistsError:
            raise error(f"{name}: {message[0] if message else ''}")
    return created


async def _check_partitions(admin: AIOKafkaAdminClient, prefix: str, topics: Sequence[Topic]) -> None:
    counts: dict[str, int] = {}
    while not all(counts.get(prefix + topic.name) for topic in topics):
        # A broker shows a new topic a little after the controller made it.
        await asyncio.sleep(LOOK_AGAIN_SECONDS if counts else 0)
        described = await admin.describe_topics([prefix + topic.name for topic in topics])
        counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    for topic in topics:
        count = counts[prefix + topic.name]
        if count != topic.partitions:
            raise TopicMismatch(
                f"{prefix + topic.name} has {count} partitions, its contract says {topic.partitions}"
            )


async def ensure_acls(settings: KafkaSettings, acls: Iterable[Acl]) -> int:
    """Allow all this, and give how many entries it is. Safe to repeat; what was allowed before and is not listed stays."""
    admin = AIOKafkaAdminClient(**connection(settings))
    count = 0
    try:
        await admin.start()
        for acl in acls:
            for operation in acl.operations:
                await _allow(admin, acl, _OPERATIONS[operation])
                count += 1
    finally:
        await admin.close()
    return count


async def _allow(admin: AIOKafkaAdminClient, acl: Acl, operation: int) -> None:
    request = CreateAclsRequest(
        _RESOURCES[acl.resource],
        acl.name,
        _PATTERNS[acl.pattern],
        f"User:{acl.principal}",
        "*",
        operation,
        _ALLOW,
    )
    # The client has requests for this and no method.
    answer = await admin._send_request(request)  # noqa: SLF001
    for code, message in answer.creation_responses:
        if code != 0:
            raise for_code(code)(f"{acl.resource} {acl.name}: {message or ''}")
