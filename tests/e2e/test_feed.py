"""The feed through the gateway: a write is told of, and followers miss nothing whatever is killed."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
from tests.e2e.caller import JOBNET, STAR, Caller, Json, caught_up, fault, population, small_cv
from tests.e2e.followers import FEED, MemoryCopy, following, position
from tests.e2e.load import load
from tests.e2e.system import REGISTRY, System
from typer.testing import CliRunner

from cvhub.cli import app
from servicekit.testing import eventually

pytestmark = pytest.mark.timeout(400)

PATIENCE = timedelta(seconds=90)


async def test_a_write_comes_out_of_the_feed_and_of_the_change_list_under_its_own_id(caller: Caller) -> None:
    one = population(50)[0]
    begun = datetime.now(UTC) - timedelta(seconds=1)
    after = await position(caller)
    poll = asyncio.create_task(_page(caller, after))
    receipt = (await caller.replace_cv(one.person_number, small_cv("<p>nyt</p>"))).json()["ServiceReceipt"]
    async with asyncio.timeout(PATIENCE.total_seconds()):
        seen, after = await poll
        while receipt["MessageIdentifier"] not in [event["eventid"] for event in seen]:
            page, after = await _page(caller, after)
            seen += page
    [event] = [event for event in seen if event["eventid"] == receipt["MessageIdentifier"]]
    assert event["data"]["cvNumber"] == one.cv_number
    start = begun.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    listed = (await caller.call("GET", f"/v6/Cv/changes?CVChangeStartTime={start}")).json()
    assert [item["CVNumber"] for item in listed["CVUpdateList"]].count(one.cv_number) == 1


async def _page(caller: Caller, after: str) -> tuple[list[Json], str]:
    """Give what happens next after a position, whoever did it, and the position behind it."""
    answer = await caller.call("GET", f"/v1/feed/cv?lastEventId={after}&timeout=20000")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-feed-from"] == after
    events: list[Json] = answer.json()
    return events, answer.headers["x-feed-to"]


async def test_the_change_list_shows_the_write_whose_token_it_is_given(caller: Caller) -> None:
    one = population(50)[2]
    start = (datetime.now(UTC) - timedelta(seconds=1)).isoformat(timespec="milliseconds")
    listing = f"/v6/Cv/changes?CVChangeStartTime={start.replace('+00:00', 'Z')}"
    saved = await caller.replace_cv(one.person_number, small_cv("<p>set</p>"))
    token = saved.headers["x-consistency-token"]
    answer = await caught_up(partial(caller.call, "GET", listing, x_consistency_token=token))
    assert one.cv_number in [item["CVNumber"] for item in answer.json()["CVUpdateList"]]


async def test_only_with_the_scope_and_only_for_ones_own(caller: Caller) -> None:
    unscoped = caller.acting(JOBNET, scopes="cv.read")
    assert fault(await unscoped.call("GET", "/v1/feed/cv")) == (403, 1013)
    stranger = caller.acting("8:75100")
    mine = await position(caller)
    assert fault(await stranger.call("GET", f"/v1/feed/cv?lastEventId={mine}")) == (400, 1014)


async def test_an_operator_is_told_of_an_event_that_the_feed_has_lost(
    system: System, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in system.operator_environment().items():
        monkeypatch.setenv(name, value)
    saved = await caller.replace_cv(population(50)[1].person_number, small_cv("<p>bevist</p>"))
    event = saved.json()["ServiceReceipt"]["MessageIdentifier"]

    async def all_agree() -> None:
        code, said = await verified()
        assert (code, "are in the feed" in said) == (0, True), said

    await eventually(all_agree, PATIENCE)
    [row] = await system.rows("delete from seen_events where event_id = $1 returning *", event, service=FEED)
    try:
        code, said = await verified()
        assert code == 1
        assert event in said
        assert "All CVs are as at their owner" in said
    finally:
        await system.rows("insert into seen_events values ($1, $2)", *row, service=FEED)
    await all_agree()


async def verified() -> tuple[int, str]:
    """Compare the feed with log and owners as an operator does; gives the exit code and what is said."""
    done = await asyncio.to_thread(CliRunner().invoke, app, ["verify", "feed"])
    return done.exit_code, done.output


@pytest.mark.long
async def test_ten_followers_miss_nothing_while_feed_relay_and_broker_are_killed(
    system: System, caller: Caller
) -> None:
    await position(caller)
    callers = [caller.acting(organisation) for organisation in (JOBNET, STAR) for _ in range(5)]
    async with following(callers) as copies:
        async with load(caller) as writers:
            for part in (FEED, REGISTRY, "Kafka", FEED):
                await writers.has_grown(30)
                await asyncio.to_thread(system.kill, part)
                await asyncio.to_thread(system.revive, part)
            await writers.has_grown(30)
        acknowledged = [one.event_id for one in writers.acknowledged]
        await eventually(lambda: _complete(copies, acknowledged), PATIENCE)
    rows = await system.rows("select event_id from entries", service=FEED)
    ids = [row["event_id"] for row in rows]
    assert len(ids) == len(set(ids))
    versions = {row["cv_id"]: row["version"] for row in await system.rows("select cv_id, version from cvs")}
    for copy in copies:
        assert copy.versions == versions


def _complete(copies: Sequence[MemoryCopy], acknowledged: Sequence[UUID]) -> None:
    for copy in copies:
        changes = copy.changes
        assert set(acknowledged) <= set(changes)
        assert len(changes) == len(set(changes))
