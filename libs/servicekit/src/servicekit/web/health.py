"""Is this process alive, and may it be given work? Liveness asks nobody; readiness asks what the service needs."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import orjson
import structlog

log = structlog.get_logger(__name__)

Check = Callable[[], Awaitable[object]]
"""Returns detail to show (a mapping, or anything else for none) or raises when the dependency is not ready."""

CACHED_FOR = timedelta(seconds=1)
LEAVING_SECONDS: Final = 5.0
"""Over so long the answers that waited are spread once the process is about to leave: whoever gets one asks anew at once."""
HealthResponse = tuple[int, list[tuple[bytes, bytes]], bytes]


@dataclass(frozen=True, slots=True)
class _Named:
    check: Check
    timeout: timedelta


@dataclass(slots=True)
class Health:
    """Liveness and readiness of one process. Answers hold names of checks and error types, nothing else about them."""

    on_death: Callable[[], None] | None = None
    """Called once when a watched task has died; the server sets it in order to leave."""
    on_draining: Callable[[], None] | None = None
    """Called once when the process is about to leave, so that answers which wait for something are given soon."""
    draining: bool = False
    """Whether the process is about to leave: not ready, whatever the checks say."""
    dead: list[str] = field(default_factory=list)
    """The watched tasks that died."""
    _checks: dict[str, _Named] = field(default_factory=dict)
    _answer: tuple[float, HealthResponse] | None = None
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def check(self, name: str, check: Check, timeout: timedelta = timedelta(seconds=2)) -> None:
        """Add a dependency that the service needs in order to do its work."""
        self._checks[name] = _Named(check, timeout)

    def watch(self, name: str, task: asyncio.Task[Any]) -> None:
        """Watch a background task that must run as long as the process: if it ends by itself, liveness turns red."""
        task.add_done_callback(lambda ended: self._ended(name, ended))

    def drain(self) -> None:
        """Tell that the process is about to leave."""
        self.draining = True
        if self.on_draining is not None:
            self.on_draining()

    def _ended(self, name: str, task: asyncio.Task[Any]) -> None:
        if task.cancelled() and task.cancelling():
            return
        # A cancellation that nobody asked for came out of a library: the work has ended all the same.
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        log.critical("background_task_died", task=name, exc_info=error)
        self.dead.append(name)
        if self.on_death is not None:
            self.on_death()

    async def live(self, _headers: Mapping[bytes, bytes], _query: bytes) -> HealthResponse:
        if self.dead:
            return _json(503, {"status": "dead", "tasks": self.dead})
        return _json(200, {"status": "alive"})

    async def ready(self, _headers: Mapping[bytes, bytes], _query: bytes) -> HealthResponse:
        if self.draining:
            return _json(503, {"status": "draining"})
        async with self._asking:
            if self._answer is None or self._answer[0] <= time.monotonic():
                answer = await self._ask()
                self._answer = (time.monotonic() + CACHED_FOR.total_seconds(), answer)
            return self._answer[1]

    async def _ask(self) -> HealthResponse:
        results = await asyncio.gather(*(_run(named) for named in self._checks.values()))
        checks = dict(zip(self._checks, results, strict=True))
        ready = not self.dead and all(result["status"] == "ok" for result in results)
        return _json(200 if ready else 503, {"status": "ready" if ready else "not ready", "checks": checks})


async def _run(named: _Named) -> dict[str, Any]:
    begun = time.monotonic()
    try:
        async with asyncio.timeout(named.timeout.total_seconds()):
            detail = await named.check()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a dependency, the answer is "not ready"
        return {"status": "failed", "error": type(error).__name__}
    milliseconds = round((time.monotonic() - begun) * 1000, 1)
    return {"status": "ok", "ms": milliseconds, **(detail if isinstance(detail, Mapping) else {})}


def _json(status: int, members: dict[str, Any]) -> HealthResponse:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    return status, headers, orjson.dumps(members)
