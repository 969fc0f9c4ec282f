"""Judges a history: what callers were promised, what the database holds, and what the log tells must be one story."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A write that was answered with a receipt; `marker` is a text that only this write's content holds.

    It was sent first at `begun` and had its receipt at `answered`, in seconds of one clock.
    """

    event_id: UUID
    key: UUID
    version: int
    marker: str
    begun: float = 0.0
    answered: float = 0.0


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision in the owner's database."""

    key: UUID
    version: int
    marker: str | None = None


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A record as a consumer reads it, in the order of its partition."""

    partition: int
    offset: int
    event_id: UUID
    key: UUID
    version: int
    trace: str | None = None
    """The id of the trace of the call that made it."""


@dataclass(frozen=True, slots=True)
class History:
    """All that is known of one stretch of time, once nothing is under way any more.

    `forgotten` are versions, per key, that were there before an older back-up was restored.
    """

    acknowledged: Sequence[Acknowledged]
    revisions: Collection[Revision]
    records: Sequence[LogRecord]
    forgotten: frozenset[tuple[UUID, int]] = frozenset()

    def violations(self) -> list[str]:
        """Give every way in which the three do not agree; an empty list is a good history."""
        return [*self._lost(), *self._unpublished(), *self._doubled(), *disordered(self.records)]

    def _lost(self) -> Iterator[str]:
        kept = {(revision.key, revision.version) for revision in self.revisions} | self.forgotten
        told = {record.event_id: record for record in self.records}
        for write in self.acknowledged:
            if (write.key, write.version) not in kept:
                yield f"lost: acknowledged {write.event_id} has no revision {write.version}"
            record = told.get(write.event_id)
            if record is None:
                yield f"lost: acknowledged {write.event_id} is not in the log"
            elif (record.key, record.version) != (write.key, write.version):
                yield f"changed: {write.event_id} is another key or version in the log"

    def _unpublished(self) -> Iterator[str]:
        revisions = {(revision.key, revision.version) for revision in self.revisions}
        told = {(record.key, record.version) for record in self.records}
        for key, version in revisions - told:
            yield f"unpublished: revision {version} of {key} is not in the log"
        for key, version in told - revisions - self.forgotten:
            yield f"invented: the log tells of version {version} of {key}, which never was"

    def _doubled(self) -> Iterator[str]:
        markers = Counter(revision.marker for revision in self.revisions if revision.marker is not None)
        yield from (f"doubled: {marker} was applied {n} times" for marker, n in markers.items() if n > 1)
        events: defaultdict[tuple[UUID, int], set[UUID]] = defaultdict(set)
        versions: defaultdict[UUID, set[tuple[UUID, int]]] = defaultdict(set)
        for record in self.records:
            events[record.key, record.version].add(record.event_id)
            versions[record.event_id].add((record.key, record.version))
        yield from _several(events.items(), "doubled: one version is told under several event ids")
        yield from _several(versions.items(), "doubled: one event id is told of several versions")


def disordered(records: Iterable[LogRecord]) -> Iterator[str]:
    """Give every place where the events of a key change their order, or their partition; repeats are none."""
    newest: dict[UUID, int] = {}
    partitions: dict[UUID, int] = {}
    seen: set[UUID] = set()
    for record in sorted(records, key=lambda record: (record.partition, record.offset)):
        if partitions.setdefault(record.key, record.partition) != record.partition:
            yield f"scattered: {record.key} lies in several partitions"
        if record.event_id not in seen and record.version <= newest.get(record.key, 0):
            yield f"disordered: {record.key} goes back to {record.version} at offset {record.offset}"
        newest[record.key] = max(record.version, newest.get(record.key, 0))
        seen.add(record.event_id)


def _several(found: Iterable[tuple[object, set[UUID] | set[tuple[UUID, int]]]], what: str) -> Iterator[str]:
    return (f"{what}: {key}" for key, values in found if len(values) > 1)
