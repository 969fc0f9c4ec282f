"""Fills the registry with synthetic citizens, once; later starts find them there."""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from cvhub.people import SEED, import_lines
from cvhub.servers.guard import guard
from cvhub.servers.process import CannotStart
from cvhub.services import SERVICES
from cvhub.stack import Stack
from cvhub.steps import Step, Steps

_LINES = re.compile(rb"^([0-9]+) lines")


def fill(stack: Stack, steps: Steps, count: int) -> None:
    """Do nothing when as many are there already: the first n citizens are the same, however many follow."""
    if count <= _filled(stack.state.folder):
        return
    file = stack.state.folder / "synthetic.ndjson"
    with steps.step(f"{count:,} synthetic citizens: made") as step, file.open("wb") as out:
        for number, line in enumerate(import_lines(count), 1):
            out.write(line)
            if number % 500 == 0:
                step.progress(number, count)
    with steps.step(f"{count:,} synthetic citizens: imported") as step:
        step.note = _import(stack, file, count, step)
    file.unlink()
    _note(stack.state.folder).write_text(json.dumps({"seed": SEED, "count": count}))


def _note(folder: Path) -> Path:
    return folder / "filled.json"


def _filled(folder: Path) -> int:
    with contextlib.suppress(OSError, ValueError, KeyError):
        note = json.loads(_note(folder).read_text())
        if note["seed"] == SEED:
            return int(note["count"])
    return 0


def _import(stack: Stack, file: Path, count: int, step: Step) -> str:
    registry = next(service for service in SERVICES if service.name == "cv-registry")
    log = stack.state.logs / "import.log"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [sys.executable, "-m", registry.module, "import", str(file)],
            env={**os.environ, **stack.environment(registry)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        guard().watch(process.pid)
        summary = b""
        for line in process.stdout or ():
            out.write(line)
            if match := _LINES.match(line):
                summary = line
                step.progress(int(match[1]), count)
    guard().forget(process.pid)
    if process.returncode != 0:
        raise CannotStart(f"The import of the synthetic citizens failed: see {log} and {file}.refused.")
    return summary.decode().strip()
