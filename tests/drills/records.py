"""Records as they should not be: again, old, unreadable."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from uuid import uuid4

from aiokafka import ConsumerRecord
from tests.drills.drill import Scene, drill
from tests.e2e.system import System

from cv_contracts.envelope import Unreadable, read
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.topics import MAX_RECORD_BYTES, TOPICS, topic_of
from servicekit.kafka import consumer, producer
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually

LATEST = 200
"""So many of the newest records of each partition come again."""
Headers = list[tuple[str, bytes | None]]
KINDS = 8
TOO_LARGE = MAX_RECORD_BYTES + 100_000
SET_ASIDE_WITHIN = timedelta(seconds=90)


def _poison(good: ConsumerRecord[bytes, bytes]) -> Iterator[tuple[Headers, bytes | None]]:
    """Make of a good record: a null header, one that is no text, an unknown type and an unknown version of it; broken JSON, a
    tombstone; nothing at all, and more than a record may have.
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
    yield [], b"\x00" * TOO_LARGE


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
    newest = await _newest(settings, topic_of(CVChanged).name)
    good = next(record for record in reversed(newest) if _readable(record))
    # The broker measures what is sent, so that a record of any size gets into the log in little of it.
    packed = producer(settings, "drill", compression_type="gzip", max_request_size=2 * TOO_LARGE)
    async with packed as poisoner:
        for topic in TOPICS:
            for headers, value in _poison(good):
                await poisoner.send(topic.name, value, str(uuid4()).encode(), headers=headers)
        await poisoner.flush()


def _readable(record: ConsumerRecord[bytes, bytes]) -> bool:
    try:
        read(record.headers, record.value)
    except Unreadable:
        return False
    return True


def _followed_by(service: str) -> int:
    return sum(service in topic.followers for topic in TOPICS)


async def set_aside(system: System) -> dict[str, int]:
    """Give how many unreadable records each follower has set aside."""
    counted = 'select count(distinct (topic, partition, "offset")) from unreadable_records'
    followers = sorted({name for topic in TOPICS for name in topic.followers})
    return {name: int(await system.value(counted, service=name)) for name in followers}


async def poison_is_set_aside(system: System, before: Mapping[str, int]) -> None:
    """Wait until each follower has set aside all that was sent once since then, and nothing else."""
    wanted = {name: count + _followed_by(name) * KINDS for name, count in before.items()}

    async def all_of_it() -> None:
        found = await set_aside(system)
        assert found == wanted, f"set aside are {found}, not {wanted}"

    await eventually(all_of_it, SET_ASIDE_WITHIN)


@drill(21, "unreadable records of eight kinds come in every topic: each follower sets all of them aside")
async def poison(scene: Scene) -> None:
    before = await set_aside(scene.system)
    await send_poison(scene.system)
    await poison_is_set_aside(scene.system, before)
