"""Calls between services, over TCP: what each way to fail is called, and what travels along."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

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

SECRET = "0101011234"


@dataclass
class Scripted:
    """A small HTTP server that answers whatever it is told, and notes what it was asked."""

    port: int
    answer: bytes = b""
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    hold: asyncio.Event | None = None

    def says(self, body: bytes, status: str = "200 OK", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
        self.answer = "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                self.bodies.append(await reader.readexactly(length))
                self.heads.append(head)
                if self.hold is not None:
                    await self.hold.wait()
                if not self.answer:
                    return
                writer.write(self.answer)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()


@dataclass
class World:
    service: Scripted
    client: ServiceClient
    keys: Identities


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    service, keys = Scripted(free_port()), Identities(tmp_path, ["cv-status", "cv-registry"])
    service.says(b"{}")
    server = await asyncio.start_server(service.serve, "127.0.0.1", service.port)
    world = World(service, client_of(service, keys), keys)
    yield world
    world.client.close()
    server.close()


def client_of(service: Scripted, keys: Identities, deadline: timedelta = DEADLINE) -> ServiceClient:
    url = f"http://127.0.0.1:{service.port}"
    return ServiceClient(url, "cv-registry", keys.signers["cv-status"], deadline=deadline)


async def test_json_goes_there_and_back_over_one_connection(world: World) -> None:
    world.service.says(b'{"name":"\xc3\x86r\xc3\xb8"}')
    for _ in range(3):
        assert await world.client.post_json("/internal/x", {"a": [1]}) == {"name": "Ærø"}
    assert world.service.bodies == [b'{"a":[1]}'] * 3
    assert world.service.connections == 1


async def test_the_call_is_signed_and_carries_the_caller_and_the_deadline(world: World) -> None:
    one = Organisation(1, "101")
    caller = Caller("client", one, one, one, User("N. N.", 1, "x"))
    with closing(client_of(world.service, world.keys, timedelta(seconds=3))) as client:
        await client.post_json("/internal/x", {}, caller=caller)
    [head] = world.service.heads
    lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    seen = world.keys.verifier("cv-registry").authenticate(lines["authorization"])
    assert (seen.service, seen.caller) == ("cv-status", caller)
    assert 0 < int(lines["x-deadline-ms"]) <= 3000


async def test_compressed_answers_are_read(world: World) -> None:
    world.service.says(gzip.compress(b'{"a":1}'), "200 OK", "content-encoding: gzip")
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
    world.service.says(answer, "200 OK", *headers)
    with pytest.raises(ServiceGarbled):
        await world.client.post_json("/internal/x", {})


@pytest.mark.parametrize(
    ("body", "code"), [(b'{"code":1013}', 1013), (b"{}", None), (b"<html>", None), (b"", None)]
)
async def test_a_refusal_names_its_status_and_fault(world: World, body: bytes, code: int | None) -> None:
    world.service.says(body, "403 Forbidden")
    with pytest.raises(ServiceRefused) as refused:
        await world.client.post_json("/internal/x", {"number": SECRET})
    assert (refused.value.status, refused.value.code) == (403, code)
    assert SECRET not in str(refused.value)


async def test_no_answer_in_time_is_timed_out(world: World) -> None:
    world.service.hold = asyncio.Event()
    with (
        closing(client_of(world.service, world.keys, timedelta(seconds=0.1))) as client,
        pytest.raises(ServiceTimedOut),
    ):
        await client.post_json("/internal/x", {})


async def test_a_service_that_is_away_or_hangs_up_is_unreachable(world: World) -> None:
    world.service.answer = b""
    with pytest.raises(ServiceUnreachable):
        await world.client.post_json("/internal/x", {})
    nobody = ServiceClient(f"http://127.0.0.1:{free_port()}", "cv-registry", world.keys.signers["cv-status"])
    with pytest.raises(ServiceUnreachable):
        await nobody.post_json("/internal/x", {})
