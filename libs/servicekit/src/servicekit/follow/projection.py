"""The whole declaration of a follower (topic, fetch, apply), and what a batch of its records asks for."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import asyncpg

from cv_contracts.topics import Topic
from servicekit.follow.records import Record
from servicekit.follow.state_client import StateOwner
from servicekit.follow.states import Erased, Known, SubjectState

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Connection = asyncpg.Connection

__all__ = [
    "Announced",
    "Applicable",
    "Apply",
    "Batch",
    "Connection",
    "Fetch",
    "PendingReason",
    "Position",
    "Projection",
    "Remove",
    "read_batch",
    "sorted_by_subject",
]

Applicable = Known | Erased
Fetch = Callable[[Sequence[UUID]], Awaitable[Sequence[SubjectState]]]
Apply = Callable[[Connection, int, Sequence[Applicable]], Awaitable[None]]
Remove = Callable[[Connection, int, Sequence[UUID]], Awaitable[None]]

PendingReason = Literal[
    "unreadable", "owner-unreachable", "owner-silent", "owner-unknown", "owner-older", "not-applied"
]
"""Why a subject waits: its record could not be read; the owner did not answer, left it out of the answer, does not know
it, answered an older version than the record named; or `apply` failed with its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """How one kind of state is followed.

    `fetch` asks the owner for at most 500 subjects. `apply` writes the given states, sorted by subject and each newer than
    what is there, into the given generation: one statement or two, no commit, no try. It may be called again for the
    same states after a rollback, and for single states when a batch of them failed.
    """

    name: str
    topic: Topic
    fetch: Fetch
    apply: Apply
    fetch_timeout: timedelta = timedelta(seconds=5)
    """For one answer of the owner; after it the subjects become pending rows."""
    pause: timedelta = timedelta(0)
    """Between two batches: a service that need not be quicker spares itself many small ones of a busy stream. It ends when a
    read waits for what is followed."""
    applied: Callable[[], None] | None = None
    """Called after a batch that was news is committed."""
    durable: bool = True
    """Whether what a batch wrote must outlive a crash of the database. Without, a crash may lose the newest batches, positions
    and effects alike, and they are read again: right where `apply` writes nothing but its own rows, and nobody keeps what was
    made of these elsewhere. Erasures are durable always."""
    owner: StateOwner | None = None
    """Where it is built from; without it somebody else must make a generation live."""
    remove: Remove | None = None
    """Deletes these subjects' rows of a generation that nobody reads any more; an erasure is not meant by it."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A version that a subject is known to have at its owner. `time` is when the event was made."""

    subject: UUID
    version: int
    partition: int | None = None
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """How far a partition was read, the time of the newest heartbeat among what was read, and whether records before it were gone."""

    next_offset: int
    heartbeat_at: datetime | None = None
    gap: bool = False


@dataclass(slots=True)
class Batch:
    """What a batch of records asks for: per subject the highest version, per partition the position after it."""

    announced: dict[UUID, Announced] = field(default_factory=dict)
    suspects: dict[UUID, Announced] = field(default_factory=dict)
    """Subjects named only by the keys of unreadable records, with version 0."""
    unreadable: list[Record] = field(default_factory=list)
    first_offsets: dict[int, int] = field(default_factory=dict)
    positions: dict[int, Position] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        heartbeat = record.event.time if record.event is not None and record.is_heartbeat else None
        self._move(record.partition, record.offset, heartbeat)
        if record.event is None:
            self._suspect(record)
        elif heartbeat is None:
            event = record.event
            self._announce(Announced(event.subject, event.version, record.partition, event.time))

    def _move(self, partition: int, offset: int, heartbeat: datetime | None) -> None:
        self.first_offsets.setdefault(partition, offset)
        before = self.positions.get(partition)
        times = [time for time in (heartbeat, before.heartbeat_at if before else None) if time is not None]
        self.positions[partition] = Position(offset + 1, max(times, default=None))

    def _suspect(self, record: Record) -> None:
        self.unreadable.append(record)
        if (subject := record.key_subject) is not None and subject.int != 0:
            self.suspects[subject] = Announced(subject, 0, record.partition)

    def _announce(self, new: Announced) -> None:
        known = self.announced.get(new.subject)
        if known is None or known.version < new.version:
            self.announced[new.subject] = new


def read_batch(records: Iterable[Record]) -> Batch:
    """Sort a batch of records, of any partitions, into what is to be done."""
    batch = Batch()
    for record in records:
        batch.add(record)
    return batch


def sorted_by_subject(states: Mapping[UUID, Applicable]) -> list[Applicable]:
    """Give the states in the one order in which rows are locked everywhere, so that transactions never wait in a ring."""
    return [states[subject] for subject in sorted(states)]
