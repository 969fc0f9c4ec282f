"""A real process that is asked to leave while clients keep calling it."""

import asyncio
import json
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from servicekit.testing import eventually, free_port
from servicekit.web.tls import trusting

pytestmark = pytest.mark.slow

SERVICE = Path(__file__).with_name("drained_service.py")


@dataclass
class Service:
    """A running process and what it wrote."""

    process: Process
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def end(self) -> list[dict[str, Any]]:
        """Wait until it has left, give its log."""
        out, err = await asyncio.wait_for(self.process.communicate(), 60)
        assert err == b""
        return [json.loads(line) for line in out.splitlines()]


@asynccontextmanager
async def running(**settings: object) -> AsyncIterator[Service]:
    port = free_port()
    given = json.dumps({"port": port, "drain_idle": "PT0.5S", **settings})
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVICE), given, stdout=PIPE, stderr=PIPE
    )
    service = Service(process, port)
    try:
        async with httpx.AsyncClient(verify=trusting(), base_url=service.url) as client:
            await eventually(lambda: client.get("/health/ready"))
        yield service
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@dataclass
class KeepAliveClient:
    """Calls one after the other over one connection; leaves it when told to, and stops when no new one is accepted."""

    port: int
    answered: int = 0
    told_to_leave: int = 0
    failures: list[str] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionError:
                return
            try:
                if not await self._call_until_told(reader, writer):
                    return
            finally:
                writer.close()

    async def _call_until_told(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Give whether to try a new connection; a reset of one never yet answered counts as not accepted."""
        answered_here = 0
        while True:
            try:
                writer.write(b"GET /quick HTTP/1.1\r\nhost: x\r\n\r\n")
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(5)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                if answered_here:
                    self.failures.append(repr(error))
                return False
            if not head.startswith(b"http/1.1 200") or body != b"quick":
                self.failures.append(head.decode())
            answered_here += 1
            self.answered += 1
            if b"connection: close" in head:
                self.told_to_leave += 1
                return True


async def test_no_request_fails_when_a_service_is_asked_to_leave_under_load() -> None:
    async with running(drain_idle="PT5S") as service:
        clients = [KeepAliveClient(service.port) for _ in range(32)]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run())
            await eventually(lambda: min(client.answered for client in clients) >= 20)
            service.process.send_signal(signal.SIGTERM)
        await service.end()
        assert [client.failures for client in clients] == [[]] * 32
        assert all(client.told_to_leave >= 1 for client in clients)
        assert service.process.returncode == 0


async def test_a_request_in_flight_is_answered_before_the_process_leaves() -> None:
    async with (
        running(drain_idle="PT5S") as service,
        httpx.AsyncClient(verify=trusting(), base_url=service.url, timeout=10) as client,
    ):
        await client.get("/quick")
        waiting = [asyncio.create_task(client.get("/wait")) for _ in range(5)]
        other = httpx.AsyncClient(verify=trusting(), base_url=service.url)
        await other.get("/quick")
        service.process.send_signal(signal.SIGTERM)
        await eventually(lambda: refused(service.port))
        released = await other.get("/release")
        await other.aclose()
        for answer in await asyncio.gather(*waiting):
            assert (answer.status_code, answer.json()) == (200, "released")
            assert answer.headers["connection"] == "close"
        assert released.headers["connection"] == "close"
        log = await service.end()
        assert service.process.returncode == 0
        events = [entry["event"] for entry in log]
        assert events.index("draining") < events.index("lifespan_ended") < events.index("stopped")


def refused(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return False
    except ConnectionRefusedError:
        return True


async def test_a_request_that_waits_hears_that_the_process_is_about_to_leave() -> None:
    async with (
        running() as service,
        httpx.AsyncClient(verify=trusting(), base_url=service.url, timeout=10) as client,
    ):
        waiting = asyncio.create_task(client.get("/leaving"))
        await client.get("/quick")
        service.process.send_signal(signal.SIGTERM)
        assert (await waiting).json() == "leaving"
        await service.end()
        assert service.process.returncode == 0


async def test_a_request_that_never_ends_is_given_up_after_the_grace_time() -> None:
    async with (
        running(grace="PT1S") as service,
        httpx.AsyncClient(verify=trusting(), base_url=service.url, timeout=10) as client,
    ):
        waiting = asyncio.create_task(client.get("/wait"))
        await client.get("/quick")
        service.process.send_signal(signal.SIGTERM)
        await service.end()
        assert service.process.returncode == 0
        with pytest.raises(httpx.HTTPError):
            (await waiting).raise_for_status()


async def test_a_process_whose_background_task_died_leaves_with_an_error() -> None:
    async with running() as service, httpx.AsyncClient(verify=trusting(), base_url=service.url) as client:
        await client.get("/die")
        log = await service.end()
        assert service.process.returncode == 1
        (died,) = [entry for entry in log if entry["event"] == "background_task_died"]
        assert died["task"] == "background"
        assert "Hansen" not in json.dumps(log)


async def test_a_port_that_is_taken_ends_the_process_with_an_error() -> None:
    async with running() as first:
        given = json.dumps({"port": first.port})
        second = await asyncio.create_subprocess_exec(
            sys.executable, str(SERVICE), given, stdout=PIPE, stderr=PIPE
        )
        await asyncio.wait_for(second.communicate(), 60)
        assert second.returncode not in (0, None)


async def test_no_url_is_logged() -> None:
    async with running() as service, httpx.AsyncClient(verify=trusting(), base_url=service.url) as client:
        await client.get("/quick?name=Hansen")
        await client.get("/nowhere/0101011234")
        service.process.send_signal(signal.SIGINT)
        log = json.dumps(await service.end())
        assert service.process.returncode == 0
        assert "Hansen" not in log
        assert "nowhere" not in log
