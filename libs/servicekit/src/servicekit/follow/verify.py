"""Is a projection what its owner has? Ranges of ids are compared by digest, and only where they differ, id by id."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

import structlog

from servicekit.data.postgres import Database
from servicekit.follow.state_client import Digest, StateOwner
from servicekit.follow.state_routes import RANGES, RANGES_AT_ONCE, bounds, digests_sql
from servicekit.follow.states import Known

__all__ = ["Difference", "DifferenceKind", "NothingLive", "Verified", "verify"]

log = structlog.get_logger(__name__)

IN_FLIGHT = timedelta(seconds=2)
ASK_AT_MOST = 500
NAMED_AT_MOST = 1_000

_LIVE = "(select generation from projection_generations where projection = $3 and status = 'live')"
_DIGESTS = digests_sql(
    "projected_versions",
    "subject",
    "version",
    f"projection = $3 and generation = {_LIVE} and not erased",
)
_IN_RANGE = f"""
select subject, version from projected_versions
where subject >= $1 and ($2::uuid is null or subject < $2)
and projection = $3 and generation = {_LIVE} and not erased
"""
_OF = """
select v.subject, v.version from projected_versions v
join projection_generations g using (projection, generation)
where v.projection = $1 and g.status = 'live' and v.subject = any($2) and not v.erased
"""
_WAITING = "select subject from pending_subjects where projection = $1 and subject = any($2)"
_IS_LIVE = "select exists (select 1 from projection_generations where projection = $1 and status = 'live')"

DifferenceKind = Literal["missing", "extra", "older", "newer"]
"""What is the matter with ours: not there, there although the owner has none, or of another version than the owner's."""


class NothingLive(Exception):  # noqa: N818 - what is the matter
    """The projection was never built, so there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A subject that is not the same here and at the owner. `waits`: it has a pending row, so that is known already."""

    subject: UUID
    ours: int | None
    owners: int | None
    waits: bool

    @property
    def kind(self) -> DifferenceKind:
        if self.ours is None:
            return "missing"
        if self.owners is None:
            return "extra"
        return "older" if self.ours < self.owners else "newer"


@dataclass(frozen=True, slots=True)
class Verified:
    """How many subjects the owner has, and what differs: `total` differences, of which so many as fit are named."""

    compared: int
    total: int
    differences: Sequence[Difference]


async def verify(
    database: Database, projection: str, owner: StateOwner, in_flight: timedelta = IN_FLIGHT
) -> Verified:
    """Compare the live generation with its owner; raises NothingLive, and whatever the owner's absence raises.

    What differs is looked at again after `in_flight`, for a change may be on its way while it is compared.
    """
    if not await database.fetchval(_IS_LIVE, projection):
        raise NothingLive
    compared, suspects = 0, set[UUID]()
    for begin in range(0, RANGES, RANGES_AT_ONCE):
        theirs = await owner.ranges(begin, begin + RANGES_AT_ONCE - 1)
        compared += sum(digest.count for digest in theirs.values())
        ours = await _digests(database, projection, begin)
        for number in sorted(theirs.keys() | ours.keys()):
            if theirs.get(number) != ours.get(number):
                suspects |= await _differing(database, projection, owner, number)
    if not suspects:
        return Verified(compared, 0, ())
    await asyncio.sleep(in_flight.total_seconds())
    differences = await _still_differing(database, projection, owner, sorted(suspects))
    log.warning("projection_differs", stream=projection, count=len(differences), total=compared)
    return Verified(compared, len(differences), differences[:NAMED_AT_MOST])


async def _digests(database: Database, projection: str, begin: int) -> Mapping[int, Digest]:
    rows = await database.fetch(_DIGESTS, *bounds(begin, begin + RANGES_AT_ONCE - 1), projection)
    return {row["range"]: Digest(row["count"], row["digest"]) for row in rows}


async def _differing(database: Database, projection: str, owner: StateOwner, number: int) -> set[UUID]:
    theirs = await owner.versions(number)
    rows = await database.fetch(_IN_RANGE, *bounds(number, number), projection)
    ours = {row["subject"]: row["version"] for row in rows}
    return {s for s in theirs.keys() | ours.keys() if theirs.get(s) != ours.get(s)}


async def _still_differing(
    database: Database, projection: str, owner: StateOwner, subjects: Sequence[UUID]
) -> list[Difference]:
    found: list[Difference] = []
    for begin in range(0, len(subjects), ASK_AT_MOST):
        asked = subjects[begin : begin + ASK_AT_MOST]
        theirs = {s.subject: s.version for s in await owner.states(asked) if isinstance(s, Known)}
        ours = {row["subject"]: row["version"] for row in await database.fetch(_OF, projection, asked)}
        waiting = {row["subject"] for row in await database.fetch(_WAITING, projection, asked)}
        found += [
            Difference(s, ours.get(s), theirs.get(s), s in waiting)
            for s in asked
            if ours.get(s) != theirs.get(s)
        ]
    return found
