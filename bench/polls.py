"""P13: long polls of the feed: from a record in the log to the answer, events to a hundred followers, ten thousand who wait.

One change-feed as a process of its own, with a registry's stand-in; those who poll share the machine with it.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from bench.judging import percentile
from bench.measured import Row, Servers, megabytes
from change_feed.testing import Registry, World, log_writer
from cv_citizens.testing import MUNICIPALITY, OTHER_MUNICIPALITY, a_caller, relation
from cvhub.servers.guard import guard
from servicekit.data.postgres import migrate
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually, free_port
from servicekit.web.testing import Identities

HERE, THERE = a_caller(MUNICIPALITY), a_caller(OTHER_MUNICIPALITY)
ANSWERS, APART = 60, 0.4
FOLLOWERS, EVENTS = 100, 5_000
IDLE, IDLE_SECONDS = 10_000, 10.0
NEARLY_IDLE = 0.5
"""Of a processor."""
CONNECTING = 200
PATIENCE = 120


async def run(servers: Servers) -> list[Row]:
    async with _feed(servers) as feed:
        servers.say("P13 one who waits")
        rows = await _answers(feed)
        servers.say(f"P13 {FOLLOWERS} followers")
        rows += await _followers(feed)
        servers.say(f"P13 {IDLE:,} who wait")
        return rows + await _idle(feed)


@dataclass(frozen=True, slots=True)
class Feed:
    """A running change-feed, and a world to tell it of."""

    world: World
    port: int
    pid: int

    async def end(self, who: Any) -> str:
        """Give the position of the feed's end."""
        answer = await self.world.snapshot(who, limit=1)
        return str(answer.raise_for_status().json()["position"])

    def busy(self) -> float:
        return sum(psutil.Process(self.pid).cpu_times()[:2])


class Poll:
    """A connection that asks again and again for what comes after the last."""

    def __init__(self, feed: Feed, who: Any, after: str) -> None:
        self._feed, self._who = feed, who
        self.after = after
        self.refused = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> None:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._feed.port)
        target = f"/v1/feed/cv?lastEventId={self.after}&timeout=60000"
        token = self._feed.world.headers(self._who)["authorization"]
        head = f"GET {target} HTTP/1.1\r\nhost: feed\r\nauthorization: {token}\r\n\r\n"
        self._streams[1].write(head.encode())
        await self._streams[1].drain()

    async def answer(self) -> list[Any]:
        """Give the events; where the service is too busy (503), ask again as it says."""
        while True:
            head, fields, body = await self._received()
            if not head.startswith("http/1.1 503"):
                break
            self.refused += 1
            await asyncio.sleep(float(fields["retry-after"]))
            await self.ask()
        if not head.startswith("http/1.1 200"):
            raise RuntimeError(f"{head[:40]} {body[:200]!r}")
        events: list[Any] = json.loads(body)
        if events:
            self.after = events[-1]["id"]
        return events

    async def _received(self) -> tuple[str, dict[str, str], bytes]:
        assert self._streams is not None
        head = (await self._streams[0].readuntil(b"\r\n\r\n")).decode().lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        return head, fields, await self._streams[0].readexactly(int(fields["content-length"]))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


async def _answers(feed: Feed) -> list[Row]:
    """Send a record now and then while one waits; the time from the broker's acknowledgement, and from before the sending."""
    person = feed.world.person(relation(MUNICIPALITY))
    poll = Poll(feed, HERE, await feed.end(HERE))
    sent, acknowledged = [], []
    for _ in range(ANSWERS):
        await poll.ask()
        await asyncio.sleep(APART)
        begun = time.perf_counter()
        await feed.world.log.send(feed.world.cv(person))
        durable = time.perf_counter()
        await poll.answer()
        sent.append((time.perf_counter() - begun) * 1000)
        acknowledged.append((time.perf_counter() - durable) * 1000)
    poll.close()
    return [
        Row.alone("P13 record sent to long poll answered, p50 ms", percentile(sent, 50)),
        Row.alone("P13 record sent to long poll answered, p99 ms", percentile(sent, 99)),
        Row.alone("P13 of it after the broker's acknowledgement, p50 ms", percentile(acknowledged, 50)),
    ]


