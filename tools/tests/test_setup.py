"""The set-up: an environment belongs to one folder, and two who begin at once make it once."""

import errno
import fcntl
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).parents[1] / "setup.py"
WAIT_SECONDS = 30.0

STUBBED = """
import importlib.util, sys, time
from pathlib import Path

spec = importlib.util.spec_from_file_location("setup", sys.argv[1])
setup = importlib.util.module_from_spec(spec)
spec.loader.exec_module(setup)
folder = Path(sys.argv[2])
setup.VENV, setup.STAMP = folder / ".venv", folder / ".venv/.ready"
setup.LOCKED = folder / ".venv.lock"


def run(what, command, hint):
    with (folder / "ran").open("a") as ran:
        ran.write(f"{what}\\n")
    while not (folder / "go").exists():
        time.sleep(0.01)
    setup.in_venv("python").parent.mkdir(parents=True, exist_ok=True)
    setup.in_venv("python").touch()


setup.run = run
setup.main()
"""


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The set-up, of an environment in a folder of the test's own."""
    module = _loaded()
    monkeypatch.setattr(module, "VENV", tmp_path / "here/.venv")
    return module


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands_of(setup: Any, monkeypatch: pytest.MonkeyPatch, activated: str) -> list[list[str]]:
    """Give what is run to make uv where there is an environment whose `activate` says this."""
    programs = setup.VENV / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "uv"):
        (programs / name).touch()
    (programs / "activate").write_text(activated)
    ran = list[list[str]]()
    monkeypatch.setattr(setup, "run", lambda _what, command, _hint: ran.append([*map(str, command)]))
    monkeypatch.setattr(setup, "can_make_venv", lambda: True)
    setup.make_uv()
    return ran


@pytest.mark.parametrize(
    "quoted", ['VIRTUAL_ENV="{}"', "VIRTUAL_ENV='{}'", "VIRTUAL_ENV={}", "    export VIRTUAL_ENV={}"]
)
def test_an_environment_of_this_folder_is_kept(
    setup: Any, monkeypatch: pytest.MonkeyPatch, quoted: str
) -> None:
    assert commands_of(setup, monkeypatch, f"x=1\n{quoted.format(setup.VENV)}\nexport VIRTUAL_ENV\n") == []


@pytest.mark.parametrize("before", ["{venv}/../old/.venv", "/old{venv}", "{venv}-old"])
def test_an_environment_that_was_moved_or_copied_here_is_made_anew(
    setup: Any, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    old = before.format(venv=setup.VENV)
    first, *_ = commands_of(setup, monkeypatch, f'VIRTUAL_ENV="{old}"\nexport VIRTUAL_ENV\n')
    assert first[1:] == ["-m", "venv", "--clear", str(setup.VENV)]


@pytest.fixture
def without_lock(setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The set-up where no lock can be made beside the environment."""
    monkeypatch.setattr(setup, "STAMP", setup.VENV / ".ready")
    monkeypatch.setattr(setup, "LOCKED", tmp_path / "nowhere/.venv.lock")
    return setup


def test_whoever_finds_the_environment_ready_needs_no_lock(without_lock: Any) -> None:
    python = without_lock.in_venv("python")
    python.parent.mkdir(parents=True)
    python.touch()
    without_lock.STAMP.write_text(without_lock.fingerprint())
    without_lock.main()
    assert not without_lock.LOCKED.exists()


def test_a_lock_that_cannot_be_opened_is_said_in_a_sentence_with_what_to_do(without_lock: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        without_lock.main()
    said = str(ended.value)
    assert said.startswith(f"cvhub: {without_lock.LOCKED} cannot be locked (No such file or directory): ")
    assert "delete it" in said


def test_a_file_system_without_locks_is_said_in_a_sentence_with_what_to_do(
    without_lock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_file: object, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(without_lock, "LOCKED", tmp_path / ".venv.lock")
    with pytest.raises(SystemExit, match=r"cannot be locked \(No locks available\): .*on a disk"):
        without_lock.main()


def test_what_goes_wrong_in_making_is_not_taken_for_the_lock(
    without_lock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(_wanted: str) -> None:
        raise FileNotFoundError("uv")

    monkeypatch.setattr(without_lock, "make", make)
    monkeypatch.setattr(without_lock, "LOCKED", tmp_path / ".venv.lock")
    with pytest.raises(FileNotFoundError, match="uv"):
        without_lock.main()


def test_of_two_who_begin_at_once_one_makes_the_environment_and_the_other_waits(tmp_path: Path) -> None:
    said = [tmp_path / "first", tmp_path / "second"]
    two = list[subprocess.Popen[bytes]]()
    for file in said:
        with file.open("wb") as out:
            two.append(subprocess.Popen([sys.executable, "-uc", STUBBED, FILE, tmp_path], stdout=out))
    begun = tmp_path / "ran"
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        both = begun.exists() and begun.read_text().count("virtual environment") == len(two)
        if both or any("waiting" in file.read_text() for file in said):
            break
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [process.wait(WAIT_SECONDS) for process in two] == [0, 0]
    assert begun.read_text().splitlines().count("our own packages") == 1
    assert sum(file.read_text().count("waiting") for file in said) == 1
