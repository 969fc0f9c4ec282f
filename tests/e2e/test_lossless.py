"""No acknowledged write is lost, nothing is applied twice, and no key's events change their order, whatever breaks.

Sixteen writers replace the CVs of fifty citizens while parts are killed. What they were promised is then compared with
the revisions in the database and with the records on Kafka, by the checker of `history.py`. A sample: `make drills` has all.
"""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest
from tests.e2e.caller import Caller
from tests.e2e.history import Acknowledged, History
from tests.e2e.load import Load, citizens_of, history_of, load, revisions
from tests.e2e.system import REGISTRY, System

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def promised() -> list[Acknowledged]:
    """Every receipt of this module: each drill judges the whole history since the system started."""
    return []


@pytest.fixture(scope="module")
def lost() -> set[tuple[UUID, int]]:
    """Every version, per key, that a restore of this module took away."""
    return set()


async def _judge(
    system: System, promised: list[Acknowledged], lost: set[tuple[UUID, int]], writers: Load
) -> History:
    assert len(writers.acknowledged) > 50
    promised += writers.acknowledged
    history = await history_of(system, promised, frozenset(lost))
    assert history.violations() == []
    return history


async def _backlog(system: System) -> int:
    return int(await system.value("select count(*) from outbox"))


async def _kill(system: System, part: str) -> None:
    await asyncio.to_thread(system.kill, part)


async def _revive(system: System, part: str) -> None:
    await asyncio.to_thread(system.revive, part)


async def test_the_registry_is_killed_between_commit_and_relay(
    system: System, caller: Caller, promised: list[Acknowledged], lost: set[tuple[UUID, int]]
) -> None:
    async with load(caller) as writers:
        await writers.has_grown(50)
        await _kill(system, "Kafka")
        await writers.has_grown(100)
        assert await _backlog(system) >= 100, "what is committed waits, as nothing can be sent"
        await _kill(system, REGISTRY)
        assert await _backlog(system) >= 100
        await _revive(system, REGISTRY)
        await writers.has_grown(50)
        await _revive(system, "Kafka")
        await writers.has_grown(50)
    await _judge(system, promised, lost, writers)


async def test_postgresql_is_killed_and_starts_again(
    system: System, caller: Caller, promised: list[Acknowledged], lost: set[tuple[UUID, int]]
) -> None:
    async with load(caller) as writers:
        await writers.has_grown(100)
        await _kill(system, "PostgreSQL")
        await _revive(system, "PostgreSQL")
        await writers.has_grown(100)
    clear = {"503 1011", "502 9234"}
    assert set(writers.failures) <= clear, "9234 when contact-verification had no database"
    await _judge(system, promised, lost, writers)


async def test_after_an_older_back_up_is_restored_versions_still_rise(
    system: System,
    caller: Caller,
    promised: list[Acknowledged],
    lost: set[tuple[UUID, int]],
    tmp_path: Path,
) -> None:
    """What was written after the back-up is gone from the database; nothing else is, and no key's events go back."""
    backup = tmp_path / "backup"
    async with load(caller) as writers:
        await writers.has_grown(100)
        await asyncio.to_thread(system.dump, "cv_registry", backup)
        await writers.has_grown(100)
    before = await _judge(system, promised, lost, writers)
    await asyncio.to_thread(system.terminate, REGISTRY)
    await asyncio.to_thread(system.restore, "cv_registry", backup)
    keys = list((await citizens_of(system)).values())
    kept = {(one.key, one.version) for one in await revisions(system, keys)}
    gone = {(one.key, one.version) for one in before.revisions} - kept
    assert gone, "the drill is one only if writes came after the back-up"
    lost |= gone
    await _revive(system, REGISTRY)
    async with load(caller) as after:
        await after.has_grown(200)
    await _judge(system, promised, lost, after)
    newest = {key: max(v for k, v in gone if k == key) for key, _ in gone}
    assert all(one.version > newest.get(one.key, 0) for one in after.acknowledged)
    assert {key for key, _ in gone} & {one.key for one in after.acknowledged}
