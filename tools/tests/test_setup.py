"""The set-up: an environment belongs to one folder."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).parents[1] / "setup.py"


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
