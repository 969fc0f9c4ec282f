"""What a commit says about itself, in a document of the index: so it is there if and only if the commit is."""

import hashlib
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Final, Self

import orjson
from tantivy import Document, Query, Schema, Searcher

from cv_search.port import IndexBroken
from cv_search.tantivy_engine.fields import FORMAT, ID, KEPT, KIND, TAG, Kind, tag

CHECKPOINT_ID: Final = "checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A commit: how far the documents are, how many commits there were, and of what form the index is."""

    position: int
    generation: int
    form: str

    def document(self) -> Document:
        document = Document()
        document.add_text(ID, CHECKPOINT_ID)
        document.add_integer(TAG, tag(KIND, Kind.CHECKPOINT))
        document.add_bytes(KEPT, orjson.dumps(asdict(self)))
        return document

    @classmethod
    def read(cls, searcher: Searcher, schema: Schema) -> Self:
        """Read it; raises IndexBroken where there is not exactly one."""
        hits = searcher.search(Query.term_query(schema, TAG, tag(KIND, Kind.CHECKPOINT)), limit=2).hits
        if len(hits) != 1:
            raise IndexBroken
        try:
            return cls(**orjson.loads(searcher.doc(hits[0][1]).get_first(KEPT) or b""))
        except (TypeError, ValueError) as error:
            raise IndexBroken from error


def form(digest: str) -> str:
    """Name the form of an index: of another format, engine or reference data it has to be built anew."""
    return hashlib.sha256(f"{FORMAT} {version('tantivy')} {digest}".encode()).hexdigest()
