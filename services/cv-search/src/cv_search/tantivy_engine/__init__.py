"""The embedded engine: one writer, any number of readers on the same files."""

from cv_search.tantivy_engine.reading import TantivyReader, open_reader
from cv_search.tantivy_engine.writing import TantivyEngine, open_engine

__all__ = ["TantivyEngine", "TantivyReader", "open_engine", "open_reader"]
