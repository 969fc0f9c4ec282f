"""Moments of an index of OpenSearch: points in time, which the cluster keeps open."""

from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from cv_contracts.wire.search import GROUP_LIMIT_MAX
from cv_search.geo import distance_km
from cv_search.opensearch_engine.calling import Cluster, Json
from cv_search.opensearch_engine.checkpoint import Checkpoint
from cv_search.opensearch_engine.mapping import CHECKPOINT, VALUE_FIELDS
from cv_search.opensearch_engine.planning import CVS, order_of, query_of, text_alone
from cv_search.port import (
    BUDGET_SECONDS,
    GROUPS,
    Count,
    Dimension,
    EngineError,
    Found,
    Query,
    TooCostly,
)
from cv_search.recent import Recent
from cv_search.relaxing import Relaxed, relax
from cv_search.tantivy_engine.mapping import place_of

KEEP_ALIVE: Final = "1m"
"""Longer than any search takes. A process that is killed leaves its moment open for so long; a later search opens another."""
REMEMBERED: Final = 64
PLACES_MOST: Final = 65_000
Groups = Mapping[Dimension, tuple[Count, ...]]


class OpenSearchSnapshot:
    """A point in time. What was counted at it is remembered with it."""

    def __init__(self, cluster: Cluster, point: str, checkpoint: Checkpoint) -> None:
        self._cluster = cluster
        self._point: str | None = point
        self._checkpoint = checkpoint
        self._groups: Recent[Query, Groups] = Recent(REMEMBERED)
        self._texts: Recent[Query, Relaxed] = Recent(REMEMBERED)
        self._places: Recent[str, tuple[str, ...]] = Recent(1)

    @property
    def generation(self) -> int:
        return self._checkpoint.generation

    @property
    def position(self) -> int:
        return self._checkpoint.position

    def search(self, query: Query, first: int, budget: float = BUDGET_SECONDS) -> Found:
        end = monotonic() + budget
        total, ids = self._first(query, first, end)
        groups = self._groups.get(query, lambda: self._counted(query, end))
        return Found(total, ids, {one: counts[: query.group_limit] for one, counts in groups.items()})

    def count(self) -> int:
        return self._total(CVS, monotonic() + BUDGET_SECONDS)

    def release(self) -> None:
        point, self._point = self._point, None
        if point is not None:
            _let_go(self._cluster, point)

    def _first(self, query: Query, count: int, end: float) -> tuple[int, bytes]:
        wanted = {"size": count, "_source": False, "sort": order_of(query)}
        hits = self._ask({**wanted, "query": self._query(query, end)}, end)["hits"]
        return int(hits["total"]["value"]), b"".join(bytes.fromhex(found["_id"]) for found in hits["hits"])

    def _query(self, query: Query, end: float) -> Json:
        main = self._texts.get(
            query, lambda: relax(query.text, lambda one: self._total(text_alone(one), end) > 0)
        )
        return query_of(query, self._inside(query, end), main)

    def _counted(self, query: Query, end: float) -> Groups:
        order = [{"_count": "desc"}, {"_key": "asc"}]
        groups = {
            one.value: {"terms": {"field": VALUE_FIELDS[one], "size": GROUP_LIMIT_MAX, "order": order}}
            for one in GROUPS
        }
        answer = self._ask({"size": 0, "query": self._query(query, end), "aggs": groups}, end)
        return {
            one: tuple(
                Count(bucket["key"], bucket["doc_count"])
                for bucket in answer["aggregations"][one.value]["buckets"]
            )
            for one in GROUPS
        }

    def _inside(self, query: Query, end: float) -> dict[str, float]:
        """Give the places that lie in every circle."""
        found = {}
        for name in self._places.get("", lambda: self._all_places(end)) if query.circles else ():
            away = [distance_km(circle, *place_of(name)) for circle in query.circles]
            if all(one <= circle.radius_km for one, circle in zip(away, query.circles, strict=True)):
                found[name] = away[0]
        return found

    def _all_places(self, end: float) -> tuple[str, ...]:
        wanted = {"size": 0, "aggs": {"places": {"terms": {"field": "place", "size": PLACES_MOST}}}}
        buckets = self._ask(wanted, end)["aggregations"]["places"]["buckets"]
        return tuple(bucket["key"] for bucket in buckets)

    def _total(self, query: Json, end: float) -> int:
        return int(self._ask({"size": 0, "query": query}, end)["hits"]["total"]["value"])

    def _ask(self, body: Json, end: float) -> Json:
        if self._point is None:
            raise EngineError("released")
        left = end - monotonic()
        if left <= 0:
            raise TooCostly
        point = {"id": self._point, "keep_alive": KEEP_ALIVE}
        return self._cluster.call(
            "POST",
            "/_search",
            {**body, "pit": point, "track_total_hits": True},
            cancel_after_time_interval=f"{max(1, int(left * 1_000))}ms",
        )


class OpenSearchReader:
    """Reads one index of a cluster."""

    def __init__(self, cluster: Cluster, index: str) -> None:
        self._cluster = cluster
        self._index = index

    def snapshot(self) -> OpenSearchSnapshot:
        opened = self._cluster.call("POST", f"/{self._index}/_search/point_in_time", keep_alive=KEEP_ALIVE)
        point: str = opened["pit_id"]
        try:
            return OpenSearchSnapshot(self._cluster, point, self._checkpoint(point))
        except Exception:
            with suppress(EngineError):
                _let_go(self._cluster, point)
            raise

    def close(self) -> None:
        """Do nothing: the cluster is the caller's."""

    def _checkpoint(self, point: str) -> Checkpoint:
        body: dict[str, Any] = {
            "query": {"ids": {"values": [CHECKPOINT]}},
            "pit": {"id": point, "keep_alive": KEEP_ALIVE},
        }
        hits = self._cluster.call("POST", "/_search", body)["hits"]["hits"]
        if not hits:
            raise EngineError("nothing was committed")
        return Checkpoint.read(hits[0]["_source"])


def _let_go(cluster: Cluster, point: str) -> None:
    cluster.ask("DELETE", "/_search/point_in_time", {"pit_id": [point]})
