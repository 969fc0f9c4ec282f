"""Ends the servers of a process that died without ending them itself, `kill -9` included.

A small process of its own reads the pids to watch from a pipe. The pipe closes when its owner dies, however it dies;
then the guard ends what is still watched and removes the temporary folders it was told of.
"""

import atexit
import contextlib
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TextIO

import psutil

GRACE_SECONDS = 10.0


class Guard:
    """The owner's end of the pipe."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cvhub.servers.guard"],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def watch(self, pid: int, stop_signal: signal.Signals = signal.SIGTERM) -> None:
        self._say(f"watch {pid} {stop_signal.value}")

    def forget(self, pid: int) -> None:
        self._say(f"forget {pid}")

    def remove_at_end(self, folder: Path) -> None:
        self._say(f"remove {folder}")

    def close(self) -> None:
        """Let the guard end what is still watched, as at the owner's death, and wait for it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _say(self, line: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()


@cache
def guard() -> Guard:
    """Give the one guard of this process."""
    keeper = Guard()
    atexit.register(keeper.close)
    return keeper


def _end(watched: list[tuple[psutil.Process, int]]) -> None:
    for process, stop_signal in watched:
        with contextlib.suppress(psutil.Error):
            process.send_signal(stop_signal)
    _, alive = psutil.wait_procs([process for process, _ in watched], timeout=GRACE_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _read(lines: TextIO) -> tuple[list[tuple[psutil.Process, int]], list[str]]:
    watched: dict[str, tuple[psutil.Process, int]] = {}
    folders: list[str] = []
    for line in lines:
        verb, _, rest = line.rstrip("\n").partition(" ")
        if verb == "watch":
            pid, _, stop_signal = rest.partition(" ")
            with contextlib.suppress(psutil.Error):
                watched[pid] = (psutil.Process(int(pid)), int(stop_signal))
        elif verb == "forget":
            watched.pop(rest, None)
        elif verb == "remove":
            folders.append(rest)
    return list(watched.values()), folders


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    watched, folders = _read(sys.stdin)
    _end(watched)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
