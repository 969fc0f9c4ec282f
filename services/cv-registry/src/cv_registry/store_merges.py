"""SQL of mergers: a person closed in favour of another, and citizens whose relations move to another municipality."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID, uuid4

import orjson

from cv_contracts.events.cv_registry import AsylumTransitionSet, CitizenChanged, CVChanged
from cv_contracts.ids import CvId, PersonId
from cv_registry.merged_states import State
from servicekit.data.postgres import Database, WriteTx
from servicekit.publish.outbox import Outbox

_PERSONS: Final = """
SELECT c.person_number, c.person_id, c.cv_id, c.version, c.state::text AS state, v.version AS cv_version, v.state AS cv_state,
       m.survivor_id
FROM citizens c LEFT JOIN cvs v USING (cv_id) LEFT JOIN merged_persons m USING (person_id)
WHERE c.person_number = ANY($1)
"""
_RETIRE_NUMBER: Final = """
INSERT INTO retired_cv_numbers (cv_number, cv_id, retired_at)
SELECT cv_number, cv_id, $2 FROM citizens WHERE person_id = $1 AND cv_number IS NOT NULL
ON CONFLICT (cv_number) DO NOTHING
"""
_CHANGE: Final = """
UPDATE citizens c SET version = n.version, state = n.state, changed_at = $4, changed_here = true,
    cv_number = n.state ->> 'cvNumber'
FROM unnest($1::uuid[], $2::bigint[], $3::json[]) AS n(person_id, version, state) WHERE c.person_id = n.person_id
"""
_MERGED: Final = "INSERT INTO merged_persons VALUES ($1, $2, $3, $4, $5)"
# The surviving person gets a CV of its own, with the content that the other's CV has now.
_TAKE_OVER: Final = """
WITH content AS (
    SELECT r.content FROM cvs v JOIN cv_revisions r ON r.cv_id = v.cv_id AND r.version = v.revision WHERE v.cv_id = $1
), revision AS (
    INSERT INTO cv_revisions (cv_id, version, revised_at, content) SELECT $2, $3, $4, content FROM content
)
INSERT INTO cvs (cv_id, version, state, revision, revised_at) SELECT $2, $3, $5, $3, $4 FROM content
"""
# So does one whose own asylum dates have passed on the day $5, or who has none, get those that count for the other, if they
# have not. What RETURNING asks for is as it was before.
_TAKE_OVER_DATES: Final = """
WITH newest AS (
    SELECT DISTINCT ON (person_id) * FROM asylum_transitions WHERE person_id IN ($1, $2) ORDER BY person_id, version DESC
)
INSERT INTO asylum_transitions (person_id, version, transition_date, edit_end_date, correction_comment, set_at)
SELECT $2, greatest($3, own.version + 1), other.transition_date, other.edit_end_date, other.correction_comment, $4
FROM newest other LEFT JOIN newest own ON own.person_id = $2
WHERE other.person_id = $1 AND other.edit_end_date >= $5 AND (own.version IS NULL OR own.edit_end_date < $5)
RETURNING version, EXISTS (SELECT FROM asylum_transitions WHERE person_id = $2) AS had_some
"""
_MERGED_INTO: Final = "SELECT person_id FROM merged_persons WHERE survivor_id = $1 ORDER BY merged_at"

# One page of all citizens by key order; `concerned` are those in whose relations a code begins with the municipality's digits.
_PAGE: Final = """
SELECT person_id, person_number,
       state::text LIKE '%organisationCode":"' || $2 || '%' OR state::text LIKE '%referredByCode":"' || $2 || '%' AS concerned
FROM citizens WHERE person_id > $1 ORDER BY person_id LIMIT $3
"""


@dataclass(frozen=True, slots=True)
class Person:
    """A citizen as a merger sees one."""

    person_number: str
    person_id: PersonId
    cv_id: CvId
    version: int
    state: State
    cv_version: int | None
    cv_state: str | None
    survivor_id: UUID | None
    """Into whom the person was merged before."""


class MergeStore:
    """Reads and writes mergers, in write transactions that hold the locks of all persons concerned."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self.database = database
        self._outbox = outbox

    async def persons(self, tx: WriteTx, person_numbers: Sequence[str]) -> dict[str, Person]:
        rows = await tx.conn.fetch(_PERSONS, person_numbers)
        return {row["person_number"]: Person(**{**row, "state": orjson.loads(row["state"])}) for row in rows}

    async def change(self, tx: WriteTx, changes: Sequence[tuple[Person, State]]) -> None:
        """Give persons new states, and publish each."""
        versions = [tx.version_after(person.version) for person, _ in changes]
        ids = [person.person_id for person, _ in changes]
        await tx.conn.execute(_CHANGE, ids, versions, [orjson.dumps(s).decode() for _, s in changes], tx.now)
        events = [
            CitizenChanged(id=uuid4(), subject=person, version=version, time=tx.now, change="changed")
            for person, version in zip(ids, versions, strict=True)
        ]
        await self._outbox.add(tx, *events)

    async def close(self, tx: WriteTx, merged: Person, survivor: Person, reason: str, by: str) -> None:
        """Remember the merger, and take the CV number away for good."""
        await tx.conn.execute(_RETIRE_NUMBER, merged.person_id, tx.now)
        await tx.conn.execute(_MERGED, merged.person_id, survivor.person_id, reason, by, tx.now)

    async def take_over(self, tx: WriteTx, merged: Person, survivor: Person) -> None:
        """Make the survivor's CV of the other's, in the same state, and publish it."""
        version = tx.version_after(None)
        await tx.conn.execute(_TAKE_OVER, merged.cv_id, survivor.cv_id, version, tx.now, merged.cv_state)
        event = CVChanged(id=uuid4(), subject=survivor.cv_id, version=version, time=tx.now, change="created")
        await self._outbox.add(tx, event)

    async def take_over_dates(self, tx: WriteTx, merged: Person, survivor: Person, today: date) -> None:
        """Let the survivor have the other's asylum dates that have not passed, unless own ones have not, and publish it."""
        args = merged.person_id, survivor.person_id, tx.version_after(None), tx.now, today
        row = await tx.conn.fetchrow(_TAKE_OVER_DATES, *args)
        if row is not None:
            event = AsylumTransitionSet(
                id=uuid4(),
                subject=survivor.person_id,
                version=row["version"],
                time=tx.now,
                change="updated" if row["had_some"] else "created",
            )
            await self._outbox.add(tx, event)

    async def merged_into(self, survivor: UUID) -> list[UUID]:
        return [row[0] for row in await self.database.fetch(_MERGED_INTO, survivor)]

    async def page_for(self, code: str, after: UUID, limit: int) -> tuple[UUID, list[str]] | None:
        """Give the last id of a page, and the person numbers on it that have to do with a municipality; None after the last."""
        rows = await self.database.fetch(_PAGE, after, code, limit)
        if not rows:
            return None
        return rows[-1]["person_id"], [row["person_number"] for row in rows if row["concerned"]]
