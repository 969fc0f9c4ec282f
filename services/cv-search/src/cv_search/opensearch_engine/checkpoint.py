"""What a commit says about itself, in a document of the index."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Self

from cv_search.opensearch_engine.mapping import FORMAT
from cv_search.port import IndexBroken


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A commit: how far the documents are, how many commits there were, and of what form the index is."""

    position: int
    generation: int
    form: str

    def source(self) -> dict[str, Any]:
        return {"kind": "checkpoint", "kept": asdict(self)}

    @classmethod
    def read(cls, source: dict[str, Any]) -> Self:
        """Read it; raises IndexBroken where it is none."""
        try:
            return cls(**source["kept"])
        except (KeyError, TypeError) as error:
            raise IndexBroken from error


def form(digest: str) -> str:
    """Name the form of an index: of another format or other reference data it has to be built anew."""
    return hashlib.sha256(f"opensearch {FORMAT} {digest}".encode()).hexdigest()
