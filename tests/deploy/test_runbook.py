"""What the runbook asks a database finds the session that it speaks of."""

import re
from pathlib import Path

import asyncpg
import pytest

from cvhub.testing import FreshDatabase

pytestmark = pytest.mark.infra

RUNBOOK = (Path(__file__).parents[2] / "docs/runbook.md").read_text()
QUESTIONS = [" ".join(found.split()) for found in re.findall(r"`(select [^`]+)`", RUNBOOK)]


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
