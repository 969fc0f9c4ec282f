"""Following: nothing missed, nothing done twice, through whatever happens to the feed or to the follower."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest

from cvhub_feedclient import (
    Event,
    FeedRefused,
    Follower,
    NotMyRange,
    Overtaken,
    Page,
    Place,
    Present,
    Reader,
    Waiting,
)

QUICK = Waiting(timedelta(milliseconds=1), timedelta(milliseconds=2))


class Copy:
    """A copy whose transactions may fail when a test wants it: then neither effect nor place is kept."""

    def __init__(self) -> None:
        self.kept = Place()
        self.versions: dict[str, int] = {}
        self.effects: list[str] = []
        self.fails_at: set[int] = set()
        self.calls = 0

    async def place(self) -> Place:
        return Place.of(self.kept.to_dict())

    async def begin(self, former: Place, place: Place) -> None:
        self._transaction(former)
        self.versions, self.kept = {}, place

    async def present(self, items: Sequence[Present], former: Place, place: Place) -> None:
        self._transaction(former)
        self.versions |= {item.subject: item.version for item in items}
        self.kept = place

    async def happened(self, events: Sequence[Event], former: Place, place: Place) -> None:
        self._transaction(former)
        for event in events:
            if not (place.repeats and event.event_id in self.effects):
                self.effects.append(event.event_id)
            self.versions[event.subject] = event.version or 0
        self.kept = place

    def _transaction(self, former: Place) -> None:
        self.calls += 1
        if self.calls in self.fails_at:
            raise RuntimeError("killed")
        if former != self.kept:
            raise Overtaken


def follower(feed: Any, copy: Copy, **options: Any) -> Follower:
    client = httpx.AsyncClient(transport=httpx.MockTransport(feed), base_url="http://feed")
    noticed: list[str] = options.pop("noticed", [])
    return Follower(Reader(client, limit=2), copy, waiting=QUICK, noticed=noticed.append, **options)


async def test_the_snapshot_comes_first_and_what_follows_it_comes_once(feed: Any) -> None:
    for n in range(5):
        feed.happen(f"cv{n}", n)
    copy = Copy()
    await follower(feed, copy).catch_up()
    assert copy.versions == {f"cv{n}": n for n in range(5)}
    assert copy.effects == []
    feed.happen("cv0", 10)
    feed.happen("cv9", 11)
    await follower(feed, copy).catch_up()
    assert copy.effects == ["event-cv0-10-replaced", "event-cv9-11-replaced"]
    assert copy.versions["cv0"] == 10


@pytest.mark.parametrize("killed_at", range(1, 9))
async def test_killed_at_any_transaction_it_goes_on_from_its_own_place(feed: Any, killed_at: int) -> None:
    for n in range(5):
        feed.happen(f"cv{n}", n)
    copy = Copy()
    copy.fails_at = {killed_at}
    try:
        await follower(feed, copy).catch_up()
        for n in range(5):
            feed.happen(f"cv{n}", 100 + n)
        await follower(feed, copy).catch_up()
    except RuntimeError:
        await follower(feed, copy).catch_up()
        if len(feed.events) == 5:
            for n in range(5):
                feed.happen(f"cv{n}", 100 + n)
            await follower(feed, copy).catch_up()
    assert copy.versions == {f"cv{n}": 100 + n for n in range(5)}
    assert copy.effects == [f"event-cv{n}-{100 + n}-replaced" for n in range(5)]


async def test_a_limit_above_what_a_snapshot_takes_is_cut(feed: Any) -> None:
    client = httpx.AsyncClient(transport=httpx.MockTransport(feed), base_url="http://feed")
    await Follower(Reader(client, limit=20_000), Copy(), waiting=QUICK).catch_up()
    assert [one.partition("limit=")[2].partition("&")[0] for one in feed.asked] == ["5000", "20000"]


async def test_catching_up_with_some_kinds_only_goes_past_pages_without_any(feed: Any) -> None:
    copy = Copy()
    await follower(feed, copy).catch_up()
    for n in range(10):
        feed.happen(f"cv{n}", n)
    feed.happen("cv0", 20, "deleted")
    client = httpx.AsyncClient(transport=httpx.MockTransport(feed), base_url="http://feed")
    await Follower(Reader(client, kinds="deleted"), copy, waiting=QUICK).catch_up()
    assert copy.effects == ["event-cv0-20-deleted"]
    assert copy.kept.position == "e1:11"


async def test_an_answer_that_is_not_the_feed_s_is_waited_for(feed: Any) -> None:
    """As a proxy gives one of its own, or cuts one short."""
    feed.happen("cv1", 1)
    snapshots = [
        httpx.DecodingError("broken off"),
        httpx.Response(200, json={}),
        httpx.Response(200, json=[]),
    ]
    copy, noticed = Copy(), list[str]()
    feed.script = list(snapshots)
    await follower(feed, copy, noticed=noticed).catch_up()
    feed.happen("cv1", 2)
    ranged = {"x-feed-from": "e1:1", "x-feed-to": "e1:2"}
    pages = [
        httpx.Response(200, text="<html>", headers=ranged),
        httpx.Response(200, json=[]),
        httpx.Response(200, json=[{}], headers=ranged),
        httpx.Response(200, json=["x"], headers=ranged),
        *(httpx.Response(status, text=text) for status in (409, 410) for text in ("{}", "null", "<html>")),
    ]
    feed.script = list(pages)
    await follower(feed, copy, noticed=noticed).catch_up()
    assert noticed == ["away"] * (len(snapshots) + len(pages))
    assert (copy.versions, copy.effects) == ({"cv1": 2}, ["event-cv1-2-replaced"])


@pytest.mark.parametrize("status", [409, 410])
async def test_who_asked_from_no_position_is_not_told_to_begin_anew(feed: Any, status: int) -> None:
    feed.happen("cv1", 1)
    feed.script = [httpx.Response(status, json={"lastEventId": "e1:0"})] * 3
    noticed: list[str] = []
    copy = Copy()
    await follower(feed, copy, noticed=noticed).catch_up()
    assert noticed == ["away"] * 3
    assert copy.versions == {"cv1": 1}


async def test_what_passes_is_waited_for(feed: Any) -> None:
    feed.happen("cv1", 1)
    feed.script = [
        httpx.ConnectError("away"),
        httpx.Response(503, headers={"retry-after": "0"}, json={"code": 1011}),
        httpx.Response(502, content=b"<html>"),
        httpx.Response(429, json={}),
        httpx.ReadTimeout("slow"),
    ]
    noticed: list[str] = []
    copy = Copy()
    await follower(feed, copy, noticed=noticed).catch_up()
    assert copy.versions == {"cv1": 1}
    assert noticed == ["away"] * 5


@pytest.mark.parametrize(("status", "code"), [(401, 1012), (403, 1013), (400, 1014)])
async def test_a_refusal_ends_it(feed: Any, status: int, code: int) -> None:
    feed.script = [httpx.Response(status, json={"code": code})]
    with pytest.raises(FeedRefused) as refusal:
        await follower(feed, Copy()).catch_up()
    assert (refusal.value.status, refusal.value.code) == (status, code)


async def test_a_place_that_is_good_no_more_is_named_and_the_copy_is_made_anew_by_will(feed: Any) -> None:
    """As by another secret of the feed's: nothing tells it from a forged one, so nothing begins anew by itself."""
    feed.happen("gone", 1)
    copy = Copy()
    await follower(feed, copy).catch_up()
    refused = {"code": 1014, "errors": [{"element": "lastEventId", "reason": "is not a position"}]}
    feed.script = [httpx.Response(400, json=refused)]
    with pytest.raises(FeedRefused, match="lastEventId") as refusal:
        await follower(feed, copy).catch_up()
    assert refusal.value.elements == ["lastEventId"]
    feed.present = {}
    feed.happen("cv1", 5)
    await follower(feed, copy).catch_up(anew=True)
    assert (copy.versions, copy.kept.position) == ({"cv1": 5}, "e1:2")
    assert copy.effects == []


