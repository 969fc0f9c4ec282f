"""P6: SearchCVText over 500,000 CVs with twelve exact groups, against the best that PostgreSQL was found to do, in turns.

Both give the total, the first twenty CVs and the 64 most frequent values of each group, on one core, and look for the
same words in the same documents. PostgreSQL has a weighted tsvector, all values of a CV in one integer array, and a GIN
or B-tree index for each condition; the names of its groups are not even looked up. A new reader has nothing remembered.
"""

import asyncio
import pickle
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from bench.measured import Row, Servers, shown
from cv_contracts.codelists import default
from cv_search.geo import distance_km
from cv_search.made_up import MadeUp
from cv_search.port import GROUPS, Circle, Clause, Dimension, Document, Query
from cv_search.reference import Reference
from cv_search.tantivy_engine import open_engine, open_reader
from cvhub.servers.postgres import PostgresServer
from cvhub.synthetic import citizens

DIFFERENT = 100_000
"""CVs with texts of their own; beyond, they come again with other places, times and numbers."""
BATCH, ROUNDS, FIRST = 2_000, 3, 20
DAY = date(2026, 11, 22)
BROAD, MEDIUM = (0.2, 0.4), (0.01, 0.03)
GOALS = {"broad": 10.0, "medium": None, "geo": 5.0, "text, geo and filters": None}


async def run(servers: Servers) -> list[Row]:
    folder, reference = servers.kept or servers.folder / "search", Reference(default())
    postgres = PostgresServer(folder / "postgres", durable=False, shared_buffers="4GB")
    postgres.start()
    try:
        connection = await asyncpg.connect(postgres.dsn)
        await connection.execute(_SETTINGS)
        made = folder / "made"
        if not made.exists():
            built = await _built(servers, folder, reference, connection)
            made.with_suffix(".partial").write_bytes(pickle.dumps(built))
            made.with_suffix(".partial").rename(made)
        built = pickle.loads(made.read_bytes())  # noqa: S301 - our own
        field = Field(folder / "index", reference, Peer(connection, built.numbers, built.places), servers)
        rows = [await _race(name, built.wishes[name], field, built.count) for name in GOALS]
        await connection.close()
    finally:
        postgres.stop()
    return [
        *rows,
        *_alone(field, built),
        Row.against("P6 CVs/s into a new index", [built.rate], [built.peer_rate]),
    ]


@dataclass(frozen=True, slots=True)
class Built:
    """What was built, and how fast; what to search for in it."""

    count: int
    wishes: dict[str, list[Query]]
    numbers: dict[tuple[int, str], int]
    places: dict[int, tuple[float, float]]
    rate: float
    peer_rate: float


async def _built(
    servers: Servers, folder: Path, reference: Reference, connection: asyncpg.Connection
) -> Built:
    servers.say(f"P6 makes up {servers.cvs:,} CVs")
    different = await asyncio.to_thread(_different, min(DIFFERENT, servers.cvs))
    shutil.rmtree(folder / "index", ignore_errors=True)
    (folder / "index").mkdir()
    begun = time.perf_counter()
    await asyncio.to_thread(_build, folder / "index", reference, different, servers)
    rate = servers.cvs / (time.perf_counter() - begun)
    peer = Peer(connection, {}, {})
    peer_rate = await peer.load(_all(different, servers.cvs), reference, servers)
    wishes = _wishes(different, reference)
    return Built(servers.cvs, wishes, peer.numbers, peer.places, rate, peer_rate)


def _different(count: int) -> list[Document]:
    made_up, found = MadeUp(default()), list[Document]()
    for one in citizens(11, 2 * count, today=DAY):
        if one.cv is not None:
            document = made_up.document(one.index, one.citizen, one.cv, one.cv_state or "ACTIVE", day=DAY)
            found += [document] if document is not None else []
        if len(found) == count:
            break
    return found


def _all(different: Sequence[Document], count: int) -> Iterator[Document]:
    """Give so many CVs; the place of each repeated one is that of another."""
    for number in range(count):
        again, index = divmod(number, len(different))
        one, other = different[index], different[(index + again * 7_919) % len(different)].person
        person = replace(
            one.person,
            cv_number=str(10_000_000 + number),
            postal_code=other.postal_code,
            city=other.city,
            latitude=other.latitude,
            longitude=other.longitude,
        )
        yield replace(
            one,
            cv_id=UUID(int=number + 1),
            person=person,
            changed_at=one.changed_at + timedelta(seconds=again),
            values={**one.values, Dimension.CITY: (other.city or "",)},
        )


