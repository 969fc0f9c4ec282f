"""When it is looked again whether there is something to build, and how long that waits for the database."""

import asyncio
import socket
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from servicekit.data import sessions
from servicekit.data.postgres import Database
from servicekit.follow import rebuild as rebuilding
from servicekit.follow.rebuild import Rebuild
from servicekit.follow.states import BadState
from servicekit.follow.testing import Copies, OwnedStates
from servicekit.settings import PostgresSettings
from servicekit.testing import StillFailing, eventually, in_skipped_time

NONE: Any = None


class Looking(Rebuild):
    """Fails at these looks or not, and is over then; notes when it looked."""

    def __init__(self, *fails: bool) -> None:
        super().__init__(NONE, Copies(NONE).projection(OwnedStates()), NONE)
        self.fails = list(fails)
        self.looks: list[float] = []

    async def step(self) -> None:
        self.looks.append(asyncio.get_running_loop().time())
        if not self.fails:
            raise asyncio.CancelledError
        if self.fails.pop(0):
            raise BadState("an answer lacks its list")


@in_skipped_time
async def test_after_each_trouble_it_is_looked_later_and_as_soon_as_ever_once_all_is_well() -> None:
    rebuild = Looking(*[True] * 9, False, False, True)
    with capture_logs() as logs, suppress(asyncio.CancelledError):
        await rebuild.run()
    wanted = [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 2, 2, 0.5]
    parts = [
        (after - before) / rest for (before, after), rest in zip(pairwise(rebuild.looks), wanted, strict=True)
    ]
    assert 0.7499 < min(parts) < max(parts) < 1.2501, "spread over a quarter around"
    assert [(one["attempt"], one["error_type"]) for one in logs] == [
        (n, "BadState") for n in (*range(1, 10), 1)
    ]
    assert {(one["event"], one["stream"]) for one in logs} == {("rebuild_waits", "copies")}


async def test_a_database_that_takes_connections_and_says_nothing_is_not_waited_for_longer_than_elsewhere() -> (
    None
):
    # The system takes connections for whoever listens.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"postgresql://postgres@127.0.0.1:{silent.getsockname()[1]}/postgres"
        settings = PostgresSettings(dsn=dsn, connect_timeout=timedelta(seconds=0.05))
        database: Any = SimpleNamespace(settings=settings)
        rebuild = Rebuild(database, Copies(NONE).projection(OwnedStates()), NONE)
        async with asyncio.timeout(10):
            with pytest.raises(TimeoutError):
                async with rebuild._lease():
                    pass


@pytest.mark.infra
@pytest.mark.parametrize(("speaks_every", "idle_ms", "keeps"), [(0.1, 3_000, True), (60.0, 1_000, False)])
async def test_a_lease_is_kept_however_long_a_build_takes_and_lost_by_a_builder_that_stands_still(
    database: Database, monkeypatch: pytest.MonkeyPatch, speaks_every: float, idle_ms: int, keeps: bool
) -> None:
    monkeypatch.setattr(sessions, "LEASE_SESSION", {"idle_session_timeout": str(idle_ms)})
    monkeypatch.setattr(rebuilding, "SPEAK_EVERY", speaks_every)
    one, other = (Rebuild(database, Copies(database).projection(OwnedStates()), NONE) for _ in range(2))

    async def is_free() -> bool:
        async with other._lease() as free:
            return free

    async with one._lease() as mine:
        assert mine
        if keeps:
            with pytest.raises(StillFailing):
                await eventually(is_free, timedelta(seconds=7))
        else:
            await eventually(is_free)
