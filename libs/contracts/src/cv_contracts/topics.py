"""Who says what to whom: the one table that topics, Kafka rights, the flow drawing and the AsyncAPI document come from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Literal

from cv_contracts.event import Event
from cv_contracts.events.contact_verification import (
    ContactSaved,
    ContactStatusSaved,
    ContactVerified,
    VerificationCodeRequested,
)
from cv_contracts.events.cv_registry import (
    AccountLetterSent,
    AsylumTransitionSet,
    CitizenChanged,
    CitizenHeartbeat,
    CVChanged,
)
from cv_contracts.events.cv_status import StatusSet

SERVICES = (
    "cv-registry",
    "cv-status",
    "contact-verification",
    "cv-search",
    "pdf-renderer",
    "change-feed",
    "gateway",
)
"""A service's name is its Kafka principal, the source of its events, and what its consumer groups begin with.

A group is for one projection (`cv-status.citizens`); the feed, which reads all topics as one, has its bare name.
"""

MAX_RECORD_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One fact's topic. Followers are services, each with groups of its own; `public` records go into the change feed, heartbeats never do.

    Records are kept for `retention`, long enough to come back from an outage; whoever was away for longer rebuilds
    from the owner. They are not compacted: the feed keeps every record, and state followers need none of the old ones.
    """

    name: str
    events: tuple[type[Event], ...]
    key: Literal["person id", "cv id"]
    producer: str
    followers: tuple[str, ...]
    partitions: int = 6
    retention: timedelta = timedelta(days=30)
    cleanup_policy: Literal["delete", "compact", "compact,delete"] = "delete"
    public: bool = True
    heartbeat: bool = False

    @property
    def config(self) -> dict[str, str]:
        """Give the topic's settings as Kafka spells them."""
        return {
            "cleanup.policy": self.cleanup_policy,
            "retention.ms": str(self.retention // timedelta(milliseconds=1)),
            "max.message.bytes": str(MAX_RECORD_BYTES),
            # By the sender's wrong clock Kafka would refuse records, or let them go before their time.
            "message.timestamp.type": "LogAppendTime",
        }


TOPICS: tuple[Topic, ...] = (
    Topic(
        name="cv-registry.citizen-changed",
        events=(CitizenChanged, CitizenHeartbeat),
        key="person id",
        producer="cv-registry",
        followers=("cv-status", "contact-verification", "cv-search", "pdf-renderer", "change-feed"),
        heartbeat=True,
    ),
    Topic(
        name="cv-registry.cv-changed",
        events=(CVChanged,),
        key="cv id",
        producer="cv-registry",
        followers=("contact-verification", "cv-search", "change-feed"),
    ),
    Topic(
        name="cv-registry.account-letter-sent",
        events=(AccountLetterSent,),
        key="cv id",
        producer="cv-registry",
        followers=("change-feed",),
    ),
    Topic(
        name="cv-registry.asylum-transition-set",
        events=(AsylumTransitionSet,),
        key="person id",
        producer="cv-registry",
        followers=("change-feed",),
    ),
    Topic(
        name="cv-status.status-set",
        events=(StatusSet,),
        key="cv id",
        producer="cv-status",
        followers=("cv-registry", "cv-search", "pdf-renderer", "change-feed"),
    ),
    Topic(
        name="contact-verification.contact-saved",
        events=(ContactSaved,),
        key="person id",
        producer="contact-verification",
        followers=("cv-registry", "change-feed"),
    ),
    Topic(
        name="contact-verification.contact-verified",
        events=(ContactVerified,),
        key="person id",
        producer="contact-verification",
        followers=("change-feed",),
    ),
    Topic(
        name="contact-verification.verification-code-requested",
        events=(VerificationCodeRequested,),
        key="person id",
        producer="contact-verification",
        followers=("change-feed",),
    ),
    Topic(
        name="contact-verification.contact-status-saved",
        events=(ContactStatusSaved,),
        key="person id",
        producer="contact-verification",
        followers=("change-feed",),
    ),
)

TOPIC_BY_NAME: Mapping[str, Topic] = MappingProxyType({topic.name: topic for topic in TOPICS})
EVENT_TYPES: Mapping[str, type[Event]] = MappingProxyType(
    {event.TYPE: event for topic in TOPICS for event in topic.events}
)
_TOPIC_OF: Mapping[type[Event], Topic] = {event: topic for topic in TOPICS for event in topic.events}


def topic_of(event: type[Event]) -> Topic:
    """Give the topic that carries this kind of event."""
    return _TOPIC_OF[event]


def is_public(event: type[Event]) -> bool:
    """Tell whether records of this kind belong into the change feed."""
    return topic_of(event).public and event is not CitizenHeartbeat


@dataclass(frozen=True, slots=True)
class Rights:
    """What a service's Kafka principal may do: names of topics."""

    writes: frozenset[str]
    reads: frozenset[str]


def rights(service: str) -> Rights:
    """Derive a principal's rights: the producer writes, the followers read, nobody else does anything."""
    if service not in SERVICES:
        raise ValueError(f"{service!r} is not a service")
    return Rights(
        writes=frozenset(topic.name for topic in TOPICS if topic.producer == service),
        reads=frozenset(topic.name for topic in TOPICS if service in topic.followers),
    )
