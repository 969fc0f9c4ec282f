"""P5: pages of 1,000 late in the feed against the first page, with keyset SQL and OFFSET in the same run, and how fast records are taken in.

The feed's tables are filled by SQL as the writer would fill them: one scope that sees all, and 98 municipalities.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from resource import RUSAGE_SELF, getrusage
from statistics import median
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg

from bench.measured import Row, Servers
from change_feed.arrivals import Arrivals
from change_feed.change_list import ChangeList
from change_feed.citizens import Citizens, Owner
from change_feed.cursors import Cursors, Subscriber
from change_feed.feed import Feed
from change_feed.log import FOLLOWED
from change_feed.snapshot import MOST, Snapshot
from change_feed.store import FeedStore
from change_feed.taking import Taking
from change_feed.writing import ALL_SCOPE, Writer, moment, position_of
from cv_citizens.danish_time import utc_now
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.topics import topic_of
from cv_contracts.wire.changes import GetCVUpdateListQuery
from cvhub.servers.postgres import PostgresServer
from servicekit.data.postgres import Database, migrate
from servicekit.follow.records import Record
from servicekit.follow.state_client import Page
from servicekit.follow.states import Known, SubjectState
from servicekit.follow.testing import make_live
from servicekit.memory import collect_seldom
from servicekit.settings import PostgresSettings

EVENTS, ALL_EVENTS = 1_000_000, 10_000_000
CHUNK: Final = 250_000
EVENTS_PER_CV: Final = 10
PAGE: Final = 1_000
ROUNDS: Final = 40
TAKEN: Final = 20_000
BATCH: Final = 1_000
MUNICIPALITIES: Final = 98
START: Final = position_of(datetime(2026, 1, 1, tzinfo=UTC))
STEP: Final = 1_000

_ENTRIES: Final = f"""
insert into entries
select $1 + n * {STEP}, gen_random_uuid(), '{CVChanged.TYPE}', 'replaced', id, n, now(), id, id, lpad((10000000 + n % $4::bigint)::text, 8), false
from generate_series($2::bigint, $3::bigint) n, lateral (select md5((n % $4)::text)::uuid as id) m
"""
_AUDIENCE: Final = f"""
insert into audience
select $1 + n * {STEP}, s.scope, 'seen', true, false, case when n + $4 <= $4::bigint * {EVENTS_PER_CV} then $1 + (n + $4) * {STEP} end
from generate_series($2::bigint, $3::bigint) n, lateral (values ({ALL_SCOPE}), (2 + n % $4 % {MUNICIPALITIES})) s(scope)
"""
_CVS: Final = f"""
insert into cvs (person_id, cv_id, cv_number, citizen_version, scopes, newest_position, newest_version, newest_change)
select id, id, lpad((10000000 + n % $2)::text, 8), 1, '{{}}', $1::bigint + ($2::bigint * {EVENTS_PER_CV - 1} + n) * {STEP}, n, 'replaced'
from generate_series(1, $2) n, lateral (select md5((n % $2)::text)::uuid as id) m
"""
_MEMBERS: Final = f"""
insert into members select s.scope, cv_id, 1, null, newest_position
from cvs, lateral (values ({ALL_SCOPE}), (2 + (cv_number::int - 10000000) % {MUNICIPALITIES})) s(scope)
"""
_INDEXES: Final = """
select indexname, indexdef from pg_indexes where tablename in ('entries', 'audience') and indexname not like '%_pkey'
"""
"""Made after the filling, which is several times quicker so."""
_KEYSET: Final = "select * from entries where position > $1 order by position limit 1000"
_OFFSET: Final = "select * from entries order by position offset $1 limit 1000"


async def run(servers: Servers) -> list[Row]:
    events = ALL_EVENTS if servers.million else EVENTS
    folder = (servers.kept or servers.folder) / "feed"
    made = folder / "made"
    postgres = PostgresServer(folder / "postgres", durable=made.exists(), shared_buffers="1GB")
    postgres.start()
    try:
        if not made.exists():
            await _fill(servers, postgres.dsn, events)
            postgres.stop()
            made.touch()
            postgres = PostgresServer(folder / "postgres", shared_buffers="1GB")
            postgres.start()
        await migrate(postgres.dsn, "change_feed.migrations")
        async with _connected(postgres.dsn) as database:
            collect_seldom()
            return [*await _pages(servers, database, events), *await _taking_in(servers, database)]
    finally:
        postgres.stop()


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Database]:
    patience = timedelta(minutes=10)
    settings = PostgresSettings(dsn=dsn, statement_timeout=patience, command_timeout=patience)
    database = await Database.connect(settings, "bench")
    try:
        yield database
    finally:
        await database.close()


async def _fill(servers: Servers, dsn: str, events: int) -> None:
    await migrate(dsn, "change_feed.migrations")
    conn: Any = await asyncpg.connect(dsn)
    last, cvs = START + (events + 1) * STEP, events // EVENTS_PER_CV
    await conn.execute(
        "insert into scopes (name) select '7:' || (100 + n) from generate_series(1, $1::int) n",
        MUNICIPALITIES,
    )
    await conn.execute("select feed_make_partition($1, $2)", START, last + STEP)
    indexes = await conn.fetch(_INDEXES)
    for index in indexes:
        await conn.execute(f"drop index {index['indexname']}")
    for low in range(1, events + 1, CHUNK):
        high = min(low + CHUNK - 1, events)
        servers.say(f"P5 {high:,} of {events:,} events")
        await conn.execute(_ENTRIES, START, low, high, cvs)
        await conn.execute(_AUDIENCE, START, low, high, cvs)
    servers.say("P5 indexes")
    for index in indexes:
        await conn.execute(index["indexdef"].replace(" ON ONLY ", " ON "))
    await conn.execute(_CVS, START, cvs)
    await conn.execute(_MEMBERS)
    await conn.execute(
        "insert into feed (epoch, edge, floor, seeded) values ($1, $2, 0, true)", uuid4(), last
    )
    await conn.execute("vacuum analyze")
    await conn.close()
    async with _connected(dsn) as database:
        await make_live(database, "citizens")


async def _pages(servers: Servers, database: Database, events: int) -> list[Row]:
    store, cursors = FeedStore(database), Cursors(secrets.token_bytes(32))
    feed = Feed(store, Arrivals(store), cursors)
    at = {"first": START, "middle": START + events // 2 * STEP, "late": START + events * 9 // 10 * STEP}
    edge = await feed.edge()
    everyone, one = Subscriber("bench", "*"), Subscriber("bench", "7:101")
    rows = []
    for name, who in (("all", everyone), ("one municipality", one)):
        servers.say(f"P5 pages of {name}")
        took = await _in_turns(
            {
                place: _feed_page(feed, who, cursors.of(who, edge.epoch, position))
                for place, position in at.items()
            }
        )
        rows += _rows(f"P5 feed page of {PAGE:,} at {events:,} events, {name}", took)
    took = await _in_turns({place: _sql(database, _KEYSET, position) for place, position in at.items()})
    rows += _rows(f"P5 the same by keyset SQL alone, {events:,} events", took, goal=False)
    offsets = {place: _sql(database, _OFFSET, (position - START) // STEP) for place, position in at.items()}
    rows += _rows(f"P5 the same by OFFSET, {events:,} events", await _in_turns(offsets, rounds=1), goal=False)
    rows += await _list(servers, store, everyone, events)
    rows += await _snapshot(servers, store, feed, cursors, everyone)
    return rows


async def _list(servers: Servers, store: FeedStore, who: Subscriber, events: int) -> list[Row]:
    servers.say("P5 pages of GetCVUpdateList")
    edge = await store.edge()
    assert edge is not None
    changes = ChangeList(store, PAGE, utc_now)

    def query(number: int) -> GetCVUpdateListQuery:
        return GetCVUpdateListQuery(
            CVChangeStartTime=moment(START), CVChangeEndTime=moment(edge.edge), CVListPage=number
        )

    begun = time.perf_counter()
    last = (await changes.page(who, query(1), edge)).answer.LastPageNumber
    first_call = (time.perf_counter() - begun) * 1000
    calls = {
        name: _call(changes.page, who, query(number), edge)
        for name, number in (("first", 2), ("middle", last // 2), ("late", last * 9 // 10))
    }
    rows = _rows(f"P5 page of GetCVUpdateList at {events:,} events, {last} pages", await _in_turns(calls))
    return [
        *rows,
        Row.alone("P5 first page of GetCVUpdateList, which counts the whole period, ms", first_call),
    ]


async def _snapshot(
    servers: Servers, store: FeedStore, feed: Feed, cursors: Cursors, who: Subscriber
) -> list[Row]:
    servers.say("P5 snapshot")
    snapshot, after, found = Snapshot(store, feed, cursors), None, 0
    begun, memory = time.perf_counter(), getrusage(RUSAGE_SELF).ru_maxrss
    while True:
        page = await snapshot.page(who, after, MOST)
        found, after = found + len(page.items), page.following
        if after is None:
            break
    seconds, more = time.perf_counter() - begun, getrusage(RUSAGE_SELF).ru_maxrss - memory
    return [
        Row.alone(f"P5 snapshot of {found:,} CVs, s", seconds),
        Row.alone(f"P5 snapshot of {found:,} CVs, MB that the peak of memory rose by", more / 1024),
    ]


def _rows(name: str, took: dict[str, list[float]], *, goal: bool = True) -> list[Row]:
    ms = {place: median(seconds) * 1000 for place, seconds in took.items()}
    shown = Row.alone(f"{name}, first, ms", ms["first"], ("<=", 6) if goal else None)
    return [shown, *(_later(name, place, ms, goal=goal) for place in ("middle", "late"))]


def _later(name: str, place: str, ms: dict[str, float], *, goal: bool) -> Row:
    ratio = ms[place] / ms["first"]
    return Row(
        f"{name}, {place}, ms, against the first",
        round(ms[place], 2),
        round(ms["first"], 2),
        round(ratio, 2),
        "<= 1.2x" if goal else None,
        ratio <= 1.2 if goal else None,
    )


Timed = Callable[[], Awaitable[Any]]


async def _in_turns(calls: dict[str, Timed], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Measure the calls in turns, so that whatever else the machine does meets them all alike."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 2):
        for name, call in calls.items():
            begun = time.perf_counter()
            await call()
            if number >= 2:
                took[name].append(time.perf_counter() - begun)
    return took


def _call(function: Callable[..., Awaitable[Any]], *arguments: Any) -> Timed:
    return lambda: function(*arguments)


def _feed_page(feed: Feed, who: Subscriber, after: str) -> Timed:
    return lambda: feed.page(who, after, PAGE, frozenset(), 0)


def _sql(database: Database, query: str, argument: int) -> Timed:
    return lambda: database.fetch(query, argument)


class _Registry:
    """All citizens of the measurement, each in one municipality, a jobcenter and an a-kasse."""

    def __init__(self, persons: dict[UUID, UUID]) -> None:
        self._persons = persons
        self._cv_of = {cv: person for person, cv in persons.items()}

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        raise NotImplementedError(path, body)

    async def states(self, subjects: Any) -> list[SubjectState]:
        return [self._state(UUID(str(subject))) for subject in subjects]

    def _state(self, subject: UUID) -> SubjectState:
        if subject in self._cv_of:
            return Known(subject, 1, {"personId": str(self._cv_of[subject]), "state": "ACTIVE"})
        code = f"{subject.int % MUNICIPALITIES + 101}"
        relations = [
            {"organisationType": kind, "organisationCode": number, "from": "2020-01-01"}
            for kind, number in ((7, code), (8, code + "00"), (1, "53"))
        ]
        return Known(
            subject, 1, {"cvId": str(self._persons[subject]), "cvNumber": "12345678", "relations": relations}
        )

    async def page(self, _after: UUID | None, _limit: int) -> Page:
        return Page([], None)


async def _taking_in(servers: Servers, database: Database) -> list[Row]:
    servers.say("P5 taking in")
    persons = {uuid4(): uuid4() for _ in range(TAKEN // 4)}
    registry: Any = _Registry(persons)
    taking = Taking(database, Citizens(database, Owner(registry, registry), timedelta(0)), registry, utc_now)
    topic, cvs = topic_of(CVChanged), list(persons.values())
    assert topic in FOLLOWED
    records = [Record(topic, 0, n, b"", (), b"", _event(cvs[n % len(cvs)], n)) for n in range(TAKEN)]
    conn: Any = await asyncpg.connect(database.settings.dsn)
    writer = Writer(conn, timedelta(days=7))
    begun = time.perf_counter()
    for at in range(0, TAKEN, BATCH):
        await writer.write(await taking.records(records[at : at + BATCH]))
        await asyncio.sleep(0)
    took = time.perf_counter() - begun
    await conn.close()
    return [
        Row.alone(f"P5 records taken in, four scopes each, batches of {BATCH:,}, records/s", TAKEN / took)
    ]


def _event(subject: UUID, version: int) -> CVChanged:
    return CVChanged(id=uuid4(), subject=subject, version=version, time=datetime.now(UTC), change="replaced")
