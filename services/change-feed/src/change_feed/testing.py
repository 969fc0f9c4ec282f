"""For tests: a registry that does what a test asks of it, a log to write to, and the calls that tests of the feed need."""

import itertools
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
from aiokafka.admin import AIOKafkaAdminClient

from change_feed.citizens import REPLICA
from change_feed.log import Log
from change_feed.retention import drop_oldest
from change_feed.settings import Settings
from cv_contracts import envelope
from cv_contracts.event import Event
from cv_contracts.events.cv_registry import CitizenChanged, CVChanged
from cv_contracts.topics import TOPICS, topic_of
from servicekit import kafka
from servicekit.caller import Caller
from servicekit.data.postgres import Database
from servicekit.follow.testing import heartbeat
from servicekit.kafka_admin import ensure_topics
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually
from servicekit.web.health import Health
from servicekit.web.identity import ServiceSigner
from servicekit.web.standin_testing import StandIn

E = TypeVar("E", bound=Event)

_PARTITIONS = "select count(*) from pg_inherits where inhparent = 'entries'::regclass"

_numbers = itertools.count(1)


class Registry(StandIn):
    """In the registry's place; one more mode is unknown: it has never heard of anybody."""

    def __init__(self) -> None:
        super().__init__()
        self.citizens: dict[str, dict[str, Any]] = {}
        self.cvs: dict[str, dict[str, Any]] = {}

    def found(self, path: str, body: Any) -> dict[str, Any]:
        kept = self.cvs if path.startswith("/internal/cvs/") else self.citizens
        if path.endswith("/snapshot"):
            keys = sorted(key for key in kept if key > (body["after"] or ""))[: body["limit"]]
            more = len(keys) == body["limit"]
            return {"states": [kept[key] for key in keys], "next": keys[-1] if more else None}
        unknown = [{"subject": subject, "unknown": True} for subject in body["subjects"]]
        if self.mode == "unknown":
            return {"states": unknown}
        return {"states": [kept.get(one["subject"], one) for one in unknown]}


@dataclass(frozen=True)
class Person:
    """A citizen of a test."""

    person_id: UUID
    cv_id: UUID
    cv_number: str
    state: dict[str, Any] = field(hash=False)
    version: list[int] = field(hash=False, default_factory=lambda: [0])


