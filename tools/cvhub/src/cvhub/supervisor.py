"""Keeps the services running: one that dies is shown with its last words and started again, ever more patiently."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cvhub.servers.process import ServerProcess, last_lines

SHORTEST_WAIT = 0.5
LONGEST_WAIT = 30.0
STEADY_AFTER = 60.0

Report = Callable[[str], None]


@dataclass
class Kept:
    """One process that is kept running; times in seconds of the monotonic clock."""

    process: ServerProcess
    failures: int = 0
    started: float = 0.0
    next_start: float | None = None

    @property
    def wait(self) -> float:
        """Twice as long after each failure in a row."""
        return min(LONGEST_WAIT, SHORTEST_WAIT * 2.0 ** (self.failures - 1))


class Supervisor:
    """Starts processes in order, restarts those that die, stops them in the opposite order."""

    def __init__(self, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._kept: list[Kept] = []

    def start(self, process: ServerProcess) -> None:
        process.start()
        self.keep(process)

    def keep(self, process: ServerProcess) -> None:
        """Look after a process that runs already."""
        self._kept.append(Kept(process, started=self._clock()))

    @property
    def pids(self) -> dict[str, int]:
        return {kept.process.name: kept.process.pid for kept in self._kept if kept.process.pid is not None}

    def tend(self) -> bool:
        """Look after all once; true if a process was started anew."""
        return sum(self._tend(kept) for kept in self._kept) > 0

    def _tend(self, kept: Kept) -> bool:
        now = self._clock()
        if kept.process.running:
            if kept.failures and now - kept.started > STEADY_AFTER:
                kept.failures = 0
            return False
        if kept.next_start is None:
            kept.failures += 1
            kept.next_start = now + kept.wait
            self._report(obituary(kept))
            return False
        if now < kept.next_start:
            return False
        kept.process.start()
        kept.started, kept.next_start = now, None
        return True

    def stop(self) -> None:
        for process in self._in_stop_order():
            process.stop()
        self._kept.clear()

    def _in_stop_order(self) -> Sequence[ServerProcess]:
        return [kept.process for kept in reversed(self._kept)]


def obituary(kept: Kept) -> str:
    process = kept.process
    lines = "\n".join(f"    {line[:300]}" for line in last_lines(process.log, 8))
    return (
        f"{process.name} ended with exit code {process.exit_code}; it is started again in {kept.wait:.1f} s. "
        f"Its last lines ({process.log}):\n{lines}"
    )
