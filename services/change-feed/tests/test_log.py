"""Where reading the log begins: where the feed left it, and what is known where that is no place in it any more."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from change_feed.log import FOLLOWED, Bounds, Log, Offsets, Start, begin, begin_new
from servicekit import kafka
from servicekit.data.sessions import LEASE_SESSION
from servicekit.settings import KafkaSettings
from servicekit.testing import in_skipped_time

ONE, OTHER, ELSEWHERE = ("a-topic", 0), ("a-topic", 1), ("another-topic", 0)


def log(committed: Offsets | None = None) -> Bounds:
    """Give a log of which the first records of one partition were dropped already."""
    return Bounds({ONE: 10, OTHER: 0}, {ONE: 20, OTHER: 5}, committed or {})


@pytest.mark.parametrize(("stored", "other"), [(10, 0), (15, 3), (20, 5)])
def test_a_feed_goes_on_where_it_was_also_at_the_first_record_and_after_the_last(
    stored: int, other: int
) -> None:
    offsets = {ONE: stored, OTHER: other}
    assert begin(log(), offsets) == Start(offsets, gap=False, restored=False)


def test_where_records_were_dropped_before_they_were_read_it_begins_with_what_there_is() -> None:
    assert begin(log(), {ONE: 9, OTHER: 3}) == Start({ONE: 10, OTHER: 3}, gap=True, restored=False)


@pytest.mark.parametrize("committed", [{}, {ONE: 21, OTHER: 3}])
def test_a_topic_of_which_one_partition_is_shorter_than_what_was_read_was_made_anew_as_a_whole(
    committed: Offsets,
) -> None:
    """The others may have grown past the old places meanwhile."""
    bounds = Bounds({ONE: 0, OTHER: 0, ELSEWHERE: 0}, {ONE: 2, OTHER: 5, ELSEWHERE: 5}, committed)
    assert begin(bounds, {ONE: 10, OTHER: 3}).offsets == {ONE: 0, OTHER: 0, ELSEWHERE: 0}
    assert begin(bounds, {ONE: 10, OTHER: 3}).gap


def test_a_topic_in_which_the_group_has_lost_its_places_was_made_anew_and_no_other_one() -> None:
    bounds = Bounds({ONE: 0, OTHER: 0, ELSEWHERE: 0}, {ONE: 20, OTHER: 5, ELSEWHERE: 5}, {ELSEWHERE: 5})
    start = begin(bounds, {ONE: 10, OTHER: 3, ELSEWHERE: 5})
    assert start == Start({ONE: 0, OTHER: 0, ELSEWHERE: 5}, gap=True, restored=False)


def test_a_log_in_which_the_group_has_no_place_at_all_is_another_one_if_it_is_shorter_anywhere() -> None:
    bounds = Bounds({ONE: 0, ELSEWHERE: 0}, {ONE: 20, ELSEWHERE: 5}, {})
    assert begin(bounds, {ONE: 10, ELSEWHERE: 6}).offsets == {ONE: 0, ELSEWHERE: 0}
    assert begin(bounds, {ONE: 10, ELSEWHERE: 5}).offsets == {ONE: 10, ELSEWHERE: 5}


def test_a_topic_that_is_new_to_the_feed_is_no_other_one() -> None:
    bounds = Bounds({ONE: 0, ELSEWHERE: 0}, {ONE: 20, ELSEWHERE: 5}, {ONE: 10})
    assert begin(bounds, {ONE: 10}) == Start({ONE: 10, ELSEWHERE: 0}, gap=False, restored=False)


def test_a_partition_that_the_feed_never_read_is_read_from_its_beginning() -> None:
    assert begin(log(), {ONE: 15}) == Start({ONE: 15, OTHER: 0}, gap=False, restored=False)


@pytest.mark.parametrize(("committed", "restored"), [(14, False), (15, False), (16, True)])
def test_a_feed_that_has_less_than_it_once_told_kafka_was_restored(committed: int, *, restored: bool) -> None:
    start = begin(log({ONE: committed, OTHER: 0}), {ONE: 15})
    assert start == Start({ONE: 15, OTHER: 0}, gap=False, restored=restored)


@pytest.mark.parametrize("committed", [{}, {ONE: 0}])
def test_the_very_first_feed_has_all_that_the_log_has(committed: Offsets) -> None:
    assert begin_new(log(committed)) == Start({ONE: 10, OTHER: 0}, gap=False, restored=False)


def test_a_feed_that_was_lost_goes_on_from_now() -> None:
    assert begin_new(log({ONE: 12, OTHER: 0})) == Start({ONE: 20, OTHER: 5}, gap=False, restored=True)


class Away:
    """A consumer whose broker is away: as aiokafka's it asks for ever."""

    async def commit(self, _offsets: object) -> None:
        await asyncio.Event().wait()

    async def beginning_offsets(self, partitions: Sequence[object]) -> dict[object, int]:
        return dict.fromkeys(partitions, 0)

    end_offsets = beginning_offsets

    async def committed(self, _partition: object) -> int:
        await asyncio.Event().wait()
        raise AssertionError("never answered")


@in_skipped_time
async def test_a_broker_that_is_away_is_not_waited_for_as_long_as_a_silent_lease_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka, "consumer", lambda *_, **__: Away())
    log = Log(KafkaSettings(bootstrap_servers="127.0.0.1:1"), 1)
    lasts = int(LEASE_SESSION["idle_session_timeout"]) / 1000
    async with asyncio.timeout(lasts * 0.9):
        assert not await log.commit({(FOLLOWED[0].name, 0): 1})
    async with asyncio.timeout(lasts * 0.9):
        with pytest.raises(TimeoutError):
            await log.bounds()


class Closing:
    """A consumer that closes for ever, and takes a cancellation for that of its own tasks, as aiokafka's does."""

    async def stop(self) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def test_a_cancellation_while_the_log_is_closed_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "consumer", lambda *_, **__: Closing())
    stopping = asyncio.create_task(Log(KafkaSettings(bootstrap_servers="127.0.0.1:1"), 1).stop())
    await asyncio.wait({stopping}, timeout=0.05)
    stopping.cancel()
    await asyncio.wait({stopping})
    assert stopping.cancelled()
