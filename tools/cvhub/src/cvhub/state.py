"""The folder `.cvhub`: what the local stack remembers between runs, and who holds it now."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from cvhub.servers.process import CannotStart

LAYOUT = "1"
LEFTOVER_SECONDS = 12.0
FIRST_SETUP_BYTES = 1_000_000_000
ROOM_BYTES = 200_000_000
START_OVER = "`make reset` starts over with an empty one"


@dataclass(frozen=True)
class Run:
    """What is running now, for the other commands and for the next `up`."""

    pid: int
    ports: dict[str, int]
    bootstrap_servers: str
    pids: dict[str, int] = field(default_factory=dict)
    """Process id per part of the stack."""

    def url(self, part: str) -> str:
        return f"http://127.0.0.1:{self.ports[part]}"


class State:
    """The state folder; by default `.cvhub` where the command is given, else CVHUB_STATE."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or Path(os.environ.get("CVHUB_STATE") or ".cvhub")).absolute()
        self.logs = self.folder / "logs"
        self.keys = self.folder / "keys"
        self.idp = self.folder / "idp"
        self._run_file = self.folder / "run.json"
        self._secrets_file = self.folder / "secrets.json"

    def prepare(self) -> None:
        """Make the folder, or say in one line what is wrong with it."""
        try:
            for folder in (self.folder, self.logs, self.keys, self.idp):
                folder.mkdir(parents=True, exist_ok=True)
            (self.folder / ".gitignore").write_text("*\n")
            layout = self.folder / "layout"
            first = not layout.exists()
            if not first and layout.read_text() != LAYOUT:
                raise CannotStart(f"{self.folder} was made by another version of cvhub: {START_OVER}.")
            layout.write_text(LAYOUT)
        except NotADirectoryError as error:
            raise CannotStart(
                f"{error.filename} is a file where a folder is needed: move it away."
            ) from error
        except FileExistsError as error:
            raise CannotStart(
                f"{error.filename} is a file where a folder is needed: move it away."
            ) from error
        except PermissionError as error:
            raise CannotStart(
                f"{error.filename} cannot be written: give it to your user, or set CVHUB_STATE to another folder."
            ) from error
        self._check_room(FIRST_SETUP_BYTES if first else ROOM_BYTES)

    def _check_room(self, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise CannotStart(
                f"The disk of {self.folder} has {free // 1_000_000} MB left and {needed // 1_000_000} MB are needed: "
                "free some, or set CVHUB_STATE to a folder on another disk."
            )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder: one stack at a time. The system lets go of it however this process ends."""
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                run = self.run()
                who = f" (process {run.pid})" if run else ""
                raise CannotStart(
                    f"cvhub is already running here{who}: `.venv/bin/cvhub status` shows it, `make down` stops it."
                ) from error
            yield

    def is_held(self) -> bool:
        try:
            with (self.folder / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def run(self) -> Run | None:
        """Give what was written last; whether it still runs is for `is_held` to say."""
        try:
            return Run(**json.loads(self._run_file.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def running(self) -> Run:
        run = self.run() if self.is_held() else None
        if run is None:
            raise CannotStart("cvhub is not running here: start it with `make up`.")
        return run

    def write_run(self, run: Run) -> None:
        _write(self._run_file, asdict(run))

    def forget_run(self) -> None:
        self._run_file.unlink(missing_ok=True)

    def end_leftovers(self) -> None:
        """End what a killed `up` left: its guard normally has, else nobody would."""
        run = self.run()
        if run is None:
            return
        written = self._run_file.stat().st_mtime
        # From now on this process is the one to stop; should it be killed meanwhile, the next one knows what is left.
        self.write_run(replace(run, pid=os.getpid()))
        left = [process for pid in run.pids.values() if (process := self._own(pid, written)) is not None]
        _, alive = psutil.wait_procs(left, timeout=LEFTOVER_SECONDS)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=5)
        self.forget_run()

    def _own(self, pid: int, written: float) -> psutil.Process | None:
        """Give the process if it is of this stack: after a restart of the machine the number may be anyone's."""
        try:
            process = psutil.Process(pid)
            command = process.cmdline()
            try:
                ours = str(self.folder) in " ".join([*command, *process.environ().values()])
            except psutil.AccessDenied:
                # A service lets nobody look into it; it is a module of this very Python's, and was there when its number was `written`.
                ours = command[:2] == [sys.executable, "-m"] and process.create_time() <= written
        except psutil.Error:
            return None
        return process if ours else None

    def secret(self, name: str) -> str:
        """Give a secret of this machine, made when first asked for."""
        try:
            known: dict[str, str] = json.loads(self._secrets_file.read_text())
        except FileNotFoundError:
            known = {}
        except ValueError as error:
            raise CannotStart(f"{self._secrets_file} is damaged: {START_OVER}.") from error
        if name not in known:
            known[name] = secrets.token_urlsafe(32)
            _write(self._secrets_file, known)
        return known[name]


def _write(file: Path, content: Any) -> None:
    """Replace the file whole, readable by its owner only."""
    partial = file.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(file)
