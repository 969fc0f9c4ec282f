"""What each Kafka principal may do, derived from the table of topics; the broker and the chart are told this and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from cv_contracts.topics import SERVICES, TOPICS, rights

Operation = Literal["Read", "Write", "Create", "Alter", "Describe", "DescribeConfigs"]

OPERATOR = "operator"
"""The principal of those who look after the system: sees all topics and groups, reads and writes no record."""


@dataclass(frozen=True, slots=True)
class Acl:
    """Operations that a principal is allowed from any host on a resource, spelled as Kafka does.

    A `prefix` covers every name that begins with it. Writing implies Kafka's idempotence; nobody is allowed to create a topic.
    """

    principal: str
    resource: Literal["topic", "group", "cluster"]
    name: str
    pattern: Literal["literal", "prefix"]
    operations: tuple[Operation, ...]

    @property
    def manifest(self) -> dict[str, Any]:
        """Give the entry as a Strimzi KafkaUser lists it."""
        resource: dict[str, str] = {"type": self.resource}
        if self.resource != "cluster":
            resource |= {"name": self.name, "patternType": self.pattern}
        return {"type": "allow", "resource": resource, "operations": list(self.operations)}


def principals() -> tuple[str, ...]:
    """Give the services that have to do with Kafka, and the operator."""
    busy = (name for name in SERVICES if rights(name).reads or rights(name).writes)
    return (*busy, OPERATOR)


def acls(principal: str, topic_prefix: str = "") -> list[Acl]:
    """Give all that a principal may do; whoever is not told of may do nothing."""
    return list(_operator(topic_prefix) if principal == OPERATOR else _service(principal, topic_prefix))


def _service(service: str, topic_prefix: str) -> Iterator[Acl]:
    may = rights(service)
    for topic in sorted(may.writes):
        yield Acl(service, "topic", topic_prefix + topic, "literal", ("Write", "Describe"))
    for topic in sorted(may.reads):
        yield Acl(service, "topic", topic_prefix + topic, "literal", ("Read", "Describe"))
    if may.reads:
        # Two entries, so that no service's groups are those of another whose name merely begins alike.
        yield Acl(service, "group", service, "literal", ("Read", "Describe"))
        yield Acl(service, "group", f"{service}.", "prefix", ("Read", "Describe"))


def _operator(topic_prefix: str) -> Iterator[Acl]:
    for topic in TOPICS:
        yield Acl(OPERATOR, "topic", topic_prefix + topic.name, "literal", ("Describe", "DescribeConfigs"))
    for service in SERVICES:
        if rights(service).reads:
            yield Acl(OPERATOR, "group", service, "prefix", ("Describe",))
    yield Acl(OPERATOR, "cluster", "kafka-cluster", "literal", ("Describe", "DescribeConfigs"))


def deployment() -> dict[str, Any]:
    """Give what the chart makes KafkaTopic and KafkaUser objects from."""
    return {
        "topics": [
            {"name": topic.name, "partitions": topic.partitions, "config": topic.config} for topic in TOPICS
        ],
        "users": [{"name": name, "acls": [acl.manifest for acl in acls(name)]} for name in principals()],
    }
