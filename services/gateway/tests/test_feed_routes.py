"""The feed's own routes: admitted as method 9, compressed, with their range, and waiting beside all other calls."""

import asyncio
import gzip
from datetime import timedelta
from typing import Any

import httpx
import pytest

from cv_gateway import polls
from cv_gateway.testing import Provider, call_headers
from servicekit.testing import eventually, is_now
from servicekit.web.room import LEAST
from servicekit.web.upstream_testing import ScriptedOwner, hang, plain

pytestmark = pytest.mark.slow

ROUTES = ["/v1/feed/cv", "/v1/feed/cv/snapshot"]
GOING_ON = [f"/v1/feed/cv?lastEventId={'p' * 55}", f"/v1/feed/cv/snapshot?after={'s' * 76}"]


@pytest.mark.parametrize("target", GOING_ON)
async def test_the_feed_is_reached_with_its_scope_and_its_range_comes_back(
    start: Any, provider: Provider, registry: ScriptedOwner, target: str
) -> None:
    body = gzip.compress(b'[{"id":"a"}]')
    registry.answering = plain(
        body, "200 OK", "content-encoding: gzip", "x-feed-from: a", "x-feed-to: b", "x-feed-more: true"
    )
    async with start(owners={"change-feed": registry.url}) as (_, client):
        headers = {**call_headers(provider.token(scope="cv.changes")), "accept-encoding": "br, gzip"}
        answer = await client.get(target, headers=headers)
    assert answer.json() == [{"id": "a"}]
    assert [answer.headers[f"x-feed-{what}"] for what in ("from", "to", "more")] == ["a", "b", "true"]
    [request] = registry.received
    assert request.line == f"GET {target} HTTP/1.1"
    assert request.header("accept-encoding") == "gzip"


async def test_who_takes_no_gzip_and_who_calls_another_owner_asks_for_none(
    start: Any, provider: Provider, registry: ScriptedOwner
) -> None:
    async with start(owners={"change-feed": registry.url, "cv-registry": registry.url}) as (_, client):
        headers = call_headers(provider.token(scope="cv.changes cv.read"))
        for taken in ("identity", "gzip;q=0, identity", "deflate, GZIP; q=0.000"):
            await client.get("/v1/feed/cv", headers={**headers, "accept-encoding": taken})
        await client.get("/v6/Cv", headers={**headers, "accept-encoding": "gzip"})
    assert [request.header("accept-encoding") for request in registry.received] == [None] * 4


@pytest.mark.parametrize("path", ROUTES)
async def test_without_the_scope_of_changes_it_is_1013(
    start: Any, provider: Provider, registry: ScriptedOwner, path: str
) -> None:
    async with start(owners={"change-feed": registry.url}) as (_, client):
        answer = await client.get(path, headers=call_headers(provider.token(scope="cv.read")))
        post = await client.post(path, headers=call_headers(provider.token(scope="cv.changes")))
    assert answer.json()["code"] == 1013
    assert (post.status_code, post.headers["allow"]) == (405, "GET")
    assert registry.received == []


async def test_those_who_wait_for_the_feed_keep_nobody_else_from_a_call(
    start: Any, provider: Provider, registry: ScriptedOwner
) -> None:
    registry.script = [hang, hang, hang]
    limits = {"in_flight": 1, "connections": 1, "waiting": 0, "polls": 3}
    owners = {"change-feed": registry.url, "cv-registry": registry.url}
    async with start(owners=owners, limits=limits) as (_, client):
        headers = call_headers(provider.token(scope="cv.changes cv.read"))
        waiting = [asyncio.create_task(client.get("/v1/feed/cv", headers=headers)) for _ in range(3)]

        def all_wait() -> None:
            assert len(registry.received) == 3

        await eventually(all_wait)
        refused = await client.get("/v1/feed/cv", headers=headers)
        answer: httpx.Response = await client.get("/v6/Cv", headers=headers)
        for poll in waiting:
            poll.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert (refused.status_code, answer.status_code) == (503, 200)


async def test_a_feed_that_hung_is_given_all_polls_again_as_soon_as_it_answers(
    start: Any, provider: Provider, registry: ScriptedOwner
) -> None:
    most = LEAST + 4
    registry.script = [hang] * (2 * most)
    limits = {"polls": most, "deadlines": {"Feed": timedelta(seconds=2)}}
    async with start(owners={"change-feed": registry.url}, limits=limits) as (_, client):
        headers = call_headers(provider.token(scope="cv.changes"))

        async def poll() -> int:
            answer: httpx.Response = await client.get("/v1/feed/cv", headers=headers)
            return answer.status_code

        for _ in range(2):
            assert set(await asyncio.gather(*(poll() for _ in range(most)))) == {503}
        assert len(registry.received) == 2 * most
        assert await asyncio.gather(*(poll() for _ in range(most))) == [200] * most


async def test_polls_are_answered_one_after_the_other_as_the_process_is_about_to_leave(
    start: Any, provider: Provider, registry: ScriptedOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polls, "LEAVING_SECONDS", 1.0)
    many = 30
    registry.script = [hang] * many
    registry.answering = plain(b"[]", "200 OK", "x-feed-from: a", "x-feed-to: b")
    async with start(owners={"change-feed": registry.url}) as (gateway, client):
        headers = call_headers(provider.token(scope="cv.changes"))
        path = f"{GOING_ON[0]}&timeout=60000"
        waiting = [asyncio.create_task(client.get(path, headers=headers)) for _ in range(many)]
        await eventually(lambda: is_now(len(registry.received), many))
        gateway.health.drain()
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert not all(poll.done() for poll in waiting)
        answers = await asyncio.gather(*waiting, client.get(path, headers=headers))
    assert {(one.status_code, one.text, one.headers["x-feed-to"]) for one in answers} == {(200, "[]", "b")}
    assert len(registry.received) == 2 * many + 1
    first, *_, last = registry.received
    assert first.line == last.line == f"GET {path} HTTP/1.1"
    assert int(last.header("x-deadline-ms") or 0) <= 2_000
    assert gateway._owners.polls.busy == 0


async def test_a_poll_that_nobody_answers_as_the_process_is_about_to_leave_is_refused_soon(
    start: Any, provider: Provider, registry: ScriptedOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polls, "LEAVING_SECONDS", 0.0)
    registry.answering = hang
    async with start(owners={"change-feed": registry.url}) as (gateway, client):
        headers = call_headers(provider.token(scope="cv.changes"))
        poll = asyncio.create_task(client.get("/v1/feed/cv?timeout=60000", headers=headers))
        await eventually(lambda: is_now(len(registry.received), 1))
        gateway.health.drain()
        answer = await poll
    assert (answer.status_code, answer.json()["code"]) == (503, 1011)
    assert int(answer.headers["retry-after"]) > 0