async def test_a_page_that_does_not_go_on_from_the_place_is_never_applied(feed: Any) -> None:
    feed.happen("cv1", 1)
    copy = Copy()
    await follower(feed, copy).catch_up()
    before = copy.kept
    feed.script = [
        httpx.Response(200, json=feed.events, headers={"x-feed-from": "e1:7", "x-feed-to": "e1:8"})
    ]
    with pytest.raises(NotMyRange):
        await follower(feed, copy).catch_up()
    assert (copy.kept, copy.effects) == (before, [])


async def test_of_two_that_keep_one_copy_the_slower_one_ends_and_leaves_it_as_it_is(feed: Any) -> None:
    feed.happen("cv1", 1)
    copy = Copy()
    ahead = follower(feed, copy)
    await ahead.catch_up()
    feed.happen("cv1", 2)

    class Slow(Reader):
        async def page(self, position: str | None, wait: timedelta) -> Page:
            page = await super().page(position, wait)
            feed.happen("cv1", 3)
            await ahead.catch_up()
            return page

    client = httpx.AsyncClient(transport=httpx.MockTransport(feed), base_url="http://feed")
    with pytest.raises(Overtaken):
        await Follower(Slow(client), copy).catch_up()
    assert (copy.kept.position, copy.versions) == ("e1:3", {"cv1": 3})
    assert copy.effects == ["event-cv1-2-replaced", "event-cv1-3-replaced"]


