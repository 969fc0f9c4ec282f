"""The set-up: an environment belongs to one folder, and two who begin at once make it once."""

import importlib.util
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
