"""How each part of the running stack feels."""

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from cvhub.services import SERVICES, SINKS
from cvhub.state import Run
from servicekit.web.tls import trusting


@dataclass(frozen=True)
class PartState:
    """One part; `state` is "ready" or says what is the matter."""

    part: str
    port: int
    pid: int | None
    memory_mb: int | None
    state: str

    @property
    def well(self) -> bool:
        return self.state == "ready"


def states_of(run: Run) -> list[PartState]:
    brokers = [
        _server(run, *names) for names in (("Kafka", "kafka"), ("Kafka 2", "kafka-2"), ("Kafka 3", "kafka-3"))
    ]
    servers = [_server(run, "PostgreSQL", "postgres"), *brokers]
    names = ["idp", SINKS, *(service.name for service in SERVICES)]
    with ThreadPoolExecutor(len(names)) as pool:
        parts = list(pool.map(lambda name: _http(run, name), names))
    return [*(server for server in servers if server.pid is not None), *parts]


def _server(run: Run, name: str, port_of: str) -> PartState:
    port, pid = run.ports[port_of], run.pids.get(name)
    with socket.socket() as probe:
        probe.settimeout(1)
        open_ = probe.connect_ex(("127.0.0.1", port)) == 0
    return PartState(name, port, pid, _memory(pid), "ready" if open_ else "not reachable")


def _http(run: Run, name: str) -> PartState:
    pid = run.pids.get(name)
    return PartState(name, run.ports[name], pid, _memory(pid), _ready(run.url(name)))


def _ready(url: str) -> str:
    try:
        answer = httpx.get(f"{url}/health/ready", timeout=5, trust_env=False, verify=trusting())
    except httpx.HTTPError:
        return "not reachable"
    if answer.status_code == 200:
        return "ready"
    try:
        return f"not ready: {what_fails(answer.json())}"
    except ValueError:
        return f"answers {answer.status_code}"


def what_fails(told: Mapping[str, Any]) -> str:
    """Name the checks of a service that fail, from what it tells of its readiness; else give its own word."""
    failed = [part for part, one in told.get("checks", {}).items() if one.get("status") != "ok"]
    return ", ".join(failed) or str(told.get("status"))


def _memory(pid: int | None) -> int | None:
    try:
        return psutil.Process(pid).memory_info().rss // 1_000_000 if pid else None
    except psutil.Error:
        return None
