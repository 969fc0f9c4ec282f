"""Owners that take long: who waits for them, and from whom they take nothing."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from cv_contracts.methods import METHOD_BY_NUMBER
from cv_gateway.owners import BY_NUMBER
from cv_gateway.settings import LimitSettings
from cv_gateway.soap.testing import Generator, call_envelope, caller_blocks
from cv_gateway.testing import Provider, call_headers
from servicekit.testing import eventually, is_now
from servicekit.web.room import LEAST
from servicekit.web.tls import trusting
from servicekit.web.upstream_testing import Received, ScriptedOwner, hang, plain

pytestmark = pytest.mark.slow

Start = Any
JOBNET = {"organisation": {"type": 101, "code": "1"}, "may_act_as": []}


def jobnet_headers(provider: Provider) -> dict[str, str]:
    return call_headers(
        provider.token(**JOBNET), x_activeorganisation_type="101", x_activeorganisation_code="1"
    )


async def test_a_slow_owner_takes_nothing_from_the_others(
    start: Start, provider: Provider, registry: ScriptedOwner
) -> None:
    slow = ScriptedOwner(answering=hang)
    await slow.start()
    limits = {"connections": 2, "waiting": 0}
    async with start(limits=limits, owners={"cv-registry": registry.url, "cv-status": slow.url}) as (
        _,
        client,
    ):
        headers = call_headers(provider.token())
        held = [asyncio.create_task(client.get("/v6/Cv/cvstatus", headers=headers)) for _ in range(5)]
        await eventually(lambda: is_now(len(slow.received), 2))
        assert (await client.get("/v6/Cv", headers=headers)).status_code == 200
        assert sum(not task.done() for task in held) == 2
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
    await slow.stop()


@pytest.mark.parametrize(("verb", "path"), [("GET", "/v6/Cv/pdf"), ("POST", "/v6/JobnetAccount/letter")])
async def test_a_renderer_that_hangs_takes_neither_getcv_nor_replacecv_away(
    start: Start, provider: Provider, registry: ScriptedOwner, verb: str, path: str
) -> None:
    async def answering(request: Received, writer: asyncio.StreamWriter) -> bool:
        return await (hang if path in request.line else plain())(request, writer)

    registry.answering, limits, headers = answering, LimitSettings(), call_headers(provider.token())
    calls = limits.connections + limits.waiting
    async with (
        start() as (_, client),
        httpx.AsyncClient(
            verify=trusting(),
            base_url=client.base_url,
            timeout=60,
            limits=httpx.Limits(max_connections=calls),
        ) as readers,
    ):
        held = [asyncio.create_task(readers.request(verb, path, headers=headers)) for _ in range(calls)]
        await eventually(lambda: is_now(len(registry.received), limits.documents))
        assert (await client.get("/v6/Cv", headers=headers)).status_code == 200
        assert (await client.put("/v6/Cv", headers=headers, content=b"{}")).status_code == 200
        assert (await client.request(verb, path, headers=headers)).json()["code"] == 4430
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)


async def test_a_call_by_soap_that_its_owner_has_no_room_for_takes_nothing_of_the_quota(
    start: Start, provider: Provider, registry: ScriptedOwner
) -> None:
    headers = jobnet_headers(provider)
    method = METHOD_BY_NUMBER[BY_NUMBER]
    sent = call_envelope(method, Generator(3).request(method), caller_blocks(101, "1"))
    registry.answering = hang
    async with start(limits={"by_number": 1, "connections": 1, "waiting": 0}) as (_, client):
        held = asyncio.create_task(client.get("/v6/Cv", headers=headers))
        await eventually(lambda: is_now(len(registry.received), 1))
        crowded = await client.post("/soap/v6", content=sent, headers=headers)
        assert b"<ErrorCode>1011<" in crowded.content
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
        await eventually(lambda: is_now(registry.open, 0))
        registry.answering = plain(json.dumps(Generator(3).answer(method)).encode())
        assert (await client.post("/soap/v6", content=sent, headers=headers)).status_code == 200


@pytest.mark.parametrize(("with_token", "refused"), [(True, False), (False, True)])
async def test_who_waits_for_what_a_token_names_makes_no_owner_slow(
    start: Start, provider: Provider, registry: ScriptedOwner, *, with_token: bool, refused: bool
) -> None:
    """An owner lets such a reader wait on purpose; were it taken for slow, it would be given less of what it can do."""

    async def late(request: Received, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(0.2)
        return await plain()(request, writer)

    calls = LEAST + 4
    async with start(limits={"connections": calls, "waiting": 0}) as (_, client):
        headers = call_headers(provider.token())
        registry.answering = plain(b"{}", "200 OK", "x-consistency-token: abc")
        token = (await client.get("/v6/Cv", headers=headers)).headers["x-consistency-token"]
        registry.answering = late
        sent = {**headers, "x-consistency-token": token} if with_token else headers
        for _ in range(2):
            answers = await asyncio.gather(*(client.get("/v6/Cv", headers=sent) for _ in range(calls)))
        assert any(answer.status_code == 503 for answer in answers) == refused
