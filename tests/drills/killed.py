"""Processes that are killed or told to leave, in the middle of their work."""

import asyncio
import random

from tests.drills.drill import Scene, drill
from tests.e2e.system import REGISTRY

from cvhub.services import SERVICES

STATUS, FEED = "cv-status", "change-feed"
FOLLOWERS = (STATUS, "contact-verification", "cv-search", "pdf-renderer", FEED)
END_RELAY = (
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cv-registry-relay'"
)


@drill(
    1, "the registry is killed after commits and before they are sent; a new one serves before Kafka is back"
)
async def registry_killed_before_relay(scene: Scene) -> None:
    await scene.kill("Kafka")
    await scene.press.writers.has_grown(50)
    await scene.kill(REGISTRY)
    await scene.revive(REGISTRY)
    await scene.press.writers.has_grown(10)


@drill(2, "the relay is killed with the registry in the middle of batches, ten times")
async def relay_killed(scene: Scene) -> None:
    moments = random.Random(2)  # noqa: S311 - no secret
    for _ in range(10):
        await scene.press.writers.has_grown(moments.randrange(5, 60))
        await scene.kill(REGISTRY)
        await scene.revive(REGISTRY)


@drill(3, "the relay loses its database between sending and deleting, twelve times")
async def relay_cut_off(scene: Scene) -> None:
    for _ in range(12):
        await scene.press.writers.has_grown(8)
        await scene.system.as_superuser(END_RELAY)


@drill(4, "two registries with two relays take over from each other")
async def two_relays(scene: Scene) -> None:
    other = await asyncio.to_thread(scene.system.twin, REGISTRY)
    scene.proxy(REGISTRY).servers = [scene.system.stack.ports[REGISTRY], other.port]
    for _ in range(2):
        await scene.press.writers.has_grown(20)
        await scene.kill(REGISTRY)
        await scene.press.writers.has_grown(20)
        await scene.revive(REGISTRY)
        await scene.press.writers.has_grown(20)
        await asyncio.to_thread(other.process.kill)
        await asyncio.to_thread(other.start)
    scene.proxy(REGISTRY).servers = [scene.system.stack.ports[REGISTRY]]


@drill(5, "each follower is killed between effects and committed offsets")
async def followers_killed(scene: Scene) -> None:
    for part in FOLLOWERS:
        await scene.press.have_all_grown(3)
        await scene.kill(part)
        await scene.revive(part)


@drill(7, "Kafka is away for 60 s")
async def kafka_away(scene: Scene) -> None:
    await scene.kill("Kafka")
    await scene.lasts(60)


@drill(8, "Kafka is restarted")
async def kafka_restarted(scene: Scene) -> None:
    await scene.terminate("Kafka")


@drill(13, "groups are rebalanced in the middle of batches: a second cv-status joins and is killed")
async def rebalanced(scene: Scene) -> None:
    for _ in range(2):
        other = await asyncio.to_thread(scene.system.twin, STATUS)
        await scene.press.have_all_grown(5)
        await asyncio.to_thread(other.process.kill)
        await scene.press.have_all_grown(5)


@drill(15, "PostgreSQL is killed")
async def postgres_killed(scene: Scene) -> None:
    await scene.kill("PostgreSQL")


@drill(None, "all services are killed at once")
async def all_killed(scene: Scene) -> None:
    await scene.kill(*(service.name for service in SERVICES))