@dataclass
class World:
    """The feed under test, its database, the log before it and the registry stand-in."""

    client: httpx.AsyncClient
    database: Database
    registry: Registry
    signers: dict[str, ServiceSigner]
    settings: Settings
    log: "Writer"
    health: Health = field(default_factory=Health)

    def person(self, *relations: dict[str, Any], **more: Any) -> Person:
        """Make a citizen at the registry; nothing is said about it yet."""
        n = next(_numbers)
        person = Person(uuid4(), uuid4(), str(10_000_000 + n), {})
        person.state.update(
            {
                "cvId": str(person.cv_id),
                "cvNumber": person.cv_number,
                "personNumber": f"0101{n:06}",
                "relations": list(relations),
                **more,
            }
        )
        self.at_registry(person)
        return person

    def at_registry(self, person: Person, **more: Any) -> CitizenChanged:
        """Give the citizen a new version at the registry, and the event that tells of it."""
        person.version[0] += 1
        person.state.update(more)
        self.registry.citizens[str(person.person_id)] = {
            "subject": str(person.person_id),
            "version": person.version[0],
            "state": dict(person.state),
        }
        return event(CitizenChanged, person.person_id, person.version[0], change="changed")

    def cv(self, person: Person, change: str = "replaced", state: str = "ACTIVE", **more: Any) -> CVChanged:
        """Change the CV at the registry, and give the event that tells of it."""
        made = event(CVChanged, person.cv_id, next(_numbers), change=change, **more)
        self.registry.cvs[str(person.cv_id)] = {
            "subject": str(person.cv_id),
            "version": made.version,
            "state": {
                "personId": str(person.person_id),
                "state": state,
                "revisionDate": made.time.isoformat(),
            },
        }
        return made

    def erase(self, person: Person) -> list[Event]:
        """Erase the citizen at the registry, and give the events that tell of it."""
        person.version[0] += 1
        version = 1_000_000 + next(_numbers)
        for kept, subject in ((self.registry.citizens, person.person_id), (self.registry.cvs, person.cv_id)):
            kept[str(subject)] = {"subject": str(subject), "version": version, "erased": True}
        return [
            event(CVChanged, person.cv_id, version, change="erased"),
            event(CitizenChanged, person.person_id, version, change="erased"),
        ]

    async def arrived(self, entries: int) -> None:
        """Wait until the feed has so many entries."""

        async def there() -> None:
            found = await self.database.fetchval("select count(*) from entries")
            if found != entries:
                raise AssertionError(f"{found} entries, not {entries}")

        await eventually(there)

    async def committed(self) -> None:
        """Wait until Kafka has the feed's offsets, by which a later start knows what was taken in."""
        log = Log(self.settings.kafka, 10)
        await log.start()
        try:
            rows = await self.rows("select topic, partition, next_offset from log_positions")
            stored = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}

            async def all_there() -> None:
                if (await log.bounds()).committed != stored:
                    raise AssertionError("Kafka has not all of the feed's offsets")

            await eventually(all_there)
        finally:
            await log.stop()

    async def replica_is_fresh(self, person: "Person") -> None:
        """Send heartbeats, and wait until by them the feed's replica has the citizen as the registry has them now."""
        await self.log.beat()

        async def fresh() -> None:
            [row] = await self.rows(REPLICA, [person.person_id], [])
            if not row["fresh"] or row["version"] != person.version[0]:
                raise AssertionError("the replica does not know the citizen yet")

        await eventually(fresh)

    async def has_begun(self) -> bool:
        """Tell whether the feed has all that the owners had when it began."""
        return bool(await self.database.fetchval("select seeded from feed"))

    def headers(self, who: Caller | None, service: str = "gateway") -> dict[str, str]:
        return {"authorization": f"Bearer {self.signers[service].token('change-feed', who)}"}

    async def changes(
        self,
        who: Caller,
        start: str,
        end: str | None = None,
        page: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        query = {"CVChangeStartTime": start, "CVChangeEndTime": end, "CVListPage": page}
        params = {name: str(value) for name, value in query.items() if value is not None}
        given = {**self.headers(who), **(headers or {})}
        return await self.client.get("/v6/Cv/changes", params=params, headers=given)

    async def feed(self, who: Caller, after: str | None = None, **query: Any) -> httpx.Response:
        params = {"lastEventId": after, **query} if after is not None else query
        return await self.client.get("/v1/feed/cv", params=params, headers=self.headers(who))

    async def snapshot(self, who: Caller, after: str | None = None, **query: Any) -> httpx.Response:
        params = {"after": after, **query} if after is not None else query
        return await self.client.get("/v1/feed/cv/snapshot", params=params, headers=self.headers(who))

    async def rows(self, query: str, *args: Any) -> Any:
        return await self.database.fetch(query, *args)

    async def all_of(self, who: Caller, **query: Any) -> list[dict[str, Any]]:
        """Read the feed to its end, and check that the ranges of the pages follow one upon the other."""
        events: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            answer = await self.feed(who, after, **query)
            answer.raise_for_status()
            if after is not None and answer.headers["x-feed-from"] != after:
                raise AssertionError("the ranges of two pages do not meet")
            events += answer.json()
            if not answer.json():
                return events
            after = answer.headers["x-feed-to"]

    async def shown(self, who: Caller) -> list[tuple[str, str | None]]:
        """Give what a subscriber sees: CV id and kind of change, in order."""
        return [(e["subject"], e.get("data", {}).get("change")) for e in await self.all_of(who)]


def event(kind: type[E], subject: UUID, version: int, **more: Any) -> E:
    return kind(**{"id": uuid4(), "subject": subject, "version": version, "time": datetime.now(UTC), **more})


async def drop_old(conn: Any, retention: timedelta) -> int:
    """Drop what is old, as the writer does by and by; gives how many partitions that were."""
    before = await conn.fetchval(_PARTITIONS)
    while await drop_oldest(conn, retention, timedelta(days=1)) == "more":
        pass
    return int(before - await conn.fetchval(_PARTITIONS))


class Writer:
    """Writes events to the topics of the contracts, and whatever else may get there."""

    def __init__(self, settings: KafkaSettings, producer: Any) -> None:
        self._settings = settings
        self._producer = producer

    async def send(self, *events: Event) -> None:
        """Send events and wait until the broker has them."""
        for one in events:
            topic = topic_of(type(one))
            await self.raw(
                topic.name,
                envelope.key(one),
                envelope.data_json(one),
                envelope.headers(one, topic.producer),
            )

    async def beat(self, partitions: Iterable[int] = range(6)) -> None:
        """Send a heartbeat to each partition of the citizens."""
        for partition in partitions:
            one = heartbeat()
            topic = topic_of(CitizenChanged)
            await self.raw(
                topic.name,
                envelope.key(one),
                envelope.data_json(one),
                envelope.headers(one, "cv-registry"),
                partition,
            )

    async def make_anew(self) -> None:
        """Delete the topics with all that is in them, and make them again."""
        admin = AIOKafkaAdminClient(**kafka.connection(self._settings))
        await admin.start()
        try:
            await admin.delete_topics([self._settings.topic_prefix + topic.name for topic in TOPICS])

            async def none_there() -> None:
                names = await admin.list_topics()
                if any(name.startswith(self._settings.topic_prefix) for name in names):
                    raise AssertionError("topics are still there")

            await eventually(none_there)
        finally:
            await admin.close()
        await ensure_topics(self._settings, TOPICS)

    async def raw(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        partition: int | None = None,
    ) -> None:
        name = self._settings.topic_prefix + topic
        await self._producer.send_and_wait(name, value, key=key, headers=list(headers), partition=partition)


@asynccontextmanager
async def log_writer(settings: KafkaSettings) -> AsyncIterator[Writer]:
    """Make the topics where they are missing, and a writer to them."""
    await ensure_topics(settings, TOPICS)
    producer = kafka.producer(settings, "feed-tests", linger_ms=0)
    await producer.start()
    try:
        yield Writer(settings, producer)
    finally:
        await producer.stop()
