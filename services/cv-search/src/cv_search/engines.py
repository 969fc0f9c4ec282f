"""Which engine a process searches with: tantivy, embedded, or where a cluster is named, OpenSearch."""

from collections.abc import Callable
from pathlib import Path

from cv_search.port import Reader
from cv_search.tantivy_engine import open_reader

__all__ = ["ReaderFactory", "reader_factory"]

ReaderFactory = Callable[[Path], Reader]
"""Opens an index for reading; raises EngineError where there is none."""


def reader_factory(opensearch_url: str | None, ca_file: str | None) -> ReaderFactory:
    """Give what opens an index for reading."""
    if opensearch_url is None:
        return open_reader
    # Its HTTP client takes half a second to load and some 20 MB, which a process on tantivy does without.
    from cv_search.opensearch_engine import OpenSearchReader  # noqa: PLC0415
    from cv_search.opensearch_engine.calling import Cluster  # noqa: PLC0415

    cluster = Cluster(opensearch_url, None if ca_file is None else Path(ca_file))
    return lambda path: OpenSearchReader(cluster, path.name)