async def test_a_feed_that_begins_anew_is_copied_anew(feed: Any) -> None:
    feed.happen("gone", 1)
    copy = Copy()
    await follower(feed, copy).catch_up()
    feed.epoch, feed.events, feed.present = 2, [], {}
    feed.happen("cv1", 5)
    noticed: list[str] = []
    await follower(feed, copy, noticed=noticed).catch_up()
    assert noticed == ["began"]
    assert copy.versions == {"cv1": 5}


async def test_a_restored_feed_repeats_itself_and_no_effect_comes_twice(feed: Any) -> None:
    feed.happen("cv1", 1)
    copy = Copy()
    await follower(feed, copy).catch_up()
    feed.happen("cv1", 2)
    feed.happen("cv1", 3)
    await follower(feed, copy).catch_up()
    assert len(copy.effects) == 2
    feed.known = 1
    noticed: list[str] = []
    await follower(feed, copy, noticed=noticed).catch_up()
    assert noticed == ["restored"]
    assert copy.effects == ["event-cv1-2-replaced", "event-cv1-3-replaced"]
    assert copy.kept.repeats


@pytest.mark.parametrize("restored", [True, False])
async def test_while_there_is_no_snapshot_the_copy_holds_what_it_had(feed: Any, restored: bool) -> None:
    feed.happen("cv1", 1)
    copy = Copy()
    await follower(feed, copy).catch_up()
    before, held = copy.kept, dict(copy.versions)
    feed.happen("cv1", 2)
    told = httpx.Response(409 if restored else 410, json={"lastEventId": "e1:0"})
    feed.script = [told, httpx.Response(503, json={}), httpx.Response(403, json={})]
    with pytest.raises(FeedRefused):
        await follower(feed, copy).catch_up()
    assert (copy.kept, copy.versions) == (before, held)
    # Killed before there was one, it is told so again.
    feed.script = [told, httpx.Response(503, json={})]
    await follower(feed, copy).catch_up()
    assert (copy.versions, copy.kept.repeats) == ({"cv1": 2}, restored)


async def test_who_was_handed_over_is_as_the_snapshot_of_a_restored_feed_says(feed: Any) -> None:
    """The back-up was made before the hand-over that was told, and the owner has undone it meanwhile."""
    feed.happen("lost and kept after all", 1)
    copy = Copy()
    await follower(feed, copy).catch_up()
    feed.happen("never came", 2, "came")
    await follower(feed, copy).catch_up()
    feed.known = 1
    del feed.present["never came"], feed.events[1]
    await follower(feed, copy).catch_up()
    assert copy.versions == {"lost and kept after all": 1}
    feed.happen("lost and kept after all", 3)
    await follower(feed, copy).catch_up()
    assert copy.versions == {"lost and kept after all": 3}


def test_waiting_doubles_up_to_its_longest_and_is_at_least_what_was_asked() -> None:
    waiting = Waiting(timedelta(seconds=1), timedelta(seconds=8))
    for failures, most in ((0, 1), (1, 2), (2, 4), (3, 8), (30, 8)):
        assert most / 2 <= waiting.after(failures) <= most
    assert waiting.after(0, 20) == 20


def test_events_say_when_nothing_may_be_kept() -> None:
    raw = {"id": "1", "eventid": "2", "subject": "s", "time": "t"}
    handed_over = {**raw, "type": "dk.cvhub.change-feed.citizen-handed-over.v1"}
    erased = Event.of({**raw, "type": "dk.cvhub.cv-registry.cv-changed.v1", "method": "DELETE"})
    left = Event.of({**handed_over, "data": {"change": "left", "version": 1}})
    came = Event.of({**handed_over, "data": {"change": "came", "version": 1}})
    assert [erased.is_goodbye, left.is_goodbye, came.is_goodbye] == [True, True, False]
    assert [erased.has_come, left.has_come, came.has_come] == [False, False, True]
