"""Calls between services, over TCP: what each way to fail is called, and what travels along."""

import gzip
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from cv_contracts.faults import FieldError
from servicekit.caller import Caller, Organisation, User
from servicekit.testing import free_port
from servicekit.web.client import (
    DEADLINE,
    ServiceClient,
    ServiceGarbled,
    ServiceRefused,
    ServiceTimedOut,
    ServiceUnreachable,
)
from servicekit.web.testing import Identities
from servicekit.web.upstream_testing import ScriptedOwner, cut, hang, plain

SECRET = "0101011234"


@dataclass
class World:
    service: ScriptedOwner
    client: ServiceClient
    keys: Identities


@pytest_asyncio.fixture
async def world(scripted: ScriptedOwner, tmp_path: Path) -> AsyncIterator[World]:
    keys = Identities(tmp_path, ["cv-status", "cv-registry"])
    world = World(scripted, client_of(scripted, keys), keys)
    yield world
    world.client.close()


def client_of(service: ScriptedOwner, keys: Identities, deadline: timedelta = DEADLINE) -> ServiceClient:
    return ServiceClient(service.url, "cv-registry", keys.signers["cv-status"], deadline=deadline)


async def test_json_goes_there_and_back_over_one_connection(world: World) -> None:
    world.service.answering = plain(b'{"name":"\xc3\x86r\xc3\xb8"}')
    for _ in range(3):
        assert await world.client.post_json("/internal/x", {"a": [1]}) == {"name": "Ærø"}
    assert [request.body for request in world.service.received] == [b'{"a":[1]}'] * 3
    assert world.service.connections == 1


async def test_the_call_is_signed_and_carries_the_caller_and_the_deadline(world: World) -> None:
    one = Organisation(1, "101")
    caller = Caller("client", one, one, one, User("N. N.", 1, "x"))
    with closing(client_of(world.service, world.keys, timedelta(seconds=3))) as client:
        await client.post_json("/internal/x", {}, caller=caller)
    [request] = world.service.received
    seen = world.keys.verifier("cv-registry").authenticate(request.header("authorization"))
    assert (seen.service, seen.caller) == ("cv-status", caller)
    assert 0 < int(request.header("x-deadline-ms") or 0) <= 3000


async def test_compressed_answers_are_read(world: World) -> None:
    world.service.answering = plain(gzip.compress(b'{"a":1}'), "200 OK", "content-encoding: gzip")
    assert await world.client.post_json("/internal/x", {}) == {"a": 1}


@pytest.mark.parametrize(
    ("answer", "headers"),
    [
        (b'{"a":', ()),
        (b"<html>", ()),
        (b"no gzip", ("content-encoding: gzip",)),
        (gzip.compress(b'{"a":1}', mtime=0)[:-9], ("content-encoding: gzip",)),
    ],
)
async def test_an_answer_that_cannot_be_read_is_garbled(
    world: World, answer: bytes, headers: tuple[str, ...]
) -> None:
    world.service.answering = plain(answer, "200 OK", *headers)
    with pytest.raises(ServiceGarbled):
        await world.client.post_json("/internal/x", {})


@pytest.mark.parametrize(
    ("body", "code", "errors"),
    [
        (b'{"code":1013}', 1013, ()),
        *((body, None, ()) for body in (b"{}", b"<html>", b"", b"[1]")),
        (b'{"code":9157,"errors":[{"element":"a[1]","reason":"b"}]}', 9157, (FieldError("a[1]", "b"),)),
        (b'{"code":9157,"errors":[{"element":"a[1]"}]}', 9157, ()),
        (b'{"code":9157,"errors":["a"]}', 9157, ()),
    ],
)
async def test_a_refusal_names_its_status_its_fault_and_the_elements(
    world: World, body: bytes, code: int | None, errors: tuple[FieldError, ...]
) -> None:
    world.service.answering = plain(body, "403 Forbidden")
    with pytest.raises(ServiceRefused) as refused:
        await world.client.post_json("/internal/x", {"number": SECRET})
    assert (refused.value.status, refused.value.code, refused.value.errors) == (403, code, errors)
    assert SECRET not in str(refused.value)


async def test_no_answer_in_time_is_timed_out(world: World) -> None:
    world.service.answering = hang
    with (
        closing(client_of(world.service, world.keys, timedelta(seconds=0.1))) as client,
        pytest.raises(ServiceTimedOut),
    ):
        await client.post_json("/internal/x", {})


async def test_a_service_that_is_away_or_hangs_up_is_unreachable(world: World) -> None:
    world.service.answering = cut
    with pytest.raises(ServiceUnreachable):
        await world.client.post_json("/internal/x", {})
    nobody = ServiceClient(f"http://127.0.0.1:{free_port()}", "cv-registry", world.keys.signers["cv-status"])
    with pytest.raises(ServiceUnreachable):
        await nobody.post_json("/internal/x", {})
