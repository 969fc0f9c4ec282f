"""What a commit says about itself, in a document of the index."""

from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from cv_search.opensearch_engine.mapping import FORMAT
from cv_search.port import IndexBroken

FORM: Final = f"opensearch {FORMAT}"
"""An index of another format is built anew."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A commit: how far the documents are, how many commits there were, and with what the index is made."""

    position: int
    generation: int
    digest: str
    """Of the reference data."""

    def source(self) -> dict[str, Any]:
        return {"kind": "checkpoint", "kept": {**asdict(self), "form": FORM}}

    @classmethod
    def read(cls, source: dict[str, Any]) -> Self:
        """Read it; raises IndexBroken where it is none, or the index is of another form."""
        try:
            found = dict(source["kept"])
            if found.pop("form") != FORM:
                raise IndexBroken
            return cls(**found)
        except (KeyError, TypeError) as error:
            raise IndexBroken from error


def position_of(source: dict[str, Any]) -> int:
    """Read how far an index is, of whatever form; raises IndexBroken where it does not say."""
    try:
        return int(source["kept"]["position"])
    except (KeyError, TypeError, ValueError) as error:
        raise IndexBroken from error
