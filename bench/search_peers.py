"""P6's peers: the same documents and searches in PostgreSQL and in OpenSearch, each as fast as it was found to be."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from bench.measured import Servers
from cv_search.geo import distance_km
from cv_search.opensearch_engine import open_engine
from cv_search.opensearch_engine.calling import Cluster
from cv_search.opensearch_engine.mapping import VALUE_FIELDS
from cv_search.opensearch_engine.planning import order_of, query_of
from cv_search.port import GROUPS, Document, Query
from cv_search.reference import Reference
from cv_search.relaxing import Relaxed
from cv_search.tantivy_engine.mapping import place_name

BATCH: Final = 2_000
FIRST: Final = 20
INDEX: Final = "p6"


@dataclass(slots=True)
class PostgresPeer:
    """A table with an index for each condition."""

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


@dataclass(slots=True)
class OpenSearchPeer:
    """An index of one shard, as cv-search makes it, which one thread searches; hits and groups in one request."""

    cluster: Cluster
    places: dict[int, tuple[float, float]]

    def load(self, documents: Iterator[Document], reference: Reference, servers: Servers) -> float:
        """Load all; gives CVs per second."""
        self.cluster.ask("DELETE", f"/{INDEX}")
        engine = open_engine(self.cluster, INDEX, reference)
        begun, count, batch = time.perf_counter(), 0, list[Document]()
        for count, document in enumerate(documents, 1):
            batch.append(document)
            if len(batch) == BATCH:
                engine.append(batch)
                batch.clear()
                servers.say(f"P6 loads OpenSearch: {count:,}")
        engine.append(batch)
        engine.commit(1)
        return count / (time.perf_counter() - begun)

    def warm(self, queries: Iterable[Query]) -> None:
        """Let Java compile what it is going to run."""
        one_thread = {"search.concurrent_segment_search.mode": "none"}
        self.cluster.call("PUT", "/_cluster/settings", {"transient": one_thread})
        for query in queries:
            self.search(query)

    def forget(self) -> None:
        """Forget results and filters, as a new reader has none."""
        self.cluster.call("POST", f"/{INDEX}/_cache/clear", request="true", query="true")

    def search(self, query: Query) -> int:
        exact = Relaxed(tuple((clause, 0) for clause in query.text), len(query.text))
        groups = {
            one.value: {"terms": {"field": VALUE_FIELDS[one], "size": query.group_limit}} for one in GROUPS
        }
        asked = {
            "query": query_of(query, self._inside(query), exact),
            "sort": order_of(query),
            "size": FIRST,
            "_source": False,
            "track_total_hits": True,
            "aggs": groups,
        }
        answer = self.cluster.call("POST", f"/{INDEX}/_search", asked, request_cache="false")
        return int(answer["hits"]["total"]["value"])

    def megabytes(self) -> float:
        """Give the size of the index."""
        stats: dict[str, Any] = self.cluster.call("GET", f"/{INDEX}/_stats/store")
        return float(stats["_all"]["total"]["store"]["size_in_bytes"]) / 1_000_000

    def _inside(self, query: Query) -> dict[str, float]:
        return {
            place_name(*place): distance_km(query.circles[0], *place)
            for place in self.places.values()
            if query.circles and distance_km(query.circles[0], *place) <= query.circles[0].radius_km
        }


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
            analysed = reference.compounds.analysed(text)
            for words_of, letter in ((analysed.stems, weight), (analysed.parts, "D")):
                for word in words_of.split():
                    at = min(at + 1, 16_383)
                    places.setdefault(word, []).append(f"{at}{letter}")
    return " ".join(f"'{word}':{','.join(found[:200])}" for word, found in places.items())


SETTINGS = "set jit = off; set work_mem = '256MB'; set maintenance_work_mem = '512MB'; set max_parallel_workers_per_gather = 0;"
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
