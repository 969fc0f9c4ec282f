"""What the relay makes of each kind of answer: only what Kafka will never take moves aside, all else comes again."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from cv_contracts.topics import MAX_RECORD_BYTES
from servicekit.publish import sending
from servicekit.publish.sending import Batch, Prepared, Round, Row, Sender
from servicekit.settings import KafkaSettings

TOPIC = "cv-registry.cv-changed"


def a_row(
    seq: int, subject: UUID | None = None, *, topic: str = TOPIC, partition: int | None = None, size: int = 2
) -> Row:
    row: Row = {
        "seq": seq,
        "id": uuid4(),
        "aggregatetype": topic,
        "aggregateid": str(subject or uuid4()),
        "type": "CVChanged",
        "payload": b"x" * size,
        "time": datetime.now(UTC),
        "tracingspancontext": None,
        "partition": partition,
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


async def test_a_topic_in_trouble_is_looked_at_again_after_its_pause(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TOPIC_PAUSE_SECONDS", 0.0)
    await finished(sender, UnknownTopicOrPartitionError())
    assert sender.paused() == []


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


async def test_who_is_cancelled_while_it_connects_leaves_no_connection_behind() -> None:
    asked = asyncio.Queue[bytes]()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.put_nowait(await reader.read(1))
        asked.put_nowait(await reader.read())
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    starting = asyncio.create_task(
        Sender(KafkaSettings(bootstrap_servers=f"{host}:{port}"), "cv-registry").start()
    )
    await asked.get()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert await asyncio.wait_for(asked.get(), 10), "all that was said until it hung up"
    server.close()
    await server.wait_closed()


async def test_a_kafka_that_takes_connections_and_is_silent_is_waited_for_no_longer_than_one_request() -> (
    None
):
    talks: list[asyncio.Task[None] | None] = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())
        await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    settings = KafkaSettings(
        bootstrap_servers=",".join([f"{host}:{port}"] * 3), request_timeout=timedelta(milliseconds=200)
    )
    with pytest.raises(TimeoutError):
        await Sender(settings, "cv-registry").start()
    await asyncio.gather(*[talk for talk in talks if talk is not None])
    server.close()
    await server.wait_closed()


class Answered(Sender):
    """Is connected to nobody: whatever it sends is answered as the test says, one answer after the other."""

    def __init__(self, *answers: object) -> None:
        super().__init__(KafkaSettings(bootstrap_servers="127.0.0.1:9"), "cv-registry")
        self.answers = list(answers)
        self.renewed: list[int] = []
        """How many answers were still to come at each renewal of the connection."""
        self.trouble_with: dict[str, Exception] = {}

    async def start(self) -> AIOKafkaProducer:
        broker = SimpleNamespace(
            partitions_for=self.partitions_for, create_batch=Taking, send_batch=self.send_batch
        )
        return cast("AIOKafkaProducer", broker)

    async def abort(self) -> None:
        self.renewed.append(len(self.answers))

    async def partitions_for(self, topic: str) -> set[int]:
        if topic in self.trouble_with:
            raise self.trouble_with[topic]
        return set(range(6))

    async def send_batch(self, _builder: object, _topic: str, *, partition: int) -> "asyncio.Future[object]":
        assert 0 <= partition < 6
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        match self.answers.pop(0):
            case Exception() as error:
                answer.set_exception(error)
            case taken:
                answer.set_result(taken)
        return answer


class Taking:
    """A batch with room for all."""

    def append(self, **_record: object) -> object:
        return self


async def sent(sender: Sender, rows: Sequence[Row]) -> Round:
    prepared = await sender.prepare(rows)
    return await sender.finish(prepared, await (await sender.send(prepared.batches)))


async def test_a_refused_row_holds_back_the_later_ones_of_its_key_and_no_others() -> None:
    subject, too_large = uuid4(), MAX_RECORD_BYTES + 1
    rows = [
        a_row(1, subject),
        a_row(2, subject, size=too_large),
        a_row(3, subject),
        a_row(4),
        a_row(5, subject, topic="cv-registry.citizen-changed"),
        a_row(6, subject, partition=0),
        a_row(7, size=MAX_RECORD_BYTES),
    ]
    prepared = await Answered().prepare(rows)
    assert sorted(prepared.seqs) == [1, 4, 5, 6, 7]
    assert [refusal.seq for refusal in prepared.round.refused] == [2]


@pytest.mark.parametrize(
    "error", [TopicAuthorizationFailedError(), UnknownTopicOrPartitionError(), TimeoutError()]
)
async def test_rows_of_a_topic_that_may_not_be_looked_at_wait_and_others_go(error: Exception) -> None:
    sender = Answered()
    sender.trouble_with["cv-registry.citizen-changed"] = error
    prepared = await sender.prepare([a_row(1, topic="cv-registry.citizen-changed"), a_row(2)])
    assert (prepared.seqs, prepared.round) == ([2], Round())
    assert sender.paused() == ["cv-registry.citizen-changed"]


async def test_rows_of_a_topic_that_nobody_tells_anything_about_wait_and_others_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Silent(Answered):
        async def partitions_for(self, topic: str) -> set[int]:
            if topic != TOPIC:
                await asyncio.Event().wait()
            return await super().partitions_for(topic)

    monkeypatch.setattr(sending, "TOPIC_PATIENCE_SECONDS", 0.01)
    sender = Silent()
    prepared = await asyncio.wait_for(
        sender.prepare([a_row(1, topic="cv-registry.citizen-changed"), a_row(2)]), 20
    )
    assert prepared.seqs == [2]
    assert sender.paused() == ["cv-registry.citizen-changed"]


async def test_a_batch_that_was_refused_is_sent_row_by_row_and_later_ones_of_a_refused_key_are_not() -> None:
    good, bad = uuid4(), uuid4()
    rows = [a_row(n, subject, partition=0) for n, subject in enumerate([good, bad, good, bad, good], 1)]
    too_large = MessageSizeTooLargeError()
    sender = Answered(too_large, "taken", too_large, "taken", "taken")
    round_ = await sent(sender, rows)
    assert (round_.acknowledged, [refusal.seq for refusal in round_.refused]) == ([1, 3, 5], [2])
    assert round_.trouble is None
    assert sender.answers == []


@pytest.mark.parametrize("error", [NotEnoughReplicasError(), UnknownTopicOrPartitionError()])
async def test_trouble_in_the_middle_of_a_refused_batch_leaves_the_rest_of_it_for_later(
    error: KafkaError,
) -> None:
    rows = [a_row(n, partition=0) for n in range(1, 5)]
    sender = Answered(MessageSizeTooLargeError(), "taken", error, "not asked for")
    round_ = await sent(sender, rows)
    assert (round_.acknowledged, round_.refused, sender.answers) == ([1], [], ["not asked for"])
    assert (round_.trouble is error) != (sender.paused() == [TOPIC])


async def test_who_looks_for_refused_rows_stops_in_time_and_gets_on_by_at_least_one_each_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A round that is given up for taking too long would find the same rows again, and never the last of them."""
    monkeypatch.setattr(sending, "SEARCH_SECONDS", 0.0)
    too_large = MessageSizeTooLargeError()
    sender = Answered(*[too_large] * 5)
    rows = [a_row(1, partition=0), *(a_row(n, partition=n % 2 + 1) for n in range(2, 6))]
    round_ = await sent(sender, rows)
    assert [refusal.seq for refusal in round_.refused] == [1, 2, 3]
    assert (round_.acknowledged, round_.trouble, round_.renew, sender.answers) == ([], None, True, [])


async def test_a_connection_is_renewed_after_each_failed_batch_and_kept_otherwise() -> None:
    rows = [a_row(n, partition=0) for n in range(1, 4)]
    sender = Answered("taken")
    await sent(sender, rows)
    assert sender.renewed == []
    sender.answers = [MessageSizeTooLargeError(), "taken", MessageSizeTooLargeError(), "taken"]
    await sent(sender, rows)
    assert sender.renewed == [3, 1]
