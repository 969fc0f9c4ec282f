"""The writer: documents in, commits that hold their position."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

from tantivy import Index, IndexWriter

from cv_search.port import Document, EngineError, IndexBroken
from cv_search.reference import Reference
from cv_search.tantivy_engine.checkpoint import CHECKPOINT_ID, Checkpoint
from cv_search.tantivy_engine.fields import ID, schema
from cv_search.tantivy_engine.files import check
from cv_search.tantivy_engine.guarding import guarded
from cv_search.tantivy_engine.mapping import Rows
from cv_search.tantivy_engine.names import Names
from cv_search.tantivy_engine.reading import TantivyReader, open_reader

HEAP_BYTES: Final = 128_000_000
THREADS: Final = 1


class TantivyEngine:
    """The writer of one index. After an EngineError all since the last commit is lost: close it and open it again."""

    def __init__(self, folder: Path, index: Index, writer: IndexWriter, reference: Reference) -> None:
        self._folder = folder
        self._index = index
        self._writer: IndexWriter | None = writer
        self.digest = reference.digest
        self._names = Names()
        self._rows = Rows(self._names, reference, index.schema)
        self._last: Checkpoint | None = None

    def recall(self) -> None:
        """Read what the newest commit says; raises IndexBroken where it is of another form or other reference data."""
        searcher = self._index.searcher()
        try:
            last = Checkpoint.read(searcher, self._index.schema)
            if last.digest != self.digest:
                raise IndexBroken
            self._names.read(searcher, self._index.schema)
        except ValueError as error:
            # Tantivy's word for a field that another format does not have.
            raise IndexBroken from error
        self._last = last

    def position(self) -> int | None:
        return None if self._last is None else self._last.position

    def apply(self, upserts: Sequence[Document], deletes: Sequence[UUID]) -> None:
        writer = self._open_writer()
        with guarded():
            for cv_id in (*deletes, *(document.cv_id for document in upserts)):
                writer.delete_documents_by_term(ID, cv_id.hex)
            for document in {document.cv_id: document for document in upserts}.values():
                writer.add_document(self._rows.row(document))

    def append(self, documents: Sequence[Document]) -> None:
        writer = self._open_writer()
        with guarded():
            for document in documents:
                writer.add_document(self._rows.row(document))

    def commit(self, position: int) -> None:
        writer = self._open_writer()
        generation = 1 if self._last is None else self._last.generation + 1
        checkpoint = Checkpoint(position, generation, self.digest)
        with guarded():
            for name in self._names.take_new():
                writer.add_document(name)
            writer.delete_documents_by_term(ID, CHECKPOINT_ID)
            writer.add_document(checkpoint.document())
            writer.commit()
        self._last = checkpoint

    def reader(self) -> TantivyReader:
        return open_reader(self._folder)

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with guarded():
                writer.rollback()
                # Lets the merges end and the lock go.
                writer.wait_merging_threads()

    def _open_writer(self) -> IndexWriter:
        if self._writer is None:
            raise EngineError("closed")
        return self._writer


def open_engine(
    folder: Path, reference: Reference, heap_bytes: int = HEAP_BYTES, threads: int = THREADS
) -> TantivyEngine:
    """Open the index in a folder for writing, or begin one in an empty folder.

    Raises IndexBroken where it is torn, foreign or was never committed to, EngineError where another writes it.
    """
    begun = any(folder.iterdir())
    if begun:
        check(folder)
    with guarded():
        index = Index.open(str(folder)) if begun else Index(schema(), path=str(folder))
        index.config_reader("manual")
        writer = index.writer(heap_bytes, threads)
    engine = TantivyEngine(folder, index, writer, reference)
    if begun:
        try:
            engine.recall()
        except BaseException:
            engine.close()
            raise
    return engine
