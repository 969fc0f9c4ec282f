"""What the README tells a newcomer to do, done word for word: up, the first calls, a look around, down, reset."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from cvhub.ports import DEFAULT_PORTS
from servicekit.testing import eventually, free_port

ROOT = Path(__file__).parents[2]
CVHUB = str(Path(sys.executable).with_name("cvhub"))
PATIENCE = timedelta(seconds=120)

pytestmark = pytest.mark.timeout(400)


@dataclass
class Newcomer:
    """A terminal in the folder of the project, with a state folder and ports that nobody else has."""

    state: Path
    environment: dict[str, str]
    gateway: int

    def run(self, command: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # noqa: S603 - commands of this file and of the README
            command,
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **options,
        )

    def cvhub(self, *words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        return self.run([CVHUB, *words], **options)

    def begin(self, printed: Path, *words: str) -> "subprocess.Popen[bytes]":
        """Start a command that goes on; what it prints goes into a file."""
        with printed.open("w") as out:
            return subprocess.Popen(  # noqa: S603 - commands of this file
                [CVHUB, *words], cwd=ROOT, env=self.environment, stdout=out, stderr=out
            )

    def block_of_the_readme(self, heading: str) -> str:
        """Give the commands below a heading, for these ports and this folder."""
        section = (ROOT / "README.md").read_text().partition(f"## {heading}\n")[2]
        block = section.split("```")[1]
        return block.replace("127.0.0.1:8080", f"127.0.0.1:{self.gateway}").replace(
            "@.cvhub/", f"@{self.state}/"
        )


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    state = tmp_path_factory.mktemp("newcomer") / "state"
    ports = {name: free_port() for name in DEFAULT_PORTS}
    given = {
        "CVHUB_STATE": str(state),
        "CVHUB_PORTS": ",".join(f"{name}={port}" for name, port in ports.items()),
        "COLUMNS": "120",
    }
    return Newcomer(state, {**os.environ, **given}, ports["gateway"])


@pytest.fixture(scope="module")
def up(newcomer: Newcomer) -> Iterator[Path]:
    """Run `cvhub up` until its walk is done; gives what it printed."""
    printed = newcomer.state.parent / "up.txt"
    process = newcomer.begin(printed, "up", "--citizens", "100")
    try:
        while "Where to look" not in printed.read_text():
            assert process.poll() is None, printed.read_text()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        yield printed
    finally:
        process.terminate()
        process.wait(60)


def test_the_walk_does_every_step(up: Path) -> None:
    steps = re.findall(r"^ ([✓✗]) (\d+)\. ", up.read_text(), re.MULTILINE)
    assert [number for _, number in steps] == [str(n) for n in range(1, len(steps) + 1)]
    assert len(steps) >= 7
    assert {mark for mark, _ in steps} == {"✓"}


async def test_the_first_calls_of_the_readme_work_as_they_stand(newcomer: Newcomer, up: Path) -> None:
    seen = newcomer.state.parent / "followed.txt"
    follower = newcomer.begin(seen, "follow", "cv-registry.cv-changed", "--from-start")
    try:
        commands = newcomer.block_of_the_readme("First calls")
        said = newcomer.run(["bash", "-euo", "pipefail", "-c", commands])
        assert said.returncode == 0, said.stderr
        assert '"CVProfile"' in said.stdout
        assert "HTTP/1.1 200" in said.stdout
        (event,) = re.findall(r'"MessageIdentifier":"([0-9a-f-]{36})"', said.stdout)
        await eventually(lambda: event in seen.read_text(), PATIENCE)
    finally:
        follower.terminate()
        follower.wait(20)


async def test_one_can_look_around_and_is_told_what_cannot_be(newcomer: Newcomer, up: Path) -> None:
    status = newcomer.cvhub("status", "--json")
    assert status.returncode == 0, status.stdout
    assert {"gateway", "cv-registry", "Kafka", "PostgreSQL"} <= {
        row["part"] for row in json.loads(status.stdout)
    }
    assert "cv-registry" in newcomer.cvhub("logs", "cv-registry", "-n", "3").stdout
    again = newcomer.cvhub("up")
    assert again.returncode == 1
    assert "already running here" in again.stderr
    assert len(again.stderr.splitlines()) == 1
    wiping = newcomer.cvhub("reset", "--yes")
    assert (wiping.returncode, "`make down` first" in wiping.stderr) == (1, True)
    unknown = newcomer.cvhub("logs", "nobody")
    assert (unknown.returncode, "gateway" in unknown.stderr) == (1, True)


async def test_down_leaves_no_process_and_reset_asks_before_it_wipes(newcomer: Newcomer, up: Path) -> None:
    pids = [row["pid"] for row in json.loads(newcomer.cvhub("status", "--json").stdout) if row["pid"]]
    assert newcomer.cvhub("down").returncode == 0
    await eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids), PATIENCE)
    assert "make up" in newcomer.cvhub("status").stderr
    assert newcomer.cvhub("reset", input="n\n").returncode != 0
    assert newcomer.state.exists()
    assert newcomer.cvhub("reset", input="y\n").returncode == 0
    assert not newcomer.state.exists()
