"""What is wrong with the feed, with citizens, with access rows and with contact data: told from what was read, asking nobody."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from tests.e2e.history import LogRecord, disordered

Values = Mapping[int, str]
"""Contact data by their type."""


def of_feed(told: Sequence[LogRecord], entries: Sequence[LogRecord]) -> Iterator[str]:
    """Compare what the log tells with the feed's entries of these events, whose offsets are their positions."""
    times = Counter(entry.event_id for entry in entries)
    by_id = {record.event_id: (record.key, record.version) for record in told}
    yield from (f"lost: {one} is not in the feed" for one in by_id if not times[one])
    yield from (f"doubled: {one} is in the feed several times" for one, n in times.items() if n > 1)
    for entry in entries:
        if by_id.get(entry.event_id) != (entry.key, entry.version):
            yield f"changed: {entry.event_id} is another subject or version in the feed"
    yield from disordered(entries)


@dataclass(frozen=True, slots=True)
class CitizenRow:
    """A citizen as the registry has it: the version of its events, and the newest one of its source."""

    person: UUID
    version: int
    source_version: int


def of_citizens(
    people: int,
    rows: Sequence[CitizenRow],
    applied: int,
    changes: Mapping[UUID, int],
    told: Sequence[LogRecord],
) -> Iterator[str]:
    """Judge so many who all moved: `applied` is the newest version acknowledged, `changes` how often each was changed."""
    if len(rows) != people:
        yield f"lost: of {people} citizens who moved {len(rows)} are there"
    versions: defaultdict[UUID, set[int]] = defaultdict(set)
    for record in told:
        versions[record.key].add(record.version)
    for row in rows:
        newest = max(versions[row.person], default=0)
        if row.source_version < applied:
            yield f"lost: {row.person} is at {row.source_version}, {applied} was acknowledged"
        if newest < row.version:
            yield f"unpublished: version {row.version} of {row.person} is not in the log"
        if newest > row.version:
            yield f"invented: the log tells of version {newest} of {row.person}, which is not there"
    for person, times in changes.items():
        if len(versions[person]) < times:
            yield f"lost: {person} was changed {times} times, and the log tells of {len(versions[person])}"
    yield from disordered(told)


def of_reads(answered: Collection[str], rows: Collection[str]) -> Iterator[str]:
    """Name the reads that were answered and left no access row; each has a user identifier of its own."""
    yield from (f"unseen: the read of {user} left no row" for user in sorted(set(answered) - set(rows)))


@dataclass(frozen=True, slots=True)
class ContactWrite:
    """Contact data of a person that were acknowledged: first sent at `begun`, with their receipt at `answered`."""

    person: UUID
    values: Values
    begun: float
    answered: float


def of_contact_data(
    writes: Iterable[ContactWrite], owned: Mapping[UUID, Values], shown: Mapping[UUID, Collection[str]]
) -> Iterator[str]:
    """Judge each person's present values, type by type: `owned` by contact-verification, and `shown` by GetCV.

    Only a write after which no other one began may be the last one.
    """
    of_type: defaultdict[tuple[UUID, int], list[ContactWrite]] = defaultdict(list)
    for write in writes:
        for kind in write.values:
            of_type[write.person, kind].append(write)
    for (person, kind), mine in of_type.items():
        last_begun = max(write.begun for write in mine)
        newest = {write.values[kind] for write in mine if write.answered >= last_begun}
        if owned.get(person, {}).get(kind) not in newest:
            yield f"lost: {person} has not the contact data of type {kind} that were acknowledged last"
    for person in sorted({person for person, _ in of_type}):
        if sorted(shown.get(person, ())) != sorted(owned.get(person, {}).values()):
            yield f"changed: {person} is shown other contact data than contact-verification has"
