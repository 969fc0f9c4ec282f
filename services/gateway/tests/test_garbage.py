"""What a call used goes with the call: nothing of it waits for the garbage collector, which hardly ever runs."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from cv_contracts.faults import Problem
from cv_gateway.departure import LOOK_AFTER_SECONDS, Departure
from cv_gateway.testing import Provider, call_headers
from servicekit.web.upstream_testing import Received, ScriptedOwner, plain

pytestmark = pytest.mark.slow

Start = Any


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left(kind: type) -> int:
    return sum(isinstance(one, kind) for one in gc.get_objects())


async def test_a_refused_call_leaves_nothing(start: Start) -> None:
    async with start() as (_, client):
        for _ in range(20):
            assert (await client.get("/v6/Cv")).status_code == 401
        assert left(Problem) == 0


async def test_a_call_that_was_looked_after_leaves_nothing(
    start: Start, provider: Provider, registry: ScriptedOwner
) -> None:
    async def slowly(request: Received, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(2 * LOOK_AFTER_SECONDS)
        return await plain()(request, writer)

    registry.answering = slowly
    async with start() as (_, client):
        for _ in range(5):
            answer = await client.get("/v6/Cv", headers=call_headers(provider.token()))
            assert answer.status_code == 200
        assert left(Departure) == 0
