"""Connections to Kafka, PostgreSQL and between services: cut, slow, half-open, ended in the middle of a frame."""

from tests.drills.drill import Scene, drill
from tests.drills.proxy import Trouble
from tests.e2e.system import REGISTRY


async def _troubled(scene: Scene, trouble: Trouble, part: str, seconds: float) -> None:
    scene.proxy(part).give(trouble)
    await scene.lasts(seconds)
    scene.proxy(part).give("none")


@drill(10, "Kafka is slow: 2 s for each piece, for 30 s")
async def kafka_slow(scene: Scene) -> None:
    await _troubled(scene, "slow", "Kafka", 30)


@drill(11, "connections to Kafka become half-open")
async def kafka_half_open(scene: Scene) -> None:
    await _troubled(scene, "silent", "Kafka", 5)


@drill(11, "connections to PostgreSQL become half-open")
async def postgres_half_open(scene: Scene) -> None:
    await _troubled(scene, "silent", "PostgreSQL", 5)


@drill(11, "connections to the registry become half-open")
async def registry_half_open(scene: Scene) -> None:
    await _troubled(scene, "silent", REGISTRY, 5)


async def _truncated(scene: Scene, part: str) -> None:
    for _ in range(5):
        await _troubled(scene, "truncating", part, 0.3)
        await scene.lasts(1)


@drill(12, "connections to Kafka end in the middle of a frame, for 0.3 s, five times")
async def kafka_truncated(scene: Scene) -> None:
    await _truncated(scene, "Kafka")


@drill(12, "connections to PostgreSQL end in the middle of a frame, for 0.3 s, five times")
async def postgres_truncated(scene: Scene) -> None:
    await _truncated(scene, "PostgreSQL")


@drill(12, "connections to the registry end in the middle of a frame, for 0.3 s, five times")
async def registry_truncated(scene: Scene) -> None:
    await _truncated(scene, REGISTRY)


@drill(None, "every connection of the system is cut at once, five times")
async def all_cut(scene: Scene) -> None:
    for _ in range(5):
        for proxy in scene.system.proxies.values():
            proxy.give("cut")
        await scene.lasts(0.5)
        for proxy in scene.system.proxies.values():
            proxy.give("none")
        await scene.lasts(1)
