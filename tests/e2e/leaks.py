"""Looks for personal data where none may be: logs, spans, metrics, URLs, Kafka records, temporary files."""

import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from aiokafka.admin import AIOKafkaAdminClient
from tests.e2e.collector import Collector
from tests.e2e.door import Door
from tests.e2e.system import System

from cvhub.synthetic import SyntheticCitizen
from servicekit.kafka import consumer
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually

_RANDOM_IDS = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|(?<![0-9a-fA-F])(?:[0-9a-f]{32}|[0-9a-f]{16})(?![0-9a-fA-F])"
)
_WORD = re.compile(r"\w+")
_SHORTEST_NAME = 4
SAMPLE_OF_TEXT = 30


@dataclass(frozen=True, slots=True)
class Leak:
    """What kind of personal data was found where; never the data."""

    kind: str
    place: str


class Needles:
    """What to look for, by kind; each also as it looks in a URL and in ASCII JSON. Numbers count only when they stand alone.

    Ten thousand texts are looked for in many megabytes: only those whose first word occurs are searched.
    """

    def __init__(self, by_kind: Mapping[str, Iterable[str]]) -> None:
        self._by_word: dict[str, set[tuple[str, str]]] = {}
        for kind, texts in by_kind.items():
            for variant in {variant for text in texts for variant in _variants(text)}:
                self._by_word.setdefault(_WORD.findall(variant)[0], set()).add((kind, variant))

    def leaks(self, place: str, content: bytes) -> set[Leak]:
        text = _RANDOM_IDS.sub("id", content.decode("utf-8", "replace"))
        seen = self._by_word.keys() & set(_WORD.findall(text))
        return {
            Leak(kind, place)
            for word in seen
            for kind, variant in self._by_word[word]
            if variant in text and _alone(variant).search(text)
        }


def _variants(text: str) -> tuple[str, ...]:
    return text, quote(text), json.dumps(text)[1:-1]


def _alone(variant: str) -> re.Pattern[str]:
    return re.compile(r"(?<![\w%])" + re.escape(variant) + r"(?!\w)")


def needles_of(persons: Iterable[SyntheticCitizen], **more: Iterable[str]) -> Needles:
    """Give all that is personal about them, and more by kind."""
    found: dict[str, set[str]] = {kind: set(texts) for kind, texts in more.items()}
    for one in persons:
        for kind, text in _personal(one):
            found.setdefault(kind, set()).add(text)
    return Needles(found)


def _personal(one: SyntheticCitizen) -> Iterator[tuple[str, str]]:
    number, citizen, cv = one.person_number, one.citizen, one.cv or {}
    yield from (("person number", text) for text in (number, f"{number[:6]}-{number[6:]}"))
    if one.cv_number:
        yield "CV number", one.cv_number
    yield "name", one.name
    if len(citizen["familyName"]) >= _SHORTEST_NAME:
        yield "name", citizen["familyName"]
    yield "address", citizen["address"]["addressLine"]
    contact = cv.get("ContactInformation", {})
    if mail := contact.get("E-mail"):
        yield "e-mail", mail
    for phone in contact.get("PhoneNumber", []):
        yield "phone", phone.removeprefix("+45")
    for text in _texts(cv.get("CV", {})):
        yield "text", text[:SAMPLE_OF_TEXT].rstrip()


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str) and len(value) > SAMPLE_OF_TEXT:
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


async def places(system: System, collector: Collector, door: Door) -> AsyncIterator[tuple[str, bytes]]:
    """Give everything that the system has said anywhere, with the place where it said it."""
    for log in system.logs:
        yield f"log {log.name}", log.read_bytes()
    for path, body in collector.received:
        yield f"telemetry {path}", body
    for target in set(door.targets()):
        yield "URL", target
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


async def leaks(needles: Needles, system: System, collector: Collector, door: Door) -> set[Leak]:
    return {
        leak
        async for place, content in places(system, collector, door)
        for leak in needles.leaks(place, content)
    }
