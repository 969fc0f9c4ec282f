"""A stack that is being started: whoever is at another terminal can stop it from the first moment on."""

import os
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cvhub.ports import DEFAULT_PORTS
from cvhub.running import _say_where_to_look
from cvhub.servers.process import CannotStart
from cvhub.stack import Stack
from cvhub.state import Run, State
from cvhub.steps import Steps
from servicekit.testing import free_port


@pytest.fixture
def state(tmp_path: Path) -> State:
    prepared = State(tmp_path / "state")
    prepared.prepare()
    return prepared


def test_it_is_known_whom_to_stop_before_the_servers_are_there(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[Run] = []

    def takes_long(_stack: Stack) -> None:
        noted.append(State(state.folder).running())
        raise CannotStart("enough")

    monkeypatch.setattr(Stack, "_start_postgres", takes_long)
    monkeypatch.setattr(Stack, "_start_kafka", takes_long)
    with state.held(), Steps(Console(quiet=True)) as steps, pytest.raises(CannotStart, match="enough"):
        Stack(state, {name: free_port() for name in DEFAULT_PORTS}, steps).start()
    assert [run.pid for run in noted] == [os.getpid()] * 2


def test_nor_is_it_one_that_was_killed_before(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[Run | None] = []
    monkeypatch.setattr(State, "_own", lambda state, _pid, _written: noted.append(state.run()))
    state.write_run(Run(1, {}, "", {"left": 2}))
    state.end_leftovers()
    assert noted == [Run(os.getpid(), {}, "", {"left": 2})]


def test_where_to_look_begins_with_what_makes_the_commands_known(state: State) -> None:
    console = Console(record=True, file=StringIO())
    with Steps(Console(quiet=True)) as steps:
        _say_where_to_look(console, Stack(state, dict(DEFAULT_PORTS), steps))
    heading, first, *more = console.export_text().strip().splitlines()
    assert heading == "Where to look"
    assert first.endswith("in another terminal, first: . .venv/bin/activate")
    assert any("cvhub citizens" in line for line in more)


@pytest.mark.parametrize(
    ("variable", "named"),
    [
        ("CVHUB_POSTGRES", "postgresql://somebody:unspoken@127.0.0.1:1/postgres"),
        ("CVHUB_POSTGRES", "postgresql://somebody:unspoken/word@127.0.0.1:1/postgres"),
        ("CVHUB_POSTGRES", "http://somebody:unspoken@127.0.0.1:1"),
        ("CVHUB_KAFKA", "127.0.0.1:1"),
        ("CVHUB_KAFKA", "127.0.0.1:broker"),
    ],
)
def test_a_server_of_ones_own_that_cannot_be_used_is_named_by_its_variable(
    state: State, monkeypatch: pytest.MonkeyPatch, variable: str, named: str
) -> None:
    monkeypatch.setenv("CVHUB_POSTGRES", named)
    monkeypatch.setenv("CVHUB_KAFKA", named)
    with Steps(Console(quiet=True)) as steps:
        stack = Stack(state, dict(DEFAULT_PORTS), steps)
        start = {"CVHUB_POSTGRES": stack._start_postgres, "CVHUB_KAFKA": stack._start_kafka}[variable]
        with pytest.raises(CannotStart, match=f"that {variable} names does not take us") as refused:
            start()
    assert "unspoken" not in str(refused.value)
