"""P6: SearchCVText over 500,000 CVs with twelve exact groups, against PostgreSQL and OpenSearch, in turns.

All give the total, the first twenty CVs and the 64 most frequent values of each group, on one core, and look for the
same words in the same documents. PostgreSQL has a weighted tsvector, all values of a CV in one integer array, and a GIN
or B-tree index for each condition; the names of its groups are not even looked up. OpenSearch has 2 GB of heap, the index
that cv-search makes of it, and its code warmed up. A new reader has nothing remembered, and OpenSearch forgets as much.
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
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import chain
from pathlib import Path
from uuid import UUID

import asyncpg

from bench.measured import Row, Servers, megabytes
from bench.search_peers import SETTINGS, OpenSearchPeer, PostgresPeer
from cv_contracts.codelists import default
from cv_search.documents_testing import MadeUp
from cv_search.opensearch_engine.calling import Cluster
from cv_search.port import Circle, Clause, Dimension, Document, Query
from cv_search.reference import Reference
from cv_search.tantivy_engine import open_engine, open_reader
from cvhub.servers.opensearch import OpenSearchServer
from cvhub.servers.postgres import PostgresServer
from cvhub.synthetic import citizens

DIFFERENT = 100_000
"""CVs with texts of their own; beyond, they come again with other places, times and numbers."""
BATCH, ROUNDS, FIRST = 2_000, 3, 20
DAY = date(2026, 11, 22)
BROAD, MEDIUM = (0.2, 0.4), (0.01, 0.03)
GOALS = {"broad": 10.0, "medium": None, "geo": 5.0, "text, geo and filters": None}
AGAINST_OPENSEARCH = 1.0
HEAP_MB = 2_048
WARM_UP = 5


async def run(servers: Servers) -> list[Row]:
    folder, reference = (servers.kept or servers.folder) / "search", Reference(default())
    with _started(folder) as (postgres, opensearch):
        connection = await asyncpg.connect(postgres.dsn)
        await connection.execute(SETTINGS)
        cluster = Cluster(opensearch.url)
        made = folder / "made"
        if not made.exists():
            peers = PostgresPeer(connection, {}, {}), OpenSearchPeer(cluster, {})
            built = await _built(servers, folder, reference, *peers)
            made.with_suffix(".partial").write_bytes(pickle.dumps(built))
            made.with_suffix(".partial").rename(made)
        built = pickle.loads(made.read_bytes())  # noqa: S301 - our own
        first = PostgresPeer(connection, built.numbers, built.places)
        field = Field(folder / "index", first, OpenSearchPeer(cluster, built.places), servers)
        servers.say("P6 warms OpenSearch up")
        field.opensearch.warm(chain.from_iterable(WARM_UP * list(built.wishes.values())))
        rows = [row for name in GOALS for row in await _race(name, built.wishes[name], field, built.count)]
        rows += _alone(field, built, opensearch)
        cluster.close()
        await connection.close()
    return [
        *rows,
        Row.against("P6 CVs/s into a new index, against PostgreSQL", [built.rate], [built.postgres_rate]),
        Row.against("P6 CVs/s into a new index, against OpenSearch", [built.rate], [built.opensearch_rate]),
    ]


@contextmanager
def _started(folder: Path) -> Iterator[tuple[PostgresServer, OpenSearchServer]]:
    postgres = PostgresServer(folder / "postgres", durable=False, shared_buffers="4GB")
    opensearch = OpenSearchServer(folder / "opensearch", heap_mb=HEAP_MB)
    try:
        postgres.start()
        opensearch.start()
        yield postgres, opensearch
    finally:
        opensearch.stop()
        postgres.stop()


@dataclass(frozen=True, slots=True)
class Built:
    """What was built, and how fast; what to search for in it."""

    count: int
    wishes: dict[str, list[Query]]
    numbers: dict[tuple[int, str], int]
    places: dict[int, tuple[float, float]]
    rate: float
    postgres_rate: float
    opensearch_rate: float


async def _built(
    servers: Servers, folder: Path, reference: Reference, postgres: PostgresPeer, opensearch: OpenSearchPeer
) -> Built:
    servers.say(f"P6 makes up {servers.cvs:,} CVs")
    different = await asyncio.to_thread(_different, min(DIFFERENT, servers.cvs))
    shutil.rmtree(folder / "index", ignore_errors=True)
    (folder / "index").mkdir()
    begun = time.perf_counter()
    await asyncio.to_thread(_build, folder / "index", reference, different, servers)
    rate = servers.cvs / (time.perf_counter() - begun)
    opensearch_rate = await asyncio.to_thread(
        opensearch.load, _all(different, servers.cvs), reference, servers
    )
    postgres_rate = await postgres.load(_all(different, servers.cvs), reference, servers)
    wishes = _wishes(different, reference)
    rates = rate, postgres_rate, opensearch_rate
    return Built(servers.cvs, wishes, postgres.numbers, postgres.places, *rates)


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
    analysed = [reference.compounds.analysed(text) for text in texts]
    return {word for one in analysed for words in (one.stems, one.parts) for word in words.split()}


async def _race(name: str, queries: Sequence[Query], field: "Field", count: int) -> list[Row]:
    rates: dict[str, list[float]] = {"ours": [], "PostgreSQL": [], "OpenSearch": []}
    for number in range(ROUNDS):
        field.servers.say(f"P6 {name}: round {number + 1} of {ROUNDS}")
        snapshot = open_reader(field.folder).snapshot()
        snapshot.search(Query(enrolled_only=True, group_limit=1), FIRST)
        totals = []
        with _timed(rates["ours"], len(queries)):
            totals.append([snapshot.search(query, FIRST).total for query in queries])
        with _timed(rates["PostgreSQL"], len(queries)):
            totals.append([await field.postgres.search(query) for query in queries])
        field.opensearch.forget()
        with _timed(rates["OpenSearch"], len(queries)):
            totals.append([field.opensearch.search(query) for query in queries])
        if any(one != totals[0] for one in totals):
            raise AssertionError(f"{name}: {totals} are not the same")
    found = sum(totals[0]) / len(queries) / count
    named = f"P6 {name} ({found:.0%} found), searches/s"
    return [
        Row.against(f"{named}, against PostgreSQL", rates["ours"], rates["PostgreSQL"], GOALS[name]),
        Row.against(f"{named}, against OpenSearch", rates["ours"], rates["OpenSearch"], AGAINST_OPENSEARCH),
    ]


@contextmanager
def _timed(rates: list[float], count: int) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    rates.append(count / (time.perf_counter() - begun))


def _alone(field: "Field", built: Built, opensearch: OpenSearchServer) -> list[Row]:
    size = sum(path.stat().st_size for path in field.folder.iterdir()) / 1_000_000
    memory = int(subprocess.check_output([sys.executable, "-c", _READER, str(field.folder)]))  # noqa: S603
    assert opensearch.process is not None
    assert opensearch.process.pid is not None
    return [
        Row.alone(f"P6 MB of the index of {built.count:,} CVs", size),
        Row.alone("P6 MB of a process that searches it", memory),
        Row.alone("P6 MB of OpenSearch's index", field.opensearch.megabytes()),
        Row.alone("P6 MB of OpenSearch", megabytes(opensearch.process.pid)),
    ]


_READER = """
import os, sys
from pathlib import Path
from bench.measured import megabytes
from cv_search.port import Query
from cv_search.tantivy_engine import open_reader
snapshot = open_reader(Path(sys.argv[1])).snapshot()
snapshot.search(Query(), 20)
snapshot.search(Query(enrolled_only=True), 20)
print(megabytes(os.getpid()))
"""


@dataclass(frozen=True, slots=True)
class Field:
    """Where the three meet."""

    folder: Path
    postgres: PostgresPeer
    opensearch: OpenSearchPeer
    servers: Servers