def _build(folder: Path, reference: Reference, different: Sequence[Document], servers: Servers) -> None:
    engine, batch = open_engine(folder, reference, 512_000_000, 2), list[Document]()
    for number, document in enumerate(_all(different, servers.cvs), 1):
        batch.append(document)
        if len(batch) == BATCH:
            engine.append(batch)
            batch.clear()
            servers.say(f"P6 indexes: {number:,}")
    engine.append(batch)
    engine.commit(1)
    engine.close()


def _wishes(different: Sequence[Document], reference: Reference) -> dict[str, list[Query]]:
    """Choose words by how many CVs have them, and places by where people live."""
    sample = random.Random(3).sample(different, min(4_000, len(different)))  # noqa: S311
    counts = Counter(word for one in sample for word in _words(one, reference))
    by_share: Callable[[tuple[float, float]], list[str]] = lambda share: [  # noqa: E731
        word for word, n in counts.most_common() if share[0] <= n / len(sample) <= share[1]
    ]
    broad, medium = by_share(BROAD)[:12], by_share(MEDIUM)[::7][:12]
    circles = [
        Circle(one.person.latitude, one.person.longitude, 40.0)
        for one in sample[:200]
        if one.person.latitude is not None and one.person.longitude is not None
    ][:12]
    spoken = ((Dimension.LANGUAGE, frozenset({"Engelsk"})), (Dimension.WORK_TIME, frozenset({"Deltid"})))
    return {
        "broad": [
            Query(text=(Clause((word,)),), secondary=(Clause((other,)),))
            for word, other in zip(broad, medium, strict=False)
        ],
        "medium": [Query(text=(Clause((word,)),)) for word in medium],
        "geo": [Query(circles=(circle,), enrolled_only=True) for circle in circles],
        "text, geo and filters": [
            Query(text=(Clause((word,)),), circles=(circle,), filters=spoken, enrolled_only=True)
            for word, circle in zip(broad, circles, strict=False)
        ],
    }


def _words(document: Document, reference: Reference) -> set[str]:
    texts = (*document.person.occupation_names, *document.titles, *document.skills, *document.texts)
    return {word for text in texts for words in reference.compounds.analysed(text) for word in words.split()}


async def _race(name: str, queries: Sequence[Query], field: "Field", count: int) -> Row:
    ours, theirs = [], []
    for number in range(ROUNDS):
        field.servers.say(f"P6 {name}: round {number + 1} of {ROUNDS}")
        snapshot = open_reader(field.folder, field.reference.digest).snapshot()
        snapshot.search(Query(enrolled_only=True, group_limit=1), FIRST)
        begun = time.perf_counter()
        totals = [snapshot.search(query, FIRST).total for query in queries]
        ours.append(len(queries) / (time.perf_counter() - begun))
        begun = time.perf_counter()
        counted = [await field.peer.search(query) for query in queries]
        theirs.append(len(queries) / (time.perf_counter() - begun))
        if totals != counted:
            raise AssertionError(f"{name}: {totals} are not {counted}")
    found = sum(totals) / len(totals) / count
    return Row.against(f"P6 {name} ({found:.0%} found), searches/s", ours, theirs, GOALS[name])


def _alone(field: "Field", built: Built) -> list[Row]:
    snapshot = open_reader(field.folder, field.reference.digest).snapshot()
    begun = time.perf_counter()
    for query in built.wishes["broad"]:
        snapshot.search(query, FIRST)
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    for query in built.wishes["broad"]:
        snapshot.ids(query, 20, 40)
    share = (time.perf_counter() - begun) / first
    size = sum(path.stat().st_size for path in field.folder.iterdir()) / 1_000_000
    memory = int(subprocess.check_output([sys.executable, "-c", _READER, str(field.folder)]))  # noqa: S603
    return [
        Row(
            "P6 second page of a broad search against the first",
            shown(share),
            None,
            None,
            "<= 0.1",
            share <= 0.1,
        ),
        Row.alone(f"P6 MB of the index of {built.count:,} CVs", size),
        Row.alone("P6 MB of a process that searches it", memory),
    ]


_READER = """
import os, sys
from pathlib import Path
from bench.measured import megabytes
from cv_contracts.codelists import default
from cv_search.port import Query
from cv_search.reference import Reference
from cv_search.tantivy_engine import open_reader
snapshot = open_reader(Path(sys.argv[1]), Reference(default()).digest).snapshot()
snapshot.search(Query(), 20)
snapshot.search(Query(enrolled_only=True), 20)
print(megabytes(os.getpid()))
"""


@dataclass(frozen=True, slots=True)
class Field:
    """Where the two meet."""

    folder: Path
    reference: Reference
    peer: "Peer"
    servers: Servers


