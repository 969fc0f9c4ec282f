"""Three brokers that each hold all records: leaders move, and copies are lost."""

import asyncio
import shutil

from tests.drills.drill import Scene, drill

BROKERS = ("Kafka", "Kafka 2", "Kafka 3")


@drill(9, "the leaders move: each of three brokers is restarted in turn", brokers=3)
async def leaders_moved(scene: Scene) -> None:
    for broker in BROKERS:
        await scene.press.have_all_grown(5)
        await scene.terminate(broker)
        await scene.press.have_all_grown(5)
        await scene.revive(broker)


@drill(9, "each of three brokers is killed in turn", brokers=3)
async def leaders_killed(scene: Scene) -> None:
    for broker in BROKERS:
        await scene.press.have_all_grown(5)
        await scene.kill(broker)
        await scene.press.have_all_grown(5)
        await scene.revive(broker)


@drill(9, "one of three brokers loses its disk and starts with an empty one", brokers=3)
async def copy_lost(scene: Scene) -> None:
    await scene.kill("Kafka 3")
    await scene.press.have_all_grown(5)
    cluster = scene.system.stack._own_kafka
    assert cluster is not None
    lost = cluster.servers[2]
    await asyncio.to_thread(shutil.rmtree, lost.folder / "data")
    await asyncio.to_thread(lost.prepare)


@drill(9, "two of three brokers are away for 20 s: nothing can be acknowledged by Kafka", brokers=3)
async def most_brokers_away(scene: Scene) -> None:
    await scene.kill("Kafka 2", "Kafka 3")
    await scene.lasts(20)
