"""Records as they should not be: again, old, unreadable."""

from collections.abc import Iterator
from uuid import uuid4

from aiokafka import ConsumerRecord
from tests.drills.drill import Scene, drill
from tests.e2e.system import System

from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.topics import TOPICS, topic_of
from servicekit.kafka import consumer, producer
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually

LATEST = 200
"""So many of the newest records of each partition come again."""
Headers = list[tuple[str, bytes | None]]
KINDS = 8


def _poison(good: ConsumerRecord[bytes, bytes]) -> Iterator[tuple[Headers, bytes | None]]:
    """Make of a good record: a null header, one that is no text, an unknown type and an unknown version of it; broken JSON, a
    tombstone; nothing at all, and all of a megabyte.
    """
    headers, value = dict(good.headers), good.value
    for name, raw in (
        ("ce_id", None),
        ("ce_subject", b"\xff\xfe\xc3\x28"),
        ("ce_type", b"of.nobody.v1"),
        ("ce_type", headers["ce_type"].rpartition(b".")[0] + b".v99"),
    ):
        yield list({**headers, name: raw}.items()), value
    yield list(headers.items()), value[:-3]
    yield list(headers.items()), None
    yield [], b""
    yield [], b"\x00" * 900_000


@drill(20, "the newest records of all topics come again, in the order of old to new")
async def records_repeated(scene: Scene) -> None:
    settings = KafkaSettings(bootstrap_servers=scene.system.stack.bootstrap_servers)
    async with producer(settings, "drill") as again:
        for topic in TOPICS:
            for one in await _newest(settings, topic.name):
                await again.send(
                    one.topic, one.value, one.key, partition=one.partition, headers=list(one.headers)
                )
        await again.flush()


async def _newest(settings: KafkaSettings, topic: str) -> list[ConsumerRecord[bytes, bytes]]:
    found: list[ConsumerRecord[bytes, bytes]] = []
    async with consumer(settings, topic, group_id=None) as log:
        await eventually(lambda: len(log.assignment()) > 0)
        for partition, end in (await log.end_offsets(log.assignment())).items():
            log.seek(partition, max(0, end - LATEST))
            while await log.position(partition) < end:
                found += (await log.getmany(partition, timeout_ms=1000)).get(partition, [])
    return found


async def send_poison(system: System) -> None:
    """Send every kind of unreadable record into every topic."""
    settings = KafkaSettings(bootstrap_servers=system.stack.bootstrap_servers)
    good = (await _newest(settings, topic_of(CVChanged).name))[-1]
    async with producer(settings, "drill") as poisoner:
        for topic in TOPICS:
            for headers, value in _poison(good):
                await poisoner.send(topic.name, value, str(uuid4()).encode(), headers=headers)
        await poisoner.flush()


@drill(21, "unreadable records of eight kinds come in every topic: each follower sets all of them aside")
async def poison(scene: Scene) -> None:
    counted = 'select count(distinct (topic, partition, "offset")) from unreadable_records'
    services = ("cv-status", "cv-registry", "contact-verification", "cv-search", "change-feed")
    before = {name: await scene.system.value(counted, service=name) for name in services}
    await send_poison(scene.system)
    for name in services:
        followed = [topic for topic in TOPICS if name in topic.followers]

        async def set_aside(name: str = name, wanted: int = len(followed) * KINDS) -> bool:
            found = int(await scene.system.value(counted, service=name)) - int(before[name])
            assert found >= wanted, f"{name} set {found} of {wanted} aside"
            return found == wanted

        await eventually(set_aside)
