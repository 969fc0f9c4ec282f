"""What the relay makes of each kind of answer: only what Kafka will never take moves aside, all else comes again."""

from uuid import uuid4

import asyncpg
import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from servicekit.publish.sending import Batch, Prepared, Round, Row, Sender
from servicekit.settings import KafkaSettings

TOPIC = "cv-registry.cv-changed"


def a_row(seq: int) -> Row:
    row: Row = {
        "seq": seq,
        "id": uuid4(),
        "aggregatetype": TOPIC,
        "aggregateid": str(uuid4()),
        "partition": None,
    }  # type: ignore[assignment]
    return row


async def finished(sender: Sender, answer: object) -> Round:
    batch = Batch(TOPIC, 0, None, [a_row(1)])
    return await sender.finish(Prepared(Round(), [batch]), [answer])


@pytest.fixture
def sender() -> Sender:
    return Sender(KafkaSettings(bootstrap_servers="127.0.0.1:9"), "cv-registry")


async def test_what_kafka_has_is_acknowledged(sender: Sender) -> None:
    round_ = await finished(sender, object())
    assert round_ == Round(acknowledged=[1])
    assert sender.paused() == []


async def test_what_kafka_will_never_take_moves_aside(sender: Sender) -> None:
    round_ = await finished(sender, MessageSizeTooLargeError())
    assert [(refusal.seq, refusal.reason) for refusal in round_.refused] == [(1, "MessageSizeTooLargeError")]
    assert (round_.acknowledged, round_.trouble, round_.renew) == ([], None, True)
    assert sender.paused() == []


@pytest.mark.parametrize("error", [TopicAuthorizationFailedError(), UnknownTopicOrPartitionError()])
async def test_a_topic_that_is_missing_or_forbidden_is_left_alone_for_a_while(
    sender: Sender, error: KafkaError
) -> None:
    round_ = await finished(sender, error)
    assert (round_.acknowledged, round_.refused, round_.trouble) == ([], [], None)
    assert sender.paused() == [TOPIC]


@pytest.mark.parametrize("error", [NotEnoughReplicasError(), RequestTimedOutError(), KafkaConnectionError()])
async def test_a_passing_trouble_refuses_nothing_and_pauses_nothing(
    sender: Sender, error: KafkaError
) -> None:
    round_ = await finished(sender, error)
    assert (round_.acknowledged, round_.refused, round_.trouble) == ([], [], error)
    assert sender.paused() == []


async def test_a_mistake_of_ours_is_not_taken_for_an_answer_of_kafka(sender: Sender) -> None:
    with pytest.raises(asyncpg.InterfaceError):
        await finished(sender, asyncpg.InterfaceError("ours"))
