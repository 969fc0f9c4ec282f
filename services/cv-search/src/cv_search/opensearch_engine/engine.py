"""The writer of an index of OpenSearch.

OpenSearch cannot keep the position and the documents in one step. So the documents are sent first and the position after
them: a crash between leaves documents that are applied again, which changes nothing. What was applied is held here until
the commit, and seen only when all of it is there. The position is the version of what is sent: a writer that was held up
while another took its place changes nothing that is newer.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from cv_search.opensearch_engine.calling import Cluster, Json
from cv_search.opensearch_engine.checkpoint import Checkpoint
from cv_search.opensearch_engine.mapping import CHECKPOINT, settings, source
from cv_search.opensearch_engine.reading import OpenSearchReader
from cv_search.port import Document, EngineError, IndexBroken
from cv_search.reference import Reference

CHUNK: Final = 1_000
HELD_MOST: Final = 20_000
"""Documents held; while an index is built anew, more are sent before the commit, for nobody reads it yet."""


class OpenSearchEngine:
    """Writes one index. Of two writers the one behind fails at its commit; who runs the service sees to it that there is one."""

    def __init__(
        self, cluster: Cluster, index: str, reference: Reference, last: Checkpoint | None = None
    ) -> None:
        self._cluster = cluster
        self._index = index
        self._reference = reference
        self.digest = reference.digest
        self._last = last
        self._held: dict[str, Json | None] = {}
        self._open = True

    def position(self) -> int | None:
        return None if self._last is None else self._last.position

    def apply(self, upserts: Sequence[Document], deletes: Sequence[UUID]) -> None:
        self._hold({cv_id.hex: None for cv_id in deletes})
        self._hold({document.cv_id.hex: source(document, self._reference) for document in upserts})

    def append(self, documents: Sequence[Document]) -> None:
        self.apply(documents, ())
        if self._last is None and len(self._held) >= HELD_MOST:
            self._send(0)

    def commit(self, position: int) -> None:
        self._demand_open()
        self._send(position)
        generation = 1 if self._last is None else self._last.generation + 1
        checkpoint = Checkpoint(position, generation, self.digest)
        if self._cluster.bulk(
            self._index, [{"index": _versioned(CHECKPOINT, position)}, checkpoint.source()]
        ):
            raise EngineError("another writer is ahead")
        self._cluster.call("POST", f"/{self._index}/_refresh")
        self._last = checkpoint

    def reader(self) -> OpenSearchReader:
        return OpenSearchReader(self._cluster, self._index)

    def close(self) -> None:
        self._open = False
        self._held.clear()

    def _hold(self, changes: dict[str, Json | None]) -> None:
        self._demand_open()
        self._held.update(changes)

    def _send(self, position: int) -> None:
        held = list(self._held.items())
        for begin in range(0, len(held), CHUNK):
            lines: list[Json] = []
            for name, row in held[begin : begin + CHUNK]:
                target = _versioned(name, position)
                lines += [{"delete": target}] if row is None else [{"index": target}, row]
            self._cluster.bulk(self._index, lines)
        self._held.clear()

    def _demand_open(self) -> None:
        if not self._open:
            raise EngineError("closed")


def _versioned(name: str, position: int) -> Json:
    return {"_id": name, "version": position, "version_type": "external_gte"}


def open_engine(cluster: Cluster, index: str, reference: Reference) -> OpenSearchEngine:
    """Open an index of a cluster for writing, or begin it where there is none.

    Raises IndexBroken where it is foreign or was never committed to.
    """
    if cluster.ask("GET", f"/{index}") is None:
        cluster.call("PUT", f"/{index}", settings())
        return OpenSearchEngine(cluster, index, reference)
    found = cluster.ask("GET", f"/{index}/_doc/{CHECKPOINT}")
    last = Checkpoint.read(found["_source"]) if found else None
    if last is None or last.digest != reference.digest:
        raise IndexBroken
    return OpenSearchEngine(cluster, index, reference, last)
