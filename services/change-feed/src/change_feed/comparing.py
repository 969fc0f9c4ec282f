"""Does the feed have what the log and the owners have? Compared from the outside in: nothing of the feed's own is taken on trust."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from change_feed.citizens import in_turns
from change_feed.log import Log
from cv_contracts.faults import Unavailable
from cv_contracts.topics import is_public
from servicekit.data.postgres import Database
from servicekit.follow.records import Record
from servicekit.follow.state_client import Digest, StateOwner
from servicekit.follow.state_routes import RANGES, RANGES_AT_ONCE, bounds, digests_sql
from servicekit.follow.states import Erased
from servicekit.settings import KafkaSettings

__all__ = ["Difference", "LogCompared", "OwnersCompared", "compare_log", "compare_owners"]

NAMED_AT_MOST: Final = 1_000
READ_AT_ONCE: Final = 5_000
READS_WITHOUT_ANY: Final = 40


@dataclass(frozen=True, slots=True)
class _Versions:
    """Which versions of the feed's are compared with an owner's."""

    key: str
    version: str
    condition: str

    @property
    def digests(self) -> str:
        return digests_sql("cvs", self.key, self.version, self.condition)

    @property
    def of_a_range(self) -> str:
        return (
            f"select {self.key} as subject, {self.version} as version from cvs"
            f" where {self.key} >= $1 and ($2::uuid is null or {self.key} < $2) and {self.condition}"
        )


_CVS: Final = _Versions("cv_id", "newest_version", "newest_version is not null and not erased")
_CITIZENS: Final = _Versions("person_id", "citizen_version", "not erased")
_POSITIONS: Final = "select topic, partition, next_offset from log_positions order by topic, partition"
_READ: Final = "select begun_at, next_offset from log_positions where topic = $1 and partition = $2"
_SEEN: Final = "select event_id from seen_events where event_id = any($1::uuid[])"
_UNREADABLE: Final = """
select topic, partition, "offset" from unreadable_records where projection = 'feed' and topic = $1 and partition = $2
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """A subject whose version in the feed is not the owner's; None: not there at all."""

    subject: UUID
    ours: int | None
    owners: int | None


_Name = Callable[[StateOwner, int, Mapping[UUID, int]], Awaitable[list[Difference]]]
"""Names what differs in a range, by the owner and by the versions that the feed has in it."""


@dataclass(frozen=True, slots=True)
class OwnersCompared:
    """How many CVs the owner has, and which differ by their newest change; one that is on its way is among them.

    `lost` are citizens whom the feed has placed by a version that the owner does not have any more; whom it has erased is not lost.
    """

    compared: int
    differences: Sequence[Difference]
    lost: Sequence[Difference]


@dataclass(frozen=True, slots=True)
class LogCompared:
    """How many public records of a partition were looked at, which are missing in the feed, and where to go on."""

    compared: int
    missing: Sequence[str]
    following: int | None


async def compare_owners(database: Database, cvs: StateOwner, citizens: StateOwner) -> OwnersCompared:
    """Compare the newest version of each CV with its owner's, and that by which each citizen was placed, by ranges of ids first."""
    compared, differences = await _compared(database, cvs, _CVS, _differing)
    _, lost = await _compared(database, citizens, _CITIZENS, _lost)
    return OwnersCompared(compared, differences, lost)


async def _compared(
    database: Database, owner: StateOwner, versions: _Versions, name: _Name
) -> tuple[int, list[Difference]]:
    """Give how many the owner has, and those that are to be named, `NAMED_AT_MOST` of them: no more than a range is held at once."""
    compared, named = 0, list[Difference]()
    for begin in range(0, RANGES, RANGES_AT_ONCE):
        last = begin + RANGES_AT_ONCE - 1
        theirs = await owner.ranges(begin, last)
        rows = await database.fetch(versions.digests, *bounds(begin, last))
        ours = {row["range"]: Digest(row["count"], row["digest"]) for row in rows}
        compared += sum(digest.count for digest in theirs.values())
        for number in sorted(theirs.keys() | ours.keys()):
            if len(named) < NAMED_AT_MOST and theirs.get(number) != ours.get(number):
                # Ours first: what the owner makes meanwhile is none that it has lost.
                rows = await database.fetch(versions.of_a_range, *bounds(number, number))
                named += await name(owner, number, {row["subject"]: row["version"] for row in rows})
    return compared, named[:NAMED_AT_MOST]


