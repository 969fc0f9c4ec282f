"""What ends a process can be read in its log, and nothing about a person stands beside the log."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SERVICE = Path(__file__).with_name("failing_service.py")
ENDED = {"program": "uncaught_error", "startup": "startup_failed", "shutdown": "shutdown_failed"}


def end_of(where: str, fault: str) -> tuple[int, list[dict[str, Any]]]:
    """Give the exit code and the log; nothing may stand beside it."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(SERVICE), where, fault], capture_output=True, timeout=60, check=False
    )
    assert done.stderr == b""
    assert b"Hansen" not in done.stdout
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def said(log: list[dict[str, Any]], event: str) -> dict[str, Any]:
    (entry,) = [entry for entry in log if entry["event"] == event]
    assert entry["level"] == "error"
    error: dict[str, Any] = entry["exception"][0]
    return error


@pytest.mark.parametrize("where", ENDED)
def test_an_error_of_ours_says_what_to_mend(where: str) -> None:
    code, log = end_of(where, "of_ours")
    assert (code == 0) == (where == "shutdown")
    error = said(log, ENDED[where])
    assert (error["type"], error["reason"]) == (
        "BadCodeList",
        "languages.csv, line 7: code is not a number",
    )
    assert error["frames"][-1].endswith(":of_ours")
    assert "Traceback" not in str(log)


def test_a_file_that_is_not_there_is_named() -> None:
    _, log = end_of("startup", "of_the_system")
    assert said(log, "startup_failed")["reason"] == "No such file or directory: /nowhere/key.pem"


def test_a_migration_that_was_changed_is_named() -> None:
    _, log = end_of("program", "migration")
    assert said(log, "uncaught_error")["reason"] == "0001_init.sql differs"


@pytest.mark.parametrize("where", ["program", "thread", "startup", "shutdown"])
def test_of_another_error_only_the_type_and_the_places_are_told(where: str) -> None:
    _, log = end_of(where, "of_somebody")
    error = said(log, ENDED.get(where, "uncaught_error"))
    assert error["type"] == "ValueError"
    assert error["frames"][-1].endswith(":of_somebody")
    assert "reason" not in error
