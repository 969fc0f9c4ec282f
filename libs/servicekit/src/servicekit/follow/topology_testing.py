"""What a service's subscribers really are, beside what the contracts say: for the topology test of every service."""

from collections.abc import Iterable
from dataclasses import dataclass

from faststream.kafka import KafkaBroker
from faststream.kafka.subscriber.usecase import BatchSubscriber, LogicSubscriber

from cv_contracts.topics import TOPICS
from servicekit.follow.follower import Follower, group_of

__all__ = ["Subscription", "assert_follows_contracts", "expected", "subscriptions"]


@dataclass(frozen=True, slots=True, order=True)
class Subscription:
    """One subscriber as it reaches the broker."""

    topic: str
    group: str
    ack_policy: str = "nack_on_error"
    offset_reset: str = "earliest"
    auto_commit: bool = False
    batch: bool = True


def subscriptions(broker: KafkaBroker) -> list[Subscription]:
    """Read the subscribers of a broker, each topic apart."""
    found = []
    for subscriber in broker.subscribers:
        if not isinstance(subscriber, LogicSubscriber):
            raise TypeError("not a subscriber of Kafka topics")
        options = subscriber._connection_args  # noqa: SLF001 - what is handed to the consumer is what counts
        found += [
            Subscription(
                topic=topic,
                group=str(subscriber.group_id),
                ack_policy=subscriber.ack_policy.value,
                offset_reset=options["auto_offset_reset"],
                auto_commit=options["enable_auto_commit"],
                batch=isinstance(subscriber, BatchSubscriber),
            )
            for topic in subscriber.topic_names
        ]
    return sorted(found)


def expected(follower: Follower, service: str, topic_prefix: str = "") -> list[Subscription]:
    """Give the subscribers that the projections should have."""
    return sorted(
        Subscription(topic_prefix + p.topic.name, group_of(service, p.name)) for p in follower.projections
    )


def assert_follows_contracts(
    follower: Follower, service: str, topic_prefix: str = "", *, followed_otherwise: Iterable[str] = ()
) -> None:
    """Raise AssertionError unless the service follows exactly what the contracts say, in the only safe way.

    `followed_otherwise` names topics that it follows by other means than a projection.
    """
    really = subscriptions(follower.broker)
    _same(really, expected(follower, service, topic_prefix))
    followed = {p.topic.name for p in follower.projections} | set(followed_otherwise)
    _same(sorted(followed), sorted(topic.name for topic in TOPICS if service in topic.followers))


def _same(is_so: object, should_be: object) -> None:
    if is_so != should_be:
        raise AssertionError(f"is {is_so}, should be {should_be}")