async def _followers(feed: Feed) -> list[Row]:
    people = [feed.world.person(relation(MUNICIPALITY)) for _ in range(100)]
    after = await feed.end(HERE)
    events = [feed.world.cv(people[n % 100]) for n in range(EVENTS)]
    refused = 0

    async def follow() -> None:
        nonlocal refused
        poll, had = Poll(feed, HERE, after), 0
        while had < EVENTS:
            await poll.ask()
            had += len(await poll.answer())
        poll.close()
        refused += poll.refused

    begun = time.perf_counter()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        for _ in range(FOLLOWERS):
            tasks.create_task(follow())
        for n in range(0, EVENTS, 100):
            await asyncio.gather(*(feed.world.log.send(one) for one in events[n : n + 100]))
    took = time.perf_counter() - begun
    return [
        Row.alone(f"P13 events to {FOLLOWERS} followers, events/s each", EVENTS / took),
        Row.alone(f"P13 events to {FOLLOWERS} followers, all together/s", EVENTS * FOLLOWERS / took),
        Row.alone(f"P13 answers to {FOLLOWERS} followers that were 503", refused),
    ]


async def _idle(feed: Feed) -> list[Row]:
    person, after = feed.world.person(relation(OTHER_MUNICIPALITY)), await feed.end(THERE)
    before, limit = megabytes(feed.pid), asyncio.Semaphore(CONNECTING)
    polls = [Poll(feed, THERE, after) for _ in range(IDLE)]

    async def begin(poll: Poll) -> None:
        async with limit:
            await poll.ask()

    await asyncio.gather(*map(begin, polls))
    await _taken_in(feed)
    memory, busy = megabytes(feed.pid) - before, feed.busy()
    await asyncio.sleep(IDLE_SECONDS)
    busy = (feed.busy() - busy) / IDLE_SECONDS * 100
    begun = time.perf_counter()
    await feed.world.log.send(feed.world.cv(person))
    async with asyncio.timeout(PATIENCE):
        woken = await asyncio.gather(*(poll.answer() for poll in polls))
    took = time.perf_counter() - begun
    for poll in polls:
        poll.close()
    if not all(len(events) == 1 for events in woken):
        raise RuntimeError("somebody did not hear of the change")
    return [
        Row.alone(f"P13 {IDLE:,} idle long polls, KB of memory each", memory * 1000 / IDLE),
        Row.alone(f"P13 {IDLE:,} idle long polls, % of a processor", busy),
        Row.alone(f"P13 {IDLE:,} idle long polls, all answered within s of a change", took),
    ]


async def _taken_in(feed: Feed) -> None:
    """Wait until the service has begun to wait with all that were asked: until it has hardly anything to do."""
    async with asyncio.timeout(PATIENCE):
        while True:
            busy = feed.busy()
            await asyncio.sleep(1)
            if feed.busy() - busy < NEARLY_IDLE:
                return


@asynccontextmanager
async def _feed(servers: Servers) -> AsyncIterator[Feed]:
    dsn, registry, port = await servers.database(), Registry(), free_port()
    await migrate(dsn, "change_feed.migrations")
    await registry.start()
    identities = Identities(servers.folder, ["change-feed", "cv-registry", "gateway"])
    kafka = KafkaSettings(bootstrap_servers=servers.kafka.bootstrap_servers, topic_prefix="p13.")
    env = {
        **os.environ,
        "POSTGRES__DSN": dsn,
        "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
        "HTTP__PORT": str(port),
        "HTTP__BACKLOG": "16384",
        **identities.environment("change-feed"),
        "REQUEST_SECRET": "a secret for benchmarks",
        "REGISTRY_URL": registry.url,
    }
    async with (
        log_writer(kafka) as log,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client,
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "change_feed"),
            env=env,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        guard().watch(process.pid)
        nothing: Any = None
        feed = Feed(World(client, nothing, registry, identities.signers, nothing, log), port, process.pid)
        try:
            await log.beat()
            await eventually(lambda: feed.end(HERE))
            yield feed
        finally:
            process.terminate()
            await process.wait()
            guard().forget(process.pid)
            await registry.stop()
