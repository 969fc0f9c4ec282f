"""Looks for personal data where none may be: logs, spans, metrics, URLs, Kafka records, temporary files."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from tests.e2e.collector import END_OF_HEADERS, Collector, message, texts
from tests.e2e.door import Door
from tests.e2e.needles import Leak, Needles
from tests.e2e.system import System

from servicekit.kafka import consumer
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually

_OWN_TIME = re.compile(rb'"timestamp":"[^"]*",')


async def places(
    system: System, collector: Collector, doors: Mapping[str, Door]
) -> AsyncIterator[tuple[str, bytes]]:
    """Give everything that the system has said anywhere, with the place where it said it."""
    for log in system.logs:
        for line in log.read_bytes().splitlines():
            yield f"log {log.name}", _OWN_TIME.sub(b"", line)
    for path, received in collector.received:
        yield f"telemetry {path}", received.partition(END_OF_HEADERS)[0]
        for text in texts(message(path, received)):
            yield f"telemetry {path}", text.encode()
    for part, door in doors.items():
        yield f"URL {part}", b"\n".join(set(door.targets()))
    for file in _files(system):
        yield f"file {file.name}", str(file).encode() + b"\n" + file.read_bytes()
    async for place in _records(system):
        yield place


def _files(system: System) -> Iterator[Path]:
    """Give what lies in the temporary folder of the services and at the top of the state folder."""
    yield from (file for file in system.temporary.rglob("*") if file.is_file())
    yield from (file for file in system.state.folder.iterdir() if file.is_file())


async def _records(system: System) -> AsyncIterator[tuple[str, bytes]]:
    settings = KafkaSettings(bootstrap_servers=system.stack.bootstrap_servers)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        topics = await admin.list_topics()
    finally:
        await admin.close()
    async with consumer(settings, *topics, group_id=None) as log:
        await eventually(lambda: len({partition.topic for partition in log.assignment()}) == len(topics))
        for partition, end in (await log.end_offsets(log.assignment())).items():
            while await log.position(partition) < end:
                for message in (await log.getmany(partition, timeout_ms=1000)).get(partition, []):
                    yield f"Kafka key {partition.topic}", message.key or b""
                    yield f"Kafka value {partition.topic}", message.value or b""
                    for name, value in message.headers:
                        yield f"Kafka header {partition.topic}", name.encode() + b"\n" + (value or b"")


async def leaks(
    needles: Needles, system: System, collector: Collector, doors: Mapping[str, Door]
) -> set[Leak]:
    """Look at everything once, however often it was said there."""
    said: dict[str, set[bytes]] = {}
    async for place, content in places(system, collector, doors):
        said.setdefault(place, set()).add(content)
    return {leak for place, contents in said.items() for leak in needles.leaks(place, b"\n".join(contents))}
