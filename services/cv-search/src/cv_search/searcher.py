"""What a process that searches is asked and answers, and the index that it keeps open."""

import pickle
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cv_search.engines import ReaderFactory
from cv_search.port import EngineError, Query, Reader, Snapshot, TooCostly
from cv_search.showing import groups_json
from servicekit.worker_process import WORKED

__all__ = ["BEHIND", "CLUSTER", "CLUSTER_CA", "COSTLY", "GONE", "Answered", "Asked", "Searcher"]

CLUSTER: Final = "INDEX__OPENSEARCH_URL"
"""The variable of a reading process's environment that names the cluster, if there is one."""
CLUSTER_CA: Final = "INDEX__OPENSEARCH_CA_FILE"
"""The one that names the certificates trusted for it, if they are not those of the machine."""
COSTLY: Final = b"c"
GONE: Final = b"g"
BEHIND: Final = b"b"
"""Kinds of answers that hold no result: over its budget; no index there; the index does not hold the position asked for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One search: in which index, on which position at least, and how many persons to name."""

    path: Path
    position: int
    query: Query = field(repr=False)
    persons: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The result: its number, its groups as JSON, the ids of its first CVs, and the position that it is the result at.

    The hundreds of counts are JSON already: passing them on as objects takes ten times as long.
    """

    total: int
    groups: bytes
    ids: bytes
    position: int


class Searcher:
    """Keeps one index open, at its newest moment that was asked for."""

    def __init__(self, open_reader: ReaderFactory, budget: float) -> None:
        self._open = open_reader
        self._budget = budget
        self._path: Path | None = None
        self._reader: Reader | None = None
        self._snapshot: Snapshot | None = None

    def work(self, frame: bytes) -> tuple[bytes, bytes]:
        """Search as a frame says."""
        asked: Asked = pickle.loads(frame)  # noqa: S301 - from the process that started this one
        held = self._snapshot is not None
        kind, answer = self._worked(asked)
        # A cluster lets a moment go that nobody has searched for long.
        return self._worked(asked) if held and kind == GONE else (kind, answer)

    def _worked(self, asked: Asked) -> tuple[bytes, bytes]:
        try:
            snapshot = self._at(asked)
            if snapshot.position < asked.position:
                return BEHIND, b""
            return WORKED, pickle.dumps(self._search(snapshot, asked), pickle.HIGHEST_PROTOCOL)
        except TooCostly:
            return COSTLY, b""
        except (EngineError, OSError):
            self._close()
            return GONE, b""

    def _search(self, snapshot: Snapshot, asked: Asked) -> Answered:
        found = snapshot.search(asked.query, asked.persons, self._budget)
        return Answered(found.total, groups_json(found.groups), found.ids, snapshot.position)

    def _at(self, asked: Asked) -> Snapshot:
        if self._reader is None or asked.path != self._path:
            self._close()
            self._path, self._reader = asked.path, self._open(asked.path)
        if self._snapshot is None or self._snapshot.position < asked.position:
            old, self._snapshot = self._snapshot, self._reader.snapshot()
            if old is not None:
                old.release()
        return self._snapshot

    def _close(self) -> None:
        reader, snapshot = self._reader, self._snapshot
        self._path = self._reader = self._snapshot = None
        with suppress(EngineError, OSError):
            if snapshot is not None:
                snapshot.release()
            if reader is not None:
                reader.close()
