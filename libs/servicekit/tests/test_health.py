"""Liveness, readiness, and the watch over background tasks."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from servicekit.testing import eventually
from servicekit.web.health import Health


async def live(health: Health) -> tuple[int, Any]:
    status, _, body = await health.live({}, b"")
    return status, json.loads(body)


async def ready(health: Health) -> tuple[int, Any]:
    status, _, body = await health.ready({}, b"")
    return status, json.loads(body)


class Dependency:
    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    async def check(self) -> dict[str, int]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return {"backlog": 3}


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_process_is_alive_and_ready_when_its_dependencies_answer() -> None:
    health, database = Health(), Dependency()
    health.check("database", database.check)
    assert await live(health) == (200, {"status": "alive"})
    status, body = await ready(health)
    assert (status, body["status"]) == (200, "ready")
    assert body["checks"]["database"]["status"] == "ok"
    assert body["checks"]["database"]["backlog"] == 3


async def test_liveness_asks_no_dependency() -> None:
    health, database = Health(), Dependency()
    database.error = ConnectionError("gone")
    health.check("database", database.check)
    assert (await live(health))[0] == 200
    assert database.asked == 0


async def test_readiness_names_the_dependency_that_fails_and_not_what_it_said() -> None:
    health, database, kafka = Health(), Dependency(), Dependency()
    database.error = ConnectionError("password=secret")
    health.check("database", database.check)
    health.check("kafka", kafka.check)
    status, body = await ready(health)
    assert status == 503
    assert body["checks"]["database"] == {"status": "failed", "error": "ConnectionError"}
    assert body["checks"]["kafka"]["status"] == "ok"
    assert "secret" not in json.dumps(body)


async def test_a_dependency_that_does_not_answer_in_time_is_not_ready() -> None:
    health = Health()
    health.check("database", forever, timeout=timedelta(milliseconds=20))
    status, body = await ready(health)
    assert (status, body["checks"]["database"]["error"]) == (503, "TimeoutError")


@pytest.mark.slow
async def test_dependencies_are_asked_once_a_second_however_many_ask() -> None:
    health, database = Health(), Dependency()
    health.check("database", database.check)
    await asyncio.gather(*(ready(health) for _ in range(20)))
    assert database.asked == 1

    async def asked_again() -> bool:
        await ready(health)
        return database.asked == 2

    await eventually(asked_again)


async def test_a_process_that_is_leaving_is_alive_but_not_ready() -> None:
    health = Health()
    health.drain()
    assert (await ready(health))[0] == 503
    assert (await live(health))[0] == 200


async def test_a_background_task_that_dies_turns_liveness_red_and_calls_for_the_end() -> None:
    health = Health()
    calls: list[str] = []
    health.on_death = lambda: calls.append("leave")

    async def dying() -> None:
        raise RuntimeError("lost")

    health.watch("relay", asyncio.create_task(dying()))
    await eventually(lambda: health.dead == ["relay"])
    assert await live(health) == (503, {"status": "dead", "tasks": ["relay"]})
    assert (await ready(health))[0] == 503
    assert calls == ["leave"]


async def test_a_background_task_that_ends_by_itself_is_as_dead_as_one_that_fails() -> None:
    health = Health()

    async def ending() -> None:
        return

    health.watch("relay", asyncio.create_task(ending()))
    await eventually(lambda: health.dead == ["relay"])


async def test_a_task_that_ends_by_a_cancellation_nobody_asked_for_makes_it_dead() -> None:
    health = Health()

    async def cancelled_by_a_library() -> None:
        raise asyncio.CancelledError

    health.watch("leader", asyncio.create_task(cancelled_by_a_library()))
    await eventually(lambda: health.dead == ["leader"])


async def test_a_task_that_is_cancelled_on_purpose_is_no_death() -> None:
    health = Health()
    task = asyncio.create_task(forever())
    health.watch("relay", task)
    await asyncio.wait([task], timeout=0.01)
    task.cancel()
    await asyncio.wait([task])
    assert health.dead == []
