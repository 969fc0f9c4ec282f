"""The follow side of a service: its projections as FastStream batch subscribers, with the guard rails they need.

FastStream's defaults commit before the handler has run, skip what a group has not seen yet, and lose a batch over one bad
header. So each subscriber has NACK_ON_ERROR (no auto-commit), an explicit group, `earliest`, and our own parser and decoder.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from cv_contracts.envelope import traceparent_of
from servicekit import kafka as clients
from servicekit.data.postgres import Database
from servicekit.follow.applied import applied_by
from servicekit.follow.following import Following
from servicekit.follow.health import FollowHealth
from servicekit.follow.projection import Projection
from servicekit.follow.rebuild import Rebuilds
from servicekit.follow.records import Records, decoder, parser
from servicekit.observe.telemetry import process_span
from servicekit.settings import KafkaSettings

if TYPE_CHECKING:
    from faststream.kafka.subscriber.usecase import BatchSubscriber

__all__ = ["Follower", "group_of"]

log = structlog.get_logger(__name__)

_broker_log = logging.getLogger("servicekit.faststream")
_broker_log.setLevel(logging.ERROR)

BATCH_RECORDS = 500
IDLE_WAIT_MS = 500
"""How long one look for records lasts when there are none; it ends at once when there are."""
FETCH_WAIT_MS = 500
"""How long the broker holds an empty fetch; it answers as soon as there is a record."""
STOP_WITHIN = 5.0
METADATA_AGE_MS = 30_000

_SASL = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}


def group_of(service: str, projection: str) -> str:
    """Give the consumer group of a projection; the service's Kafka rights cover all groups that begin with its name."""
    return f"{service}.{projection}"


class Follower:
    """All that one service follows. `run()` follows until cancelled; it ends by FollowerStuck if it makes no progress.

    Broker, database or owner may be away when it starts and at any time later.
    """

    def __init__(
        self, database: Database, kafka: KafkaSettings, service: str, projections: Sequence[Projection]
    ) -> None:
        self.projections = tuple(projections)
        self.rebuilds = Rebuilds(database, projections, self._batches_come)
        self.applied = applied_by(database, {p.topic.name: p.name for p in projections})
        self.broker = KafkaBroker(
            kafka.bootstrap_servers.split(","),
            consumer_only=True,
            allow_auto_create_topics=False,
            client_id=service,
            request_timeout_ms=round(kafka.request_timeout.total_seconds() * 1000),
            metadata_max_age_ms=METADATA_AGE_MS,
            security=_security(kafka),
            graceful_timeout=STOP_WITHIN,
            apply_types=False,
            logger=_broker_log,
        )
        self._followings = [
            Following(database, p, kafka.topic_prefix + p.topic.name, self.applied) for p in projections
        ]
        self._subscribers = [self._subscribe(service, following) for following in self._followings]
        self.health = FollowHealth(database, kafka, self._followings, self._assigned_to)

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._consume(), name="follow")
            for following, subscriber in zip(self._followings, self._subscribers, strict=True):
                name = following.projection.name
                tasks.create_task(following.retry_forever(), name=f"retry {name}")
                consumer = _consumer_of(subscriber)
                tasks.create_task(following.seek_forever(consumer), name=f"seek {name}")
                tasks.create_task(following.commits.run(consumer), name=f"commit {name}")
            tasks.create_task(self.rebuilds.run(), name="rebuilds")
            tasks.create_task(self.health.watch_forever(), name="follow health")

    def _subscribe(self, service: str, following: Following) -> "BatchSubscriber":
        topic, group = following.projection.topic.name, group_of(service, following.projection.name)
        subscriber = self.broker.subscriber(
            following.topic,
            group_id=group,
            batch=True,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            ack_policy=AckPolicy.NACK_ON_ERROR,
            auto_offset_reset="earliest",
            listener=_OnAssignment(following),
            parser=parser(following.commits),
            decoder=decoder(following.projection.topic),
        )

        @subscriber
        async def follow(records: Records) -> None:
            with process_span(topic, group, len(records), (traceparent_of(r.headers) for r in records)):
                await following.handle(records, subscriber.consumer)

        # FastStream sleeps after each look that found nothing: a long look costs latency then, and a short one processor time.
        subscriber.get_msg = _arriving  # type: ignore[method-assign]
        return subscriber

    def _batches_come(self) -> bool:
        return any(following.is_busy for following in self._followings)

    def _assigned_to(self, following: Following) -> set[int]:
        consumer = self._subscribers[self._followings.index(following)].consumer
        return set() if consumer is None else {tp.partition for tp in consumer.assignment()}

    async def _consume(self) -> None:
        try:
            await self._start()
            await asyncio.Event().wait()
        finally:
            for following, subscriber in zip(self._followings, self._subscribers, strict=True):
                await following.commits.last(subscriber.consumer)
            await self.broker.stop()

    async def _start(self) -> None:
        delay = 0.25
        while True:
            try:
                await self.broker.start()
            except (KafkaError, OSError) as error:
                log.warning("broker_unreachable", error_type=type(error).__name__)
                await self.broker.stop()
                clients.heed_cancellation()
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
            else:
                return


class _OnAssignment(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Tells a projection that its partitions were dealt out anew."""

    def __init__(self, following: Following) -> None:
        self._following = following

    async def on_partitions_revoked(self, revoked: object) -> None:
        """Nothing to do: a batch in hand may finish, for what it writes may be repeated."""

    async def on_partitions_assigned(self, assigned: object) -> None:  # noqa: ARG002 - aiokafka's name
        self._following.reassigned()


async def _arriving(consumer: Any) -> tuple[Any, ...]:
    records = await consumer.getmany(timeout_ms=IDLE_WAIT_MS, max_records=BATCH_RECORDS)
    return tuple(chain.from_iterable(records.values()))


def _consumer_of(subscriber: "BatchSubscriber") -> Callable[[], Any]:
    return lambda: subscriber.consumer


def _security(settings: KafkaSettings) -> BaseSecurity | None:
    """Give the connection's protection as FastStream takes it."""
    context = clients.ssl_context(settings)
    if settings.security_protocol.startswith("SASL_"):
        sasl = _SASL[settings.sasl_mechanism]
        return sasl(settings.sasl_username or "", clients.sasl_password(settings), context)
    return None if context is None else BaseSecurity(context)
