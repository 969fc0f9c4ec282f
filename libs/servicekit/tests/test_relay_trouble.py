"""What a relay does about a lease that is lost, a Kafka that is silent, a mistake of ours, and the order to stop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from aiokafka.errors import NotEnoughReplicasError
from structlog.testing import capture_logs

from cv_contracts.events.cv_registry import CVChanged
from servicekit.data.postgres import Database
from servicekit.publish import relay as relay_module
from servicekit.publish.outbox import Outbox
from servicekit.publish.relay import Lease, LeaseLost, Progress, Relay
from servicekit.publish.sending import Batch, Prepared, Refusal, Round, Row, Sender, _acknowledged
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually, free_port

pytestmark = pytest.mark.infra

SOURCE = "cv-registry"
TOPIC = "cv-registry.cv-changed"


@pytest_asyncio.fixture
async def lease(database: Database) -> AsyncIterator[Lease]:
    conn = await asyncpg.connect(database.settings.dsn)
    yield Lease(conn)
    conn.terminate()


@pytest.fixture
def nowhere() -> KafkaSettings:
    """Give settings of a Kafka that is not there."""
    return KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}", request_timeout=timedelta(seconds=1))


def a_relay(database: Database, settings: KafkaSettings) -> Relay:
    return Relay(database, settings, SOURCE, Outbox())


async def add(database: Database, count: int, outbox: Outbox | None = None) -> list[int]:
    """Add events of one subject; gives their rows' numbers."""
    subject = uuid4()
    events = [
        CVChanged(id=uuid4(), subject=subject, version=n, time=datetime.now(UTC), change="replaced")
        for n in range(1, count + 1)
    ]
    async with database.write("k") as tx:
        await (outbox or Outbox()).add(tx, *events)
    return [row["seq"] for row in await database.fetch("select seq from outbox order by seq")]


def has_sent(relay: Relay, count: int) -> bool:
    return relay.progress.sent == count


async def left(database: Database) -> list[int]:
    return [row["seq"] for row in await database.fetch("select seq from outbox order by seq")]


async def test_whoever_waits_is_told_at_once_that_the_lease_is_lost(
    database: Database, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "PROOF", timedelta(minutes=1))
    waiting = asyncio.ensure_future(lease.while_held(asyncio.get_running_loop().create_future()))
    await database.execute("select pg_terminate_backend($1)", lease.conn.get_server_pid())
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(waiting, 20)


async def test_what_is_done_needs_no_lease_any_more(lease: Lease) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    await lease.while_held(done)


async def test_the_lease_is_proved_again_and_again_while_kafka_is_waited_for(
    database: Database, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "PROOF", timedelta(milliseconds=20))
    awaited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(lease.while_held(awaited))
    asked = "select query_start from pg_stat_activity where pid = $1 and query = 'select 1'"

    async def heard() -> datetime:
        at = await database.fetchval(asked, lease.conn.get_server_pid())
        assert isinstance(at, datetime)
        return at

    first = await eventually(heard)

    async def again() -> None:
        assert await heard() > first

    await eventually(again)
    awaited.set_result(None)
    await waiting


async def test_a_kafka_that_stays_silent_is_given_up_after_a_while(
    lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "PROOF", timedelta(milliseconds=20))
    monkeypatch.setattr(relay_module, "PATIENCE", timedelta(milliseconds=300))
    begun = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError, match="Kafka did not answer"):
        await asyncio.wait_for(lease.while_held(asyncio.get_running_loop().create_future()), 20)
    assert asyncio.get_running_loop().time() - begun >= 0.3


class Unfinished(Sender):
    """Never gets to the end of a round."""

    ended = False

    async def finish(self, prepared: Prepared, answers: Sequence[Any]) -> Round:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True
        return prepared.round


async def test_nothing_more_is_sent_of_a_round_once_the_lease_is_lost(
    database: Database, lease: Lease, nowhere: KafkaSettings
) -> None:
    sender = Unfinished(nowhere, SOURCE)
    finishing = asyncio.create_task(
        a_relay(database, nowhere)._finish(lease, sender, Prepared(Round(), []), [])
    )
    await database.execute("select pg_terminate_backend($1)", lease.conn.get_server_pid())
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(finishing, 20)
    await eventually(lambda: sender.ended)


class Silent(Sender):
    """Hands batches to a Kafka that never answers."""

    async def send(self, batches: Sequence[Batch]) -> "asyncio.Future[list[Any]]":
        answers = [asyncio.get_running_loop().create_future() for _ in batches]
        waiting = [_acknowledged(batch, answer) for batch, answer in zip(batches, answers, strict=True)]
        return asyncio.gather(*waiting, return_exceptions=True)


