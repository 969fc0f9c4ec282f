"""One server process: started in a session of its own, watched by the guard, stopped in order."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cvhub.servers.guard import guard

STOP_SECONDS = 30.0


class CannotStart(Exception):  # noqa: N818
    """A server or a step of the set-up cannot start; the text is one line that says what to do."""


def last_lines(log: Path, count: int = 10) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 64 * 1024))
            return file.read().decode("utf-8", "replace").splitlines()[-count:]
    except OSError:
        return []


class ServerProcess:
    """A child process with its own log. It outlives neither `stop` nor, thanks to the guard, its owner."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        gives_way: int = 0,
    ) -> None:
        """Begin nothing yet. `gives_way` is how nice it is to other processes where processors are short."""
        self.name = name
        self.log = log
        self._command = list(command)
        self._env = dict(env) if env is not None else None
        self._user = user
        self._stop_signal = stop_signal
        self._gives_way = gives_way
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._child.poll() if self._child else None

    def start(self) -> None:
        keeper = guard()
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                user=self._user,
                group=group_of(self._user),
                extra_groups=[] if self._user else None,
                start_new_session=True,
            )
        if self._gives_way:
            os.setpriority(os.PRIO_PROCESS, self._child.pid, self._gives_way)
        keeper.watch(self._child.pid, self._stop_signal)

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Poll `ready`; a child that ends or takes too long is an error that shows its last log line."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.demand_running()
            if time.monotonic() > deadline:
                self.kill()
                raise CannotStart(f"{self.name} was not ready after {seconds:.0f} s; see {self.log}")
            time.sleep(0.05)

    def demand_running(self) -> None:
        if not self.running:
            raise CannotStart(
                f"{self.name} ended at once ({self._last_word()}); see {self.log}. "
                "If its data are damaged, `make reset` starts over."
            )

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        self._end(self._stop_signal, seconds)

    def kill(self) -> None:
        """`kill -9`, as a crash would be."""
        self._end(signal.SIGKILL, STOP_SECONDS)

    def _end(self, how: signal.Signals, seconds: float) -> None:
        if self._child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(how)
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        guard().forget(self._child.pid)
        self._child = None

    def _last_word(self) -> str:
        said = (line.strip() for line in last_lines(self.log))
        lines = [line for line in said if line and not line.startswith("at ")]  # Java's traces
        return lines[-1][:200] if lines else f"exit code {self.exit_code}"


def group_of(user: str | None) -> int | None:
    if user is None:
        return None
    import pwd  # noqa: PLC0415 - not on every platform

    return pwd.getpwnam(user).pw_gid
