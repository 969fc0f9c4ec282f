"""What is left of older indexes in a cluster that refuses to remove them."""

from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from cv_contracts.codelists import default
from cv_search.cluster_indexes import ClusterIndexes
from cv_search.indexes import Place
from cv_search.opensearch_engine.calling import Cluster
from cv_search.port import EngineError
from cv_search.reference import Reference

DATABASE = UUID(int=7)
NAME = f"cv-search-{DATABASE.hex}"


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
