"""Indexes in a cluster: what is left of older ones that it refuses to remove, and what others made with another program."""

from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from cv_contracts.codelists import default
from cv_search.cluster_indexes import ClusterIndexes
from cv_search.indexes import Place
from cv_search.opensearch_engine import OpenSearchReader
from cv_search.opensearch_engine.calling import Cluster
from cv_search.opensearch_engine.checkpoint import Checkpoint
from cv_search.port import EngineError, IndexBroken
from cv_search.reference import Reference

DATABASE = UUID(int=7)
NAME = f"cv-search-{DATABASE.hex}"
KEPT = {"position": 5, "generation": 1, "digest": ""}


class Refusing:
    """A cluster with two indexes, of which one may be live; it removes none."""

    def __init__(self, *live: str) -> None:
        self._live = live
        self.asked: list[str] = []

    def ask(self, method: str, path: str) -> dict[str, Any]:
        if method == "DELETE":
            self.asked.append(path)
            raise EngineError("snapshot_in_progress_exception")
        return dict.fromkeys(self._live if path.startswith("/_alias") else (f"{NAME}-a", f"{NAME}-b"))


def begun(cluster: Refusing) -> Place:
    indexes = ClusterIndexes(cast(Cluster, cast(Any, cluster)), lambda: Reference(default()))
    return indexes.begin(DATABASE)


def test_without_a_live_index_one_is_built_whatever_cannot_be_removed() -> None:
    cluster = Refusing()
    assert begun(cluster).path not in {Path(f"{NAME}-a"), Path(f"{NAME}-b")}
    assert cluster.asked == [f"/{NAME}-a", f"/{NAME}-b"]


def test_beside_a_live_index_none_is_built_while_older_ones_are_left() -> None:
    """Each build would leave one more, and what is erased lies in all of them."""
    cluster = Refusing(f"{NAME}-b")
    with pytest.raises(EngineError):
        begun(cluster)
    assert cluster.asked == [f"/{NAME}-a"]


class Holding:
    """A cluster with one index, whose checkpoint it shows, if there is one."""

    def __init__(self, checkpoint: dict[str, Any] | None) -> None:
        self._found = {"_source": checkpoint}
        self.moments: list[str] = []
        """Those that are open."""

    def ask(self, method: str, path: str, body: Any = None, **_: str) -> dict[str, Any]:
        return self.call(method, path, body)

    def call(self, method: str, path: str, body: Any = None, **_: str) -> dict[str, Any]:
        if path == "/_search":
            return {"hits": {"hits": [self._found] if self._found["_source"] else []}}
        if path == "/_search/point_in_time":
            self.moments = [moment for moment in self.moments if moment not in body["pit_id"]]
            raise EngineError("not told whether it was let go")
        if path.endswith("/_search/point_in_time"):
            self.moments.append("a moment")
            return {"pit_id": "a moment"}
        return self._found


def seen(checkpoint: dict[str, Any]) -> tuple[int | None, OpenSearchReader]:
    """Give what an instance that only watches sees of it: its position, and what searches it."""
    cluster = cast(Cluster, cast(Any, Holding(checkpoint)))
    indexes = ClusterIndexes(cluster, lambda: Reference(default()))
    return indexes.position(Place(Path(NAME), DATABASE)), OpenSearchReader(cluster, NAME)


def test_an_index_that_another_instance_made_with_other_code_lists_is_searched() -> None:
    position, reader = seen(Checkpoint(5, 1, "other code lists").source())
    assert position == reader.snapshot().position == 5


@pytest.mark.parametrize("form", ["another version", None])
def test_beside_an_index_of_another_version_that_it_cannot_search_an_instance_is_ready_to_take_over(
    form: str | None,
) -> None:
    """Pods are replaced one by one: the writer's leaves only when the next one is ready."""
    position, reader = seen({"kind": "checkpoint", "kept": {**KEPT, "form": form}})
    assert position == 5
    with pytest.raises(IndexBroken):
        reader.snapshot()


@pytest.mark.parametrize("checkpoint", [None, {"kind": "cv"}, {"kept": {**KEPT, "form": "another version"}}])
def test_a_moment_that_shows_no_whole_index_is_let_go_at_once(checkpoint: dict[str, Any] | None) -> None:
    cluster = Holding(checkpoint)
    reader = OpenSearchReader(cast(Cluster, cast(Any, cluster)), NAME)
    for _ in range(3):
        with pytest.raises(EngineError, match=r"^(nothing was committed)?$"):
            reader.snapshot()
    assert cluster.moments == []
