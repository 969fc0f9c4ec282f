"""What `cvhub status` says of servers that take connections and do nothing with them."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cvhub.cli import app
from cvhub.ports import DEFAULT_PORTS
from cvhub.servers.process import ServerProcess
from cvhub.state import Run, State
from cvhub.testing import Kafka, Postgres
from servicekit.testing import free_port

pytestmark = pytest.mark.infra

SECONDS = 20.0
"""Whoever asks how it is waits no longer, whatever hangs."""


@contextmanager
def halted(process: ServerProcess | None) -> Iterator[None]:
    """Stop a process where it stands; the system goes on taking connections for it."""
    assert process is not None
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def told() -> dict[str, str]:
    begun = time.monotonic()
    result = CliRunner().invoke(app, ["status", "--json"])
    assert time.monotonic() - begun < SECONDS
    return {row["part"]: row["state"] for row in json.loads(result.stdout)}


def test_a_server_is_ready_if_it_answers_a_question(
    own_kafka: Kafka, own_postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVHUB_STATE", str(tmp_path))
    kafka, postgres, state = own_kafka.server, own_postgres.server, State()
    state.prepare()
    (state.folder / "postgres").symlink_to(postgres.folder)
    ports = {
        **dict.fromkeys(DEFAULT_PORTS, free_port()),
        "kafka": kafka.ports.plain,
        "postgres": postgres.port,
    }
    assert kafka.process is not None
    assert postgres.process is not None
    pids = {"Kafka": kafka.process.pid or 0, "PostgreSQL": postgres.process.pid or 0}
    with state.held():
        state.write_run(Run(os.getpid(), ports, kafka.bootstrap_servers, pids))
        assert (told()["Kafka"], told()["PostgreSQL"]) == ("ready", "ready")
        with halted(postgres.process):
            assert (told()["Kafka"], told()["PostgreSQL"]) == ("ready", "does not answer")
        with halted(kafka.process):
            assert (told()["Kafka"], told()["PostgreSQL"]) == ("does not answer", "ready")
