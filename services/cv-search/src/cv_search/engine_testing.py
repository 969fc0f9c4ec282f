"""For the tests that hold for every engine: indexes of one kind, made where a test may have them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cv_search.opensearch_engine import open_engine as open_in_cluster
from cv_search.opensearch_engine.calling import Cluster
from cv_search.port import Engine
from cv_search.reference import Reference
from cv_search.tantivy_engine import open_engine

__all__ = ["OpenOne", "opensearch_at", "tantivy_in"]

OpenOne = Callable[[str], Engine]
"""Opens the index of that name for writing, or begins it."""


def tantivy_in(folder: Path, reference: Reference) -> OpenOne:
    """Open tantivy's indexes below a folder."""

    def open_one(name: str) -> Engine:
        place = folder / name
        place.mkdir(exist_ok=True)
        return open_engine(place, reference)

    return open_one


@contextmanager
def opensearch_at(url: str, prefix: str, reference: Reference) -> Iterator[OpenOne]:
    """Open indexes of a cluster whose names begin alike."""
    cluster = Cluster(url)
    yield lambda name: open_in_cluster(cluster, f"{prefix}-{name}", reference)
    cluster.close()
