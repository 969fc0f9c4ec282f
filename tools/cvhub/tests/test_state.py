"""The state folder: held by one, and each way it can be broken is a line that says what to do."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from cvhub.servers.process import CannotStart
from cvhub.state import Run, State


@pytest.fixture
def state(tmp_path: Path) -> State:
    prepared = State(tmp_path / "state")
    prepared.prepare()
    return prepared


def test_git_never_sees_the_folder(state: State) -> None:
    assert (state.folder / ".gitignore").read_text() == "*\n"


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(CannotStart, match="is a file where a folder is needed"):
        State(tmp_path / "state").prepare()


def test_a_folder_of_another_version_is_not_touched(state: State) -> None:
    (state.folder / "layout").write_text("0")
    with pytest.raises(CannotStart, match="make reset"):
        state.prepare()


def test_damaged_secrets_are_named(state: State) -> None:
    (state.folder / "secrets.json").write_text("{")
    with pytest.raises(CannotStart, match=r"secrets\.json is damaged"):
        state.secret("any")


def test_a_secret_stays_the_same_and_is_readable_by_its_owner_only(state: State) -> None:
    assert state.secret("one") == State(state.folder).secret("one")
    assert (state.folder / "secrets.json").stat().st_mode & 0o077 == 0


def test_a_second_holder_is_told_who_holds_it(state: State) -> None:
    with state.held():
        state.write_run(Run(os.getpid(), {}, ""))
        with pytest.raises(CannotStart, match=f"process {os.getpid()}"), State(state.folder).held():
            pass


def test_a_folder_is_free_again_after_its_holder(state: State) -> None:
    with state.held():
        assert State(state.folder).is_held()
    assert not State(state.folder).is_held()


def test_a_damaged_note_of_a_run_counts_as_none(state: State) -> None:
    (state.folder / "run.json").write_text('{"pid": ')
    assert state.run() is None


def test_commands_that_need_a_running_stack_say_how_to_start_it(state: State) -> None:
    with pytest.raises(CannotStart, match="make up"):
        state.running()


def test_what_a_killed_run_left_behind_is_ended(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvhub.state.LEFTOVER_SECONDS", 0.1)
    with subprocess.Popen(
        [sys.executable, "-c", "input()", str(state.folder)], stdin=subprocess.PIPE
    ) as left:
        state.write_run(Run(1, {}, "", {"left": left.pid}))
        state.end_leftovers()
        assert not psutil.pid_exists(left.pid)
    assert state.run() is None


def denied(process: psutil.Process) -> NoReturn:
    raise psutil.AccessDenied(process.pid)


@pytest.mark.parametrize(("what", "ends"), [(("-m", "code"), True), (("-c", "input()"), False)])
def test_of_what_nobody_may_look_into_only_a_service_is_ended(
    state: State, monkeypatch: pytest.MonkeyPatch, what: tuple[str, str], ends: bool
) -> None:
    monkeypatch.setattr("cvhub.state.LEFTOVER_SECONDS", 0.1)
    monkeypatch.setattr(psutil.Process, "environ", denied)
    with subprocess.Popen([sys.executable, *what], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as left:
        state.write_run(Run(1, {}, "", {"left": left.pid}))
        state.end_leftovers()
        assert (left.poll() is not None) == ends
        left.kill()


def test_of_what_nobody_may_look_into_what_came_after_the_run_is_left_alone(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvhub.state.LEFTOVER_SECONDS", 0.1)
    monkeypatch.setattr(psutil.Process, "environ", denied)
    with subprocess.Popen(
        [sys.executable, "-m", "code"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as stranger:
        state.write_run(Run(1, {}, "", {"left": stranger.pid}))
        before = psutil.Process(stranger.pid).create_time() - 1
        os.utime(state.folder / "run.json", (before, before))
        state.end_leftovers()
        assert stranger.poll() is None
        stranger.kill()


def test_a_leftover_that_nobody_may_kill_or_that_ended_meanwhile_keeps_nothing_from_starting(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvhub.state.LEFTOVER_SECONDS", 0.1)
    monkeypatch.setattr("psutil.wait_procs", lambda processes, timeout: ([], processes))
    monkeypatch.setattr(psutil.Process, "kill", denied)
    with subprocess.Popen(
        [sys.executable, "-c", "input()", str(state.folder)], stdin=subprocess.PIPE
    ) as left:
        state.write_run(Run(1, {}, "", {"left": left.pid}))
        state.end_leftovers()
        left.kill()
    assert state.run() is None


def test_a_process_that_only_has_the_number_of_an_old_one_is_left_alone(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvhub.state.LEFTOVER_SECONDS", 0.1)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True) as stranger:
        state.write_run(Run(1, {}, "", {"left": stranger.pid}))
        state.end_leftovers()
        assert stranger.poll() is None
        stranger.communicate("\n")
    assert stranger.returncode == 0
