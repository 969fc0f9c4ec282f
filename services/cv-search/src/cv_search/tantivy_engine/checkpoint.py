"""What a commit says about itself, in a document of the index: so it is there if and only if the commit is."""

from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Final, Self

import orjson
from tantivy import Document, Query, Schema, Searcher

from cv_search.port import IndexBroken
from cv_search.tantivy_engine.fields import FORMAT, ID, KEPT, KIND, TAG, Kind, tag

CHECKPOINT_ID: Final = "checkpoint"
FORM: Final = f"{FORMAT} {version('tantivy')}"
"""An index of another format or engine is built anew."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A commit: how far the documents are, how many commits there were, and with what the index is made."""

    position: int
    generation: int
    digest: str
    """Of the reference data."""

    def document(self) -> Document:
        document = Document()
        document.add_text(ID, CHECKPOINT_ID)
        document.add_integer(TAG, tag(KIND, Kind.CHECKPOINT))
        document.add_bytes(KEPT, orjson.dumps({**asdict(self), "form": FORM}))
        return document

    @classmethod
    def read(cls, searcher: Searcher, schema: Schema) -> Self:
        """Read it; raises IndexBroken where there is not exactly one, or the index is of another form."""
        hits = searcher.search(Query.term_query(schema, TAG, tag(KIND, Kind.CHECKPOINT)), limit=2).hits
        if len(hits) != 1:
            raise IndexBroken
        try:
            found = orjson.loads(searcher.doc(hits[0][1]).get_first(KEPT) or b"")
            if found.pop("form") != FORM:
                raise IndexBroken
            return cls(**found)
        except (KeyError, TypeError, ValueError) as error:
            raise IndexBroken from error