async def test_nobody_waits_for_an_answer_any_more_once_kafka_was_given_up(
    database: Database, lease: Lease, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "PROOF", timedelta(milliseconds=20))
    monkeypatch.setattr(relay_module, "PATIENCE", timedelta(milliseconds=100))
    await add(database, 1)
    before, sender = asyncio.all_tasks(), Silent(kafka_settings, SOURCE)
    with pytest.raises(TimeoutError, match="Kafka did not answer"):
        await a_relay(database, kafka_settings)._follow(lease, sender)
    await sender.abort()
    await eventually(lambda: asyncio.all_tasks() <= before, timedelta(seconds=10))


async def test_what_kafka_has_is_deleted_before_the_trouble_of_the_same_round_is_told(
    database: Database, lease: Lease, nowhere: KafkaSettings
) -> None:
    seqs, trouble = await add(database, 3), NotEnoughReplicasError()
    relay = a_relay(database, nowhere)
    with pytest.raises(NotEnoughReplicasError):
        await relay._settle(lease, Round(acknowledged=seqs[:2], trouble=trouble))
    assert await left(database) == seqs[2:]
    assert relay.progress.sent == 2


async def test_what_was_read_ahead_counts_only_after_a_round_without_refusal_and_renewal(
    database: Database, lease: Lease, nowhere: KafkaSettings
) -> None:
    """A refused row holds back rows that may have been read ahead, and a new producer knows no batch of the old one."""
    seqs = await add(database, 2)
    relay = a_relay(database, nowhere)
    relay.progress = Progress(trouble="KafkaConnectionError")
    refusal = Refusal(seqs[0], uuid4(), TOPIC, "too-large")
    assert await relay._settle(lease, Round(renew=True)) is False
    assert (relay.progress.sent, relay.progress.trouble) == (0, "KafkaConnectionError")
    assert await relay._settle(lease, Round(acknowledged=seqs[1:])) is True
    assert relay.progress.trouble is None
    assert await relay._settle(lease, Round(refused=[refusal])) is False
    assert (relay.progress.sent, relay.progress.refused) == (1, 1)
    assert (await relay.backlog()).refused == 1