async def _differing(owner: StateOwner, number: int, ours: Mapping[UUID, int]) -> list[Difference]:
    theirs = await owner.versions(number)
    return [
        Difference(subject, ours.get(subject), theirs.get(subject))
        for subject in sorted(theirs.keys() | ours.keys())
        if theirs.get(subject) != ours.get(subject)
    ]


async def _lost(owner: StateOwner, number: int, ours: Mapping[UUID, int]) -> list[Difference]:
    """Name those whom the owner has in an older version or not at all, but not those whom it has erased.

    What the feed was not told of a citizen is no difference: it asks when it has to place them.
    """
    theirs = await owner.versions(number) if ours else {}
    older = [subject for subject in sorted(ours) if ours[subject] > theirs.get(subject, 0)]
    states = await in_turns(owner.states, [subject for subject in older if subject not in theirs])
    erased = {state.subject for state in states if isinstance(state, Erased)}
    return [
        Difference(subject, ours[subject], theirs.get(subject)) for subject in older if subject not in erased
    ]


async def partitions(database: Database) -> list[dict[str, Any]]:
    """Give the partitions that the feed reads, and how far it is in each."""
    return [dict(row) for row in await database.fetch(_POSITIONS)]


async def compare_log(
    database: Database, kafka: KafkaSettings, topic: str, partition: int, begin: int
) -> LogCompared:
    """Compare some records of one partition, from `begin` on and up to where the feed is, with the feed.

    What the partition had before the feed began with it is looked at by nobody: the owners were asked instead.
    """
    read = await database.fetchrow(_READ, topic, partition)
    begun, until = (0, 0) if read is None else (read["begun_at"], read["next_offset"])
    begin = max(begin, begun)
    if begin >= until:
        return LogCompared(0, (), None)
    log = Log(kafka, READ_AT_ONCE, only=(topic, partition))
    try:
        await log.start()
        first = max(begin, (await log.first())[topic, partition])
        if first >= until:
            return LogCompared(0, (), None)
        log.seek({(topic, partition): first})
        records = [record for record in await _some(log) if record.offset < until]
    finally:
        await log.stop()
    if not records:
        return LogCompared(0, (), None)
    following = records[-1].offset + 1
    missing = await _missing(database, topic, partition, records)
    compared = sum(1 for record in records if _is_public(record))
    return LogCompared(compared, missing[:NAMED_AT_MOST], following if following < until else None)


async def _some(log: Log) -> list[Record]:
    """Read until there is something, for there must be: a broker that answers slowly is not the end of its log."""
    for _ in range(READS_WITHOUT_ANY):
        records = await log.read()
        if records:
            return records
    raise Unavailable(retry_after=1)


async def _missing(database: Database, topic: str, partition: int, records: Sequence[Record]) -> list[str]:
    """Give the event ids, or the offsets of what cannot be read, of which the feed knows nothing."""
    events = {record.event.id for record in records if record.event is not None and _is_public(record)}
    seen = {row["event_id"] for row in await database.fetch(_SEEN, list(events))}
    kept = {row["offset"] for row in await database.fetch(_UNREADABLE, topic, partition)}
    lost = [f"offset {r.offset}" for r in records if r.event is None and r.offset not in kept]
    return [*map(str, sorted(events - seen)), *lost]


def _is_public(record: Record) -> bool:
    return record.event is not None and is_public(type(record.event))
