"""The gateway's own token is fresh whenever something is sent, however long body, queue or answer were waited for."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest

from cv_gateway import polls
from cv_gateway.app import Gateway
from cv_gateway.testing import Provider, call_headers
from servicekit.testing import eventually, is_now
from servicekit.web.upstream_testing import Received, ScriptedOwner, cut, hang, plain

pytestmark = pytest.mark.slow

LATER = 40
"""Seconds after which no token of before is accepted."""


def _let_time_pass(gateway: Gateway) -> None:
    gateway._owners._signer._clock = lambda: time.time() + LATER


def _is_fresh(request: Received) -> bool:
    _, _, token = (request.header("authorization") or "").partition(" ")
    issued: int = jwt.decode(token, options={"verify_signature": False})["iat"]
    return issued >= time.time() + LATER - 5


async def test_a_token_is_made_after_the_body_has_come(
    start: Any, provider: Provider, registry: ScriptedOwner
) -> None:
    async with start() as (gateway, client):
        headers = call_headers(provider.token())
        await client.put("/v6/Cv", headers=headers, content=b"{}")

        async def body() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(0.2)
            _let_time_pass(gateway)
            yield b"}"

        answer = await client.put("/v6/Cv", headers=headers, content=body())
    assert answer.status_code == 200
    assert [_is_fresh(request) for request in registry.received] == [False, True]


async def test_a_header_that_came_twice_is_refused_before_the_body_has_come(
    start: Any, provider: Provider, registry: ScriptedOwner
) -> None:
    async with start() as (_, client):
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        lines = [*call_headers(provider.token()).items(), ("x-requestid", "a"), ("x-requestid", "b")]
        head = "".join(f"{name}: {value}\r\n" for name, value in lines)
        writer.write(f"PUT /v6/Cv HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n{head}\r\n".encode())
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 400")
    assert registry.received == []


@pytest.mark.parametrize("end", [cut, hang])
async def test_a_poll_that_is_sent_again_has_a_new_token(
    start: Any, provider: Provider, registry: ScriptedOwner, monkeypatch: pytest.MonkeyPatch, end: Any
) -> None:
    monkeypatch.setattr(polls, "LEAVING_SECONDS", 0.0)
    release = asyncio.Event()

    async def waits(request: Received, writer: asyncio.StreamWriter) -> bool:
        await release.wait()
        ended: bool = await end(request, writer)
        return ended

    registry.script, registry.answering = [waits], plain(b"[]")
    async with start(owners={"change-feed": registry.url}) as (gateway, client):
        headers = call_headers(provider.token(scope="cv.changes"))
        poll = asyncio.create_task(client.get("/v1/feed/cv?timeout=60000", headers=headers))
        await eventually(lambda: is_now(len(registry.received), 1))
        _let_time_pass(gateway)
        release.set()
        if end is hang:
            gateway.health.drain()
        assert (await poll).status_code == 200
    assert [_is_fresh(request) for request in registry.received] == [False, True]
