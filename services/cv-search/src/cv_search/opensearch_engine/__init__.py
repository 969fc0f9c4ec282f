"""The engine for more than one machine: an OpenSearch cluster that is reached over HTTP."""

from cv_search.opensearch_engine.engine import OpenSearchEngine, open_engine
from cv_search.opensearch_engine.reading import OpenSearchReader

__all__ = ["OpenSearchEngine", "OpenSearchReader", "open_engine"]
