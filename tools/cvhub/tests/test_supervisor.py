"""One that dies is shown and started again with back-off; stop leaves nothing behind, nor does a killed owner."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cvhub.servers.process import CannotStart, ServerProcess
from cvhub.supervisor import LONGEST_WAIT, SHORTEST_WAIT, Supervisor
from servicekit.testing import eventually

STAYS = [sys.executable, "-c", "import signal; signal.pause()"]
DIES = [sys.executable, "-c", "import sys; print('out of luck'); sys.exit(3)"]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def supervisor(clock: Clock, reports: list[str]) -> Iterator[Supervisor]:
    made = Supervisor(reports.append, clock)
    yield made
    made.stop()


async def _ended(process: ServerProcess) -> None:
    await eventually(lambda: not process.running)


async def test_one_that_dies_is_shown_with_its_exit_code_and_last_lines(
    supervisor: Supervisor, reports: list[str], tmp_path: Path
) -> None:
    process = ServerProcess("dummy", DIES, log=tmp_path / "dummy.log")
    supervisor.start(process)
    await _ended(process)
    supervisor.tend()
    assert len(reports) == 1
    assert "dummy ended with exit code 3" in reports[0]
    assert "out of luck" in reports[0]


async def test_it_is_started_again_after_a_wait_that_doubles(
    supervisor: Supervisor, clock: Clock, reports: list[str], tmp_path: Path
) -> None:
    process = ServerProcess("dummy", DIES, log=tmp_path / "dummy.log")
    supervisor.start(process)
    wait = SHORTEST_WAIT
    for _ in range(3):
        await _ended(process)
        supervisor.tend()
        clock.now += wait * 0.9
        assert not supervisor.tend()
        clock.now += wait * 0.2
        assert supervisor.tend()
        wait *= 2
    assert len(reports) == 3
    assert wait < LONGEST_WAIT


async def test_a_running_one_is_left_alone(
    supervisor: Supervisor, reports: list[str], tmp_path: Path
) -> None:
    process = ServerProcess("dummy", STAYS, log=tmp_path / "dummy.log")
    supervisor.start(process)
    before = process.pid
    assert not supervisor.tend()
    assert process.pid == before
    assert reports == []


async def test_stop_leaves_no_process(supervisor: Supervisor, tmp_path: Path) -> None:
    processes = [ServerProcess(name, STAYS, log=tmp_path / name) for name in ("one", "two")]
    for process in processes:
        supervisor.start(process)
    pids = list(supervisor.pids.values())
    supervisor.stop()
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_one_that_ignores_the_stop_signal_is_killed(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    log = tmp_path / "deaf.log"
    process = ServerProcess("deaf", [sys.executable, "-c", deaf], log=log)
    process.start()
    process.wait_until(lambda: "deaf" in log.read_text(), seconds=10)
    pid = process.pid
    process.stop(seconds=0.2)
    assert pid is not None
    assert not psutil.pid_exists(pid)


async def test_one_that_never_gets_ready_is_an_error_with_its_last_line(tmp_path: Path) -> None:
    process = ServerProcess("dummy", DIES, log=tmp_path / "dummy.log")
    process.start()
    with pytest.raises(CannotStart, match="out of luck"):
        process.wait_until(lambda: False, seconds=10)


async def test_the_last_line_is_what_was_said_and_no_place_in_javas_code(tmp_path: Path) -> None:
    traced = "print('node ID not found\\n\\tat kafka.Kafka.main(Kafka.scala)', flush=True)"
    process = ServerProcess("dummy", [sys.executable, "-c", traced], log=tmp_path / "dummy.log")
    process.start()
    with pytest.raises(CannotStart, match=r"\(node ID not found\).*make reset"):
        process.wait_until(lambda: False, seconds=10)


@pytest.mark.slow
async def test_a_killed_owner_leaves_no_child(tmp_path: Path) -> None:
    owner = subprocess.Popen(  # noqa: ASYNC220 - its death is the test
        [sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    child = psutil.Process(int(owner.stdout.readline()))
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    await eventually(lambda: not child.is_running() and not (tmp_path / "temporary").exists())


OWNER = """
import signal, sys
from pathlib import Path
from cvhub.servers.guard import guard
from cvhub.servers.process import ServerProcess
folder = Path(sys.argv[1])
(folder / "temporary").mkdir()
guard().remove_at_end(folder / "temporary")
process = ServerProcess("child", [sys.executable, "-c", "import signal; signal.pause()"], log=folder / "log")
process.start()
print(process.pid, flush=True)
signal.pause()
"""
