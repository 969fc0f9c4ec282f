"""When a relay tries, looks and measures again: soon while there is work, less and less often while there is none or trouble."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest
from structlog.testing import capture_logs

from servicekit.publish import relay as relay_module
from servicekit.publish.outbox import Outbox
from servicekit.publish.relay import Backlog, Lease, Relay
from servicekit.publish.sending import Row, Sender
from servicekit.settings import KafkaSettings, PostgresSettings
from servicekit.testing import in_skipped_time

NONE: Any = None


class Scripted(Relay):
    """Comes to these ends one after the other, and is told to stop then; notes when it began, looked or measured."""

    def __init__(self, *ends: type[BaseException] | None) -> None:
        super().__init__(NONE, KafkaSettings(bootstrap_servers="nowhere"), "cv-registry", Outbox())
        self.ends = list(ends)
        self.times: list[float] = []
        self.gone: list[Sequence[int]] = []

    def _come_to_an_end(self) -> None:
        self.times.append(round(asyncio.get_running_loop().time(), 6))
        if not self.ends:
            self.stop()
        elif (end := self.ends.pop(0)) is not None:
            raise end

    async def _hold_and_follow(self) -> None:
        if self.ends[:1] == [None]:
            self.progress.sent += 1
        self._come_to_an_end()

    async def _exchange(
        self, lease: Lease, sender: Sender, gone: Sequence[int], under_way: Sequence[int]
    ) -> Sequence[Row]:
        self.gone.append(gone)
        self._come_to_an_end()
        return ()

    async def backlog(self) -> Backlog:
        self._come_to_an_end()
        return await asyncio.Future() if self._stopping.is_set() else Backlog(0, timedelta(0), 0)


def pauses(relay: Scripted) -> list[float]:
    return [round(after - before, 6) for before, after in pairwise(relay.times)]


@in_skipped_time
async def test_a_relay_in_trouble_tries_less_and_less_often_until_it_has_sent_something() -> None:
    relay = Scripted(*[ConnectionError] * 7, None, ConnectionError)
    with capture_logs() as logs:
        await relay.run()
    assert pauses(relay) == [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 0.1, 0.2]
    assert asyncio.get_running_loop().time() == pytest.approx(relay.times[-1]), "no rest before it stops"
    assert {(one["event"], one["error_type"]) for one in logs} == {("relay_interrupted", "ConnectionError")}


@in_skipped_time
async def test_a_relay_that_rests_after_trouble_stops_at_once() -> None:
    relay = Scripted(*[ConnectionError] * 9)
    running = asyncio.create_task(relay.run())
    await asyncio.sleep(8)
    relay.stop()
    await running
    assert asyncio.get_running_loop().time() == pytest.approx(relay.times[0] + 8)


@in_skipped_time
async def test_who_stands_by_asks_for_the_lease_four_times_a_second_and_once_it_is_held_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A database that does not answer any more is waited for as long as the service's own connections wait."""
    asked = list[float]()
    settings = PostgresSettings(dsn="postgresql://nowhere/db", command_timeout=timedelta(seconds=7))

    class Connection:
        async def fetchval(self, query: str, source: str) -> bool:
            assert (query, source) == (relay_module._LEASE, "cv-registry")
            asked.append(asyncio.get_running_loop().time())
            return len(asked) == 4

        def add_termination_listener(self, _: object) -> None:
            pass

        async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - asyncpg's
            pass

    async def connect(dsn: str, *, timeout: float, command_timeout: float, **_: object) -> Connection:  # noqa: ASYNC109
        assert (dsn, timeout, command_timeout) == (settings.dsn, settings.connect_timeout.total_seconds(), 7)
        return Connection()

    monkeypatch.setattr(asyncpg, "connect", connect)
    database = cast("Any", SimpleNamespace(settings=settings))
    relay = Relay(database, KafkaSettings(bootstrap_servers="nowhere"), "cv-registry", Outbox())
    async with relay._lease() as lease:
        assert lease is not None
    assert asked == [0, 0.25, 0.5, 0.75]


@in_skipped_time
async def test_a_cancellation_that_nobody_asked_for_is_a_trouble_that_passes() -> None:
    relay = Scripted(asyncio.CancelledError)
    await relay.run()
    assert (len(relay.times), relay.progress.trouble) == (2, "ConnectionAbortedError")


@in_skipped_time
async def test_a_relay_looks_less_and_less_often_for_nothing_and_soon_again_once_it_was_woken() -> None:
    relay = Scripted(*[None] * 11)
    asyncio.get_running_loop().call_later(0.80, relay._wake.set)
    assert await relay._next(NONE, NONE, [7]) == []
    assert relay.times == [0.02, 0.03, 0.05, 0.09, 0.17, 0.33, 0.53, 0.73, 0.80, 0.81, 0.83, 0.87]
    assert [list(gone) for gone in relay.gone] == [[7], *[[]] * 11]


@in_skipped_time
async def test_what_waits_is_measured_every_five_seconds_also_after_a_trouble() -> None:
    relay = Scripted(None, ConnectionError, None)
    with suppress(TimeoutError):
        await asyncio.wait_for(relay.watch_forever(), 60)
    assert relay.times == [0, 5, 10, 15]
