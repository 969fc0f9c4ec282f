"""What the runbook asks a database finds the session that it speaks of, and what ends a service stands in its table."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from cvhub.testing import FreshDatabase

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
QUESTIONS = [" ".join(found.split()) for found in re.findall(r"`(select [^`]+)`", RUNBOOK)]
LOG_ENTRIES = {
    name: row
    for row in re.findall(r"^\| `.*\|$", RUNBOOK, re.MULTILINE)
    for name in re.findall(r"`(\w+)`", row.split("|")[1])
}
FAILING = ROOT / "libs/servicekit/tests/failing_service.py"
SETTINGS = {
    "POSTGRES__DSN": "postgresql://somebody@127.0.0.1:1/away",
    "KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "IDENTITY__KEY_FILE": "key.pem",
    "IDENTITY__TRUSTED_FILE": "trusted.json",
    "REQUEST_SECRET": "only-of-this-test",
}


@pytest.mark.infra
@pytest.mark.parametrize(
    ("question", "session"),
    list(zip(QUESTIONS, ["cv-registry-relay", "change-feed writer"], strict=True)),
)
async def test_the_session_that_holds_a_lease_is_found_and_none_that_waits_for_it(
    fresh_database: FreshDatabase, question: str, session: str
) -> None:
    dsn = (await fresh_database()).dsn
    sessions = [await asyncpg.connect(dsn, server_settings={"application_name": session}) for _ in range(2)]
    holder = sessions[1]
    try:
        await holder.execute("select pg_advisory_lock(hashtextextended('a lease of this test', 0))")
        found = {row["pid"]: row["application_name"] for row in await sessions[0].fetch(question)}
        assert found == {holder.get_server_pid(): session}
    finally:
        for one in sessions:
            await one.close()


def end_of(*program: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a program that fails, with no settings but these."""
    done = subprocess.run(  # noqa: S603 - our own programs
        [sys.executable, *program],
        env={"PATH": os.environ["PATH"]} | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    return done


def with_an_error(done: "subprocess.CompletedProcess[str]") -> list[str]:
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    return [entry["event"] for entry in entries if "exception" in entry]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["program", "startup"])
def test_what_keeps_a_service_from_starting_is_among_the_log_entries(where: str) -> None:
    (said,) = with_an_error(end_of(str(FAILING), where, "of_ours"))
    assert "could not start" in LOG_ENTRIES[said]


@pytest.mark.slow
def test_what_keeps_the_migrations_from_their_database_is_among_the_log_entries() -> None:
    (said,) = with_an_error(end_of("-m", "cv_status", "migrate", **SETTINGS))
    assert "could not start" in LOG_ENTRIES[said]
    assert f"`{said}`" in LOG_ENTRIES["migration_failed"]


@pytest.mark.slow
def test_a_wrong_setting_is_no_log_entry_but_text_as_the_runbook_says() -> None:
    done = end_of("-m", "cv_status", "migrate", **SETTINGS | {"REQUEST_SECRET": "short"})
    assert done.stdout == ""
    assert "request_secret" in done.stderr
    assert "stderr" in LOG_ENTRIES["startup_failed"]