async def test_a_kafka_that_is_not_there_is_told_of_and_waited_for(
    database: Database, nowhere: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while there is nothing to send; and it is asked for less often than it could be."""
    monkeypatch.setattr(relay_module, "SHORTEST_BACKOFF", timedelta(milliseconds=500))
    monkeypatch.setattr(relay_module, "LONGEST_BACKOFF", timedelta(milliseconds=600))
    relay, begun = a_relay(database, nowhere), asyncio.get_running_loop().time()
    with capture_logs() as logs:
        running = asyncio.create_task(relay.run())

        def told_again() -> None:
            assert [one["event"] for one in logs].count("relay_interrupted") >= 3

        await eventually(told_again)
    assert asyncio.get_running_loop().time() - begun >= 1.2
    assert (relay.progress.trouble, relay.progress.active) == ("KafkaConnectionError", False)
    relay.stop()
    await asyncio.wait_for(running, 60)


async def test_a_trouble_that_is_over_is_told_of_no_more(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    relay = a_relay(database, kafka_settings)
    relay.progress = Progress(trouble="KafkaConnectionError")
    await add(database, 1)
    running = asyncio.create_task(relay.run())
    await eventually(lambda: relay.progress.sent == 1)
    assert relay.progress.trouble is None
    relay.stop()
    await asyncio.wait_for(running, 60)


async def test_a_trouble_is_told_of_no_more_once_nothing_waits_or_another_one_sends(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    """Who sends seldom would tell of a Kafka that was away at night for the whole day, and who stands by for ever."""
    relays = [a_relay(database, kafka_settings) for _ in range(2)]
    for relay in relays:
        relay.progress = Progress(trouble="KafkaConnectionError")
    running = [asyncio.create_task(relay.run()) for relay in relays]
    await eventually(lambda: [relay.progress.trouble for relay in relays] == [None, None])
    assert sorted(relay.progress.active for relay in relays) == [False, True]
    for relay in relays:
        relay.stop()
    await asyncio.wait_for(asyncio.gather(*running), 60)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        asyncpg.InterfaceError("another operation is in progress"),
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        asyncpg.ConnectionDoesNotExistError(),
    ],
)
async def test_a_connection_that_cannot_be_closed_is_no_trouble(error: Exception) -> None:
    class Broken:
        async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - asyncpg's
            raise error

    await relay_module._hang_up(cast("Any", Broken()))


async def test_a_mistake_of_ours_ends_the_relay_and_its_watch(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    await database.execute("drop table outbox cascade")
    relay = a_relay(database, kafka_settings)
    with pytest.raises(asyncpg.UndefinedTableError):
        await asyncio.wait_for(relay.run(), 60)
    with pytest.raises(asyncpg.UndefinedTableError):
        await asyncio.wait_for(relay.watch_forever(), 60)


async def test_a_database_that_is_away_ends_no_watch_and_nothing_is_told_of_it_then(
    told: Callable[[], dict[str, float]],
    database: Database,
    nowhere: KafkaSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_module, "MEASURE_EVERY", timedelta(milliseconds=10))
    with capture_logs() as logs:
        watching = asyncio.create_task(a_relay(database, nowhere).watch_forever())
        await eventually(lambda: "outbox.backlog.rows" in told())
        await database.close()
        await eventually(lambda: len(logs) >= 2)
        assert "outbox.backlog.rows" not in told()
        assert not watching.done()
        watching.cancel()
    assert {(one["event"], one["error_type"]) for one in logs} == {("backlog_not_measured", "InterfaceError")}


class StopsInARound(Relay):
    """Is told to stop when Kafka has answered and nothing is deleted yet."""

    async def _settle(self, lease: Lease, round_: Round) -> bool:
        self.stop()
        return await super()._settle(lease, round_)


async def test_a_relay_that_is_told_to_stop_deletes_what_was_acknowledged_and_sends_nothing_more(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    seqs = await add(database, 2 * relay_module.BATCH)
    relay = StopsInARound(database, kafka_settings, SOURCE, Outbox())
    await asyncio.wait_for(relay.run(), 60)
    assert relay.progress.sent == relay_module.BATCH
    assert await left(database) == seqs[relay_module.BATCH :]


class Looking(Relay):
    """Counts how often it looks into the outbox and finds rows, and notes how many were under way meanwhile."""

    looks = 0
    found = 0
    most_under_way = 0

    async def _exchange(
        self, lease: Lease, sender: Sender, gone: Sequence[int], under_way: Sequence[int]
    ) -> Sequence[Row]:
        self.looks += 1
        self.most_under_way = max(self.most_under_way, len(under_way))
        rows = await super()._exchange(lease, sender, gone, under_way)
        self.found += len(rows)
        return rows


async def test_more_rows_than_one_round_takes_are_read_and_sent_once_each_and_read_while_others_are_under_way(
    database: Database, kafka_settings: KafkaSettings
) -> None:
    rows = 2 * relay_module.BATCH + 100
    await add(database, rows)
    relay = Looking(database, kafka_settings, SOURCE, Outbox())
    running = asyncio.create_task(relay.run())

    async def all_are_gone() -> None:
        assert await left(database) == []

    await eventually(all_are_gone)
    relay.stop()
    await asyncio.wait_for(running, 60)
    assert relay.progress.sent == relay.found == rows
    assert relay.most_under_way == relay_module.BATCH


async def test_a_relay_looks_only_when_it_is_woken_or_its_pause_is_over(
    database: Database, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pause in ("SHORTEST_POLL", "LONGEST_POLL"):
        monkeypatch.setattr(relay_module, pause, timedelta(minutes=2))
    outbox = Outbox()
    relay = Looking(database, kafka_settings, SOURCE, outbox)
    running = asyncio.create_task(relay.run())
    await eventually(lambda: relay.progress.active)
    for sent in range(1, 6):
        await add(database, 1, outbox)
        await eventually(partial(has_sent, relay, sent))
    relay.stop()
    await asyncio.wait_for(running, 60)
    assert relay.looks <= 5 * 3 + 2, "per row: to read it, to delete it, and once for nothing"


async def test_a_relay_that_has_nothing_to_send_stops_at_once_and_not_at_its_next_look(
    database: Database, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pause in ("SHORTEST_POLL", "SHORTEST_BACKOFF", "LONGEST_BACKOFF"):
        monkeypatch.setattr(relay_module, pause, timedelta(minutes=2))
    relay = a_relay(database, kafka_settings)
    running = asyncio.create_task(relay.run())
    await eventually(lambda: relay.progress.active)
    relay.stop()
    await asyncio.wait_for(running, 60)
    assert not relay.progress.active


async def test_a_relay_that_stands_by_stops_without_lease_and_without_kafka(
    database: Database, nowhere: KafkaSettings
) -> None:
    stands_by = a_relay(database, nowhere)
    asking = "select count(*) from pg_stat_activity where application_name = 'cv-registry-relay' and datname = current_database()"

    async def both_are_there() -> None:
        assert await database.fetchval(asking) == 2

    async with a_relay(database, nowhere)._lease() as held:
        assert held is not None
        running = asyncio.create_task(stands_by.run())
        await eventually(both_are_there)
        stands_by.stop()
        await asyncio.wait_for(running, 60)
    assert stands_by.progress == Progress()