@dataclass(slots=True)
class Peer:
    """The same in PostgreSQL."""

    connection: asyncpg.Connection
    numbers: dict[tuple[int, str], int]
    places: dict[int, tuple[float, float]]

    async def load(self, documents: Iterator[Document], reference: Reference, servers: Servers) -> float:
        """Load all; gives CVs per second, indexes and statistics included."""
        await self.connection.execute(_TABLE)
        begun, count, batch = time.perf_counter(), 0, list[tuple[object, ...]]()
        for document in documents:
            batch.append(self._row(document, reference))
            if len(batch) == BATCH:
                await self.connection.copy_records_to_table("loaded", records=batch)
                count += len(batch)
                batch.clear()
                servers.say(f"P6 loads PostgreSQL: {count:,}")
        await self.connection.copy_records_to_table("loaded", records=batch)
        servers.say("P6 indexes PostgreSQL")
        for statement in _INDEXES:
            await self.connection.execute(statement, timeout=1_200)
        return (count + len(batch)) / (time.perf_counter() - begun)

    async def search(self, query: Query) -> int:
        where, values = self._where(query)
        order = (
            "ts_rank('{0.1,0.2,0.4,1.0}', words, $1::tsquery) desc, number"
            if query.text
            else "changed desc, number"
        )
        row = await self.connection.fetchrow(_SEARCH.format(where=where, order=order), *values)
        assert row is not None
        return int(row[0])

    def _row(self, document: Document, reference: Reference) -> tuple[object, ...]:
        person = document.person
        values = [
            self._number(at << 20, f"{one}\0{name}")
            for at, one in enumerate(GROUPS)
            for name in document.values.get(one, ())
        ]
        place = 0
        if person.latitude is not None and person.longitude is not None:
            place = self._number(1, f"{person.latitude} {person.longitude}")
            self.places[place] = (person.latitude, person.longitude)
        changed = int(document.changed_at.timestamp() * 1_000_000)
        return (
            int(person.cv_number or 0),
            _lexemes(document, reference),
            values,
            place,
            document.enrolled,
            changed,
        )

    def _number(self, base: int, name: str) -> int:
        return self.numbers.setdefault((base, name), base + len(self.numbers))

    def _where(self, query: Query) -> tuple[str, list[object]]:
        conditions, values = [], list[object]()
        if query.text:
            words = [clause.words[0] for clause in (*query.text, *query.secondary)]
            values.append(" | ".join(f"'{word}'" for word in words))
            conditions.append(f"words @@ ${len(values)}::tsquery")
        for circle in query.circles:
            inside = [
                n for n, place in self.places.items() if distance_km(circle, *place) <= circle.radius_km
            ]
            values.append(inside)
            conditions.append(f"place = any(${len(values)}::int[])")
        for dimension, names in query.filters:
            at = GROUPS.index(dimension)
            values.append([self._number(at << 20, f"{dimension}\0{name}") for name in names])
            conditions.append(f"facets && ${len(values)}::int[]")
        if query.enrolled_only:
            conditions.append("enrolled")
        return " and ".join(conditions), values


def _lexemes(document: Document, reference: Reference) -> str:
    """Write the words as a tsvector: targets and titles A and B, skills C, texts and parts of compounds D."""
    places: dict[str, list[str]] = {}
    at = 0
    for weight, texts in (
        ("A", document.person.occupation_names),
        ("B", document.titles),
        ("C", document.skills),
        ("D", document.texts),
    ):
        for text in texts:
            words, parts = reference.compounds.analysed(text)
            for words_of, letter in ((words, weight), (parts, "D")):
                for word in words_of.split():
                    at = min(at + 1, 16_383)
                    places.setdefault(word, []).append(f"{at}{letter}")
    return " ".join(f"'{word}':{','.join(found[:200])}" for word, found in places.items())


_SETTINGS = "set jit = off; set work_mem = '256MB'; set maintenance_work_mem = '512MB'; set max_parallel_workers_per_gather = 0;"
_TABLE = """
drop table if exists loaded, cvs;
create unlogged table loaded (number int, lexemes text, facets int[], place int, enrolled bool, changed bigint);
"""
_INDEXES = (
    """create unlogged table cvs as
       select number, lexemes::tsvector as words, facets, place, enrolled, changed from loaded""",
    "drop table loaded",
    "create index on cvs using gin (words)",
    "create index on cvs using gin (facets)",
    "create index on cvs (place)",
    "create index on cvs (changed)",
    "vacuum analyze cvs",
)
# Unnesting in the select list was the fastest of six ways to count.
_SEARCH = """
select (select count(*) from cvs where {where}),
       (select array_agg(number) from (select number from cvs where {where} order by {order} limit 20) first),
       (select array_agg(array[facet, n]) from (
            select facet, n, row_number() over (partition by facet >> 20 order by n desc, facet) as place
            from (select facet, count(*) as n from (select unnest(facets) as facet from cvs where {where}) every
                  group by facet) counted) ranked
        where place <= 64)
"""
