"""Indexes of an OpenSearch cluster, shared by all instances of the service: an alias names the one that is searched."""

from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from cv_search.indexes import Place, ReferenceNow
from cv_search.opensearch_engine import OpenSearchEngine, open_engine
from cv_search.opensearch_engine.calling import Cluster
from cv_search.opensearch_engine.checkpoint import position_of
from cv_search.opensearch_engine.mapping import CHECKPOINT
from cv_search.port import EngineError

__all__ = ["ClusterIndexes"]

PREFIX: Final = "cv-search"


class ClusterIndexes:
    """The indexes of one database's documents carry its id in their names; those of others are left alone."""

    def __init__(self, cluster: Cluster, reference: ReferenceNow) -> None:
        self._cluster = cluster
        self._reference = reference

    @property
    def digest(self) -> str:
        return self._reference().digest

    def live(self, database: UUID) -> Place | None:
        found = self._cluster.ask("GET", f"/_alias/{_alias(database)}") or {}
        return Place(Path(max(found)), database) if found else None

    def is_there(self, place: Place) -> bool:
        return self._cluster.ask("HEAD", f"/{place.path.name}") is not None

    def position(self, place: Place) -> int | None:
        """Give the newest position that a search can see."""
        found = self._cluster.ask("GET", f"/{place.path.name}/_doc/{CHECKPOINT}", realtime="false")
        # Of another version's form too, which cannot be searched here: who is never ready could not take the writer's place.
        return position_of(found["_source"]) if found else None

    def begin(self, database: UUID) -> Place:
        live = self.live(database)
        for name in self._cluster.ask("GET", f"/{_alias(database)}-*") or {}:
            if live is None:
                # To search again matters more than what cannot be removed now.
                with suppress(EngineError):
                    self.remove(Place(Path(name), database))
            elif name != live.path.name:
                self.remove(Place(Path(name), database))
        return Place(Path(f"{_alias(database)}-{uuid4().hex}"), database)

    def open(self, place: Place) -> OpenSearchEngine:
        return open_engine(self._cluster, place.path.name, self._reference())

    def make_live(self, place: Place) -> None:
        alias = _alias(place.database)
        actions = [
            {"remove": {"index": f"{alias}-*", "alias": alias, "must_exist": False}},
            {"add": {"index": place.path.name, "alias": alias}},
        ]
        self._cluster.call("POST", "/_aliases", {"actions": actions})

    def remove(self, place: Place) -> None:
        self._cluster.ask("DELETE", f"/{place.path.name}")

    def close(self) -> None:
        self._cluster.close()


def _alias(database: UUID) -> str:
    return f"{PREFIX}-{database.hex}"
