"""Whether each part of the running stack is well."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import psutil

from cvhub.services import SERVICES, SINKS
from cvhub.state import Run, State
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


def states_of(state: State) -> list[PartState]:
    """Ask all parts that run here, at the same time; none of them is waited for longer than some seconds."""
    from cvhub.servers.kafka import takes_part  # noqa: PLC0415 - an image of cvhub does without the servers
    from cvhub.servers.postgres import PostgresServer  # noqa: PLC0415

    run = state.running()
    ports = run.ports
    postgres = PostgresServer(state.folder / "postgres", ports["postgres"])
    servers: dict[str, tuple[str, Callable[[], bool]]] = {
        "PostgreSQL": ("postgres", postgres.answers),
        "Kafka": ("kafka", partial(takes_part, ports["kafka"])),
        "Kafka 2": ("kafka-2", partial(takes_part, ports["kafka-2"])),
        "Kafka 3": ("kafka-3", partial(takes_part, ports["kafka-3"])),
    }
    names = ["idp", SINKS, *(service.name for service in SERVICES)]
    with ThreadPoolExecutor(len(servers) + len(names)) as pool:
        asked = [
            *(pool.submit(_server, run, name, *its) for name, its in servers.items() if name in run.pids),
            *(pool.submit(_http, run, name) for name in names),
        ]
        return [one.result() for one in asked]


def _server(run: Run, name: str, port_of: str, answers: Callable[[], bool]) -> PartState:
    pid = run.pids[name]
    return PartState(name, run.ports[port_of], pid, _memory(pid), "ready" if answers() else "does not answer")


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
