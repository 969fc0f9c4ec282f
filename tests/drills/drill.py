"""One drill: press on the system, break something, heal it, wait until all agree, judge."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from tests.drills.judge import Judge, all_agree, counted, no_change_is_left_open
from tests.drills.pressure import Pressure, pressing
from tests.drills.proxy import Proxy
from tests.drills.system import ProxiedSystem
from tests.e2e.system import REGISTRY

from servicekit.testing import eventually

WARM = 10
"""Successes of each kind before the fault, and after."""
LONGEST_SECONDS = 580.0


@dataclass(frozen=True)
class Scene:
    """What a fault is given: the system, and those who press on it."""

    system: ProxiedSystem
    press: Pressure

    def proxy(self, part: str) -> Proxy:
        return self.system.proxies[part]

    async def kill(self, *parts: str) -> None:
        for part in parts:
            await asyncio.to_thread(self.system.kill, part)

    async def terminate(self, part: str) -> None:
        await asyncio.to_thread(self.system.terminate, part)

    async def revive(self, *parts: str) -> None:
        for part in parts:
            await asyncio.to_thread(self.system.revive, part)

    async def lasts(self, seconds: float) -> None:
        """Let so much time pass: a fault that must last is one of the few things that are a matter of time."""
        until = time.monotonic() + seconds
        await eventually(lambda: time.monotonic() >= until, timedelta(seconds=seconds + 60))


Fault = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True)
class Drill:
    """A fault by name; `number` is that of the list of 24. What it killed or troubled is healed after it."""

    name: str
    number: int | None
    fault: str
    break_: Fault
    brokers: int = 1
    no_failures: bool = False
    """Whether no request at all may fail."""


DRILLS: dict[str, Drill] = {}


def drill(
    number: int | None, fault: str, *, brokers: int = 1, no_failures: bool = False
) -> Callable[[Fault], Fault]:
    """Enter a fault into the list, under its own name."""

    def enter(break_: Fault) -> Fault:
        name = break_.__name__.replace("_", "-")
        DRILLS[name] = Drill(name, number, fault, break_, brokers, no_failures)
        return break_

    return enter


@dataclass
class Outcome:
    """A row of the table."""

    drill: Drill
    acknowledged: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    serves_after: float | None = None
    """Seconds from the begin of healing until each kind of request has succeeded several times."""
    agrees_after: float | None = None
    """Seconds from the begin of healing until everything is published and all projections are as the owners have it."""
    violations: list[str] = field(default_factory=list)
    trouble: str = ""

    @property
    def counts(self) -> Counter[str]:
        return counted(self.violations)

    @property
    def held(self) -> bool:
        return not self.violations and not self.trouble and not (self.drill.no_failures and self.failed)


async def run(drill: Drill, system: ProxiedSystem, judge: Judge) -> Outcome:
    """Run one drill; whatever goes wrong is in its outcome."""
    outcome = Outcome(drill)
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            await _run(drill, system, judge, outcome)
    except Exception as error:  # noqa: BLE001 - the other drills are run all the same
        outcome.trouble = _said(error)
    return outcome


def _said(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:500]


async def _run(drill: Drill, system: ProxiedSystem, judge: Judge, outcome: Outcome) -> None:
    gateway, registry = (system.proxies[part].url for part in ("gateway", REGISTRY))
    async with pressing(system, gateway, registry) as press:
        await press.have_all_grown(WARM)
        await drill.break_(Scene(system, press))
        healed = time.monotonic()
        await asyncio.to_thread(system.heal)
        await press.have_all_grown(WARM)
        outcome.serves_after = time.monotonic() - healed
    outcome.acknowledged, outcome.failed = press.acknowledged, press.failed
    await all_agree(system)
    outcome.agrees_after = time.monotonic() - healed
    await no_change_is_left_open(system)
    await all_agree(system)
    outcome.violations = await judge.judge(press)
