"""SQL of CVs: the one read of GetCV, the one write of ReplaceCV, moves, states for followers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from cv_citizens.citizen import Citizen
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.ids import CvId
from cv_registry.contacts import PreparedContact, ShownContact
from cv_registry.domain import AsylumDates, CvState
from cv_registry.store_citizens import asylum_dates, citizen_of
from servicekit.data.postgres import Database, WriteTx, lock_number
from servicekit.data.shared_reads import SharedReads
from servicekit.follow.state_routes import Stored, Versions
from servicekit.publish.outbox import Outbox, outbox_insert

# Everything GetCV answers from, by person number; status and contact data as the live generations have them.
_FOR_READING: Final = """
SELECT c.person_id, c.person_number, c.version, c.state, c.personal, c.personal_protected,
       v.version AS cv_version, v.state AS cv_state, v.revised_at, r.content, s.status, s.comment,
       k.types, CASE WHEN v.prepare_id IS NULL THEN k.version ELSE k.replaced END AS contact_reached,
       v.contact_version, v.contact_values
FROM citizens c
LEFT JOIN cvs v ON v.cv_id = c.cv_id
LEFT JOIN cv_revisions r ON r.cv_id = v.cv_id AND r.version = v.revision
LEFT JOIN statuses s ON s.cv_id = c.cv_id AND s.generation = (
    SELECT generation FROM projection_generations WHERE projection = 'statuses' AND status = 'live'
)
LEFT JOIN contacts k ON k.person_id = c.person_id AND k.generation = (
    SELECT generation FROM projection_generations WHERE projection = 'contacts' AND status = 'live'
)
WHERE c.{condition}
"""
_BY_PERSON_NUMBERS: Final = _FOR_READING.format(condition="person_number = ANY($1)")
_BY_CV_NUMBER: Final = _FOR_READING.format(condition="cv_number = $1")
_BY_CV_ID: Final = _FOR_READING.format(condition="cv_id = $1")

_IS_RETIRED: Final = "SELECT 1 FROM retired_cv_numbers WHERE cv_number = $1"

# Everything that decides whether a CV may be replaced, by person number ($1) and lock ($2); `free` says that nobody is
# replacing it now. The lock is given back at once: who only decides is nobody's reason for 4823, least of all that of the
# same request come again.
_FOR_REPLACING: Final = """
SELECT c.person_id, c.person_number, c.version, c.state, v.version AS cv_version, v.state AS cv_state,
       a.version AS asylum_version, a.transition_date, a.edit_end_date,
       CASE WHEN pg_try_advisory_lock_shared(l.lock) THEN pg_advisory_unlock_shared(l.lock) ELSE false END AS free
FROM citizens c
CROSS JOIN LATERAL (SELECT ($2::bigint[])[array_position($1, c.person_number)] AS lock) l
LEFT JOIN cvs v ON v.cv_id = c.cv_id
LEFT JOIN LATERAL (
    SELECT version, transition_date, edit_end_date FROM asylum_transitions
    WHERE person_id = c.person_id ORDER BY version DESC LIMIT 1
) a ON true
WHERE c.person_number = ANY($1)
"""

# The CV, its new revision and the event, in one trip, if the CV ($5), the citizen ($19) and the asylum dates ($20) still
# have the versions that were decided on. The CV's lock comes first. Who had to wait for it finds the version changed, for
# an UPDATE looks again at a row that was.
_AS_DECIDED: Final = """c.cv_id = $1 AND c.version = $19 AND $20::bigint IS NOT DISTINCT FROM (
        SELECT max(version) FROM asylum_transitions WHERE person_id = c.person_id
    )"""
_WRITTEN: Final = f"""
, revision AS (
    INSERT INTO cv_revisions (cv_id, version, revised_at, content) SELECT $1, $2, $3, $4 FROM cv
), decision AS (
    INSERT INTO contact_decisions (prepare_id, committed, decided_at) SELECT $7, true, $3 FROM cv WHERE $7::uuid IS NOT NULL
)
{outbox_insert(10, each="cv")}
"""
_REPLACE: Final = f"""
WITH own AS MATERIALIZED (SELECT pg_advisory_xact_lock($6)), cv AS (
    UPDATE cvs SET version = $2, revision = $2, revised_at = $3, prepare_id = $7, contact_version = $8, contact_values = $9
    FROM own, citizens c
    WHERE cvs.cv_id = $1 AND cvs.version = $5 AND {_AS_DECIDED} RETURNING cvs.cv_id
){_WRITTEN}"""
_CREATE: Final = f"""
WITH own AS MATERIALIZED (SELECT pg_advisory_xact_lock($6)), citizen AS (
    SELECT c.cv_id FROM citizens c, own WHERE $5::bigint IS NULL AND {_AS_DECIDED} FOR KEY SHARE OF c
), cv AS (
    INSERT INTO cvs (cv_id, version, state, revision, revised_at, prepare_id, contact_version, contact_values)
    SELECT cv_id, $2, 'ACTIVE', $2, $3, $7, $8, $9 FROM citizen
    ON CONFLICT (cv_id) DO NOTHING RETURNING cv_id
){_WRITTEN}"""

# Whose CV this is, and its life now.
_FOR_MOVING: Final = """
SELECT c.person_number, v.version AS cv_version, v.state AS cv_state
FROM citizens c LEFT JOIN cvs v ON v.cv_id = c.cv_id
WHERE c.cv_id = $1
"""

# A replace under a former person number may have waited for another lock: what it changed is decided on anew.
_MOVE: Final = f"""
WITH cv AS (
    UPDATE cvs SET version = $2, state = $3 WHERE cv_id = $1 AND version = $7 RETURNING cv_id
), move AS (
    INSERT INTO cv_state_moves (cv_id, version, state, reason, moved_by, moved_at) SELECT $1, $2, $3, $4, $5, $6 FROM cv
)
{outbox_insert(8, each="cv")}
"""

_STATE_COLUMNS: Final = """
SELECT v.cv_id AS subject, v.version, c.person_id, v.state, v.revision, v.revised_at, r.content
FROM cvs v
JOIN citizens c ON c.cv_id = v.cv_id
JOIN cv_revisions r ON r.cv_id = v.cv_id AND r.version = v.revision
"""

# States for followers, content included.
_STATES: Final = f"{_STATE_COLUMNS} WHERE v.cv_id = ANY($1)"

# One page of all CVs by key order.
_SNAPSHOT: Final = f"{_STATE_COLUMNS} WHERE v.cv_id > $1 ORDER BY v.cv_id LIMIT $2"


@dataclass(frozen=True, slots=True)
class ReadableCv:
    """A citizen and the CV as GetCV sends it; the CV's parts are None when there never was one, the status when never set."""

    citizen: Citizen
    personal: bytes
    personal_protected: bytes | None
    version: int | None
    state: CvState | None
    revised_at: datetime | None
    content: bytes | None
    status: int | None
    status_comment: str | None
    contact: ShownContact


@dataclass(frozen=True, slots=True)
class ReplaceableCv:
    """What decides about a replace, under which versions; not `free` when somebody is replacing the CV at this moment."""

    citizen: Citizen
    citizen_version: int
    version: int | None
    state: CvState | None
    dates: AsylumDates | None
    asylum_version: int | None
    free: bool


@dataclass(frozen=True, slots=True)
class MovableCv:
    """What decides about an administrative move; state is None when there never was a CV."""

    person_number: str
    version: int | None
    state: CvState | None


class CvStore:
    """CVs in the registry's own database; every write is made under `lock` of the citizen's person number."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self.database = database
        self.versions = Versions(database, "cvs", "cv_id", erased="kind is distinct from 'person'")
        self._outbox = outbox
        self._by_person_number = SharedReads[str](database, _BY_PERSON_NUMBERS, "person_number")
        self._for_replacing = SharedReads[str](database, _FOR_REPLACING, "person_number", beside=_lock_number)

    @staticmethod
    def lock(person_number: str) -> str:
        """Key of all writes about one CV. A replace tries it (4823), an administrative move waits for it."""
        return f"cv {person_number}"

    async def by_person_number(self, person_number: str) -> ReadableCv | None:
        row = await self._by_person_number.row(person_number)
        return None if row is None else _readable(row)

    async def by_cv_number(self, cv_number: str) -> ReadableCv | None:
        row = await self.database.fetchrow(_BY_CV_NUMBER, cv_number)
        return None if row is None else _readable(row)

    async def by_cv_id(self, cv_id: CvId) -> ReadableCv | None:
        row = await self.database.fetchrow(_BY_CV_ID, cv_id)
        return None if row is None else _readable(row)

    async def is_retired(self, cv_number: str) -> bool:
        return await self.database.fetchval(_IS_RETIRED, cv_number) is not None

    async def for_replacing(self, person_number: str, tx: WriteTx | None = None) -> ReplaceableCv | None:
        """Read what decides about a replace: in this transaction, or else together with others who ask now."""
        if tx is None:
            row = await self._for_replacing.row(person_number)
        else:
            row = await tx.conn.fetchrow(_FOR_REPLACING, [person_number], [_lock_number(person_number)])
        if row is None:
            return None
        return ReplaceableCv(
            citizen_of(row),
            row["version"],
            row["cv_version"],
            _state(row["cv_state"]),
            asylum_dates(row),
            row["asylum_version"],
            row["free"],
        )

    async def replace(
        self,
        tx: WriteTx,
        person_number: str,
        decided: ReplaceableCv,
        content: bytes,
        *,
        event: CVChanged,
        contact: PreparedContact | None = None,
    ) -> bool:
        """Create or replace the CV; False, and nothing is written, where it is no longer as it was decided on.

        Raises UniqueViolationError where the prepared contact data were called abandoned in the meantime.
        """
        done = await tx.conn.execute(
            _CREATE if decided.version is None else _REPLACE,
            event.subject,
            event.version,
            event.time,
            content,
            decided.version,
            _lock_number(person_number),
            contact and contact.id,
            contact and contact.version,
            contact and contact.values,
            *self._outbox.row(event),
            decided.citizen_version,
            decided.asylum_version,
        )
        if done != "INSERT 0 1":
            return False
        tx.after_commit(self._outbox.wake)
        return True

    async def person_number_of(self, cv_id: CvId) -> str | None:
        row = await self.database.fetchrow(_FOR_MOVING, cv_id)
        return None if row is None else str(row["person_number"])

    async def for_moving(self, tx: WriteTx, cv_id: CvId) -> MovableCv | None:
        row = await tx.conn.fetchrow(_FOR_MOVING, cv_id)
        if row is None:
            return None
        return MovableCv(row["person_number"], row["cv_version"], _state(row["cv_state"]))

    async def move(
        self, tx: WriteTx, wanted: CvState, reason: str, by: str, *, event: CVChanged, decided: int
    ) -> bool:
        """Move the CV; False, and nothing is written, where it no longer has the version that was decided on."""
        done = await tx.conn.execute(
            _MOVE,
            event.subject,
            event.version,
            wanted,
            reason,
            by,
            event.time,
            decided,
            *self._outbox.row(event),
        )
        if done != "INSERT 0 1":
            return False
        tx.after_commit(self._outbox.wake)
        return True

    async def states(self, subjects: Sequence[UUID]) -> list[Stored]:
        return [_stored(row) for row in await self.database.fetch(_STATES, subjects)]

    async def page(self, after: UUID, limit: int) -> list[Stored]:
        return [_stored(row) for row in await self.database.fetch(_SNAPSHOT, after, limit)]


def _lock_number(person_number: str) -> int:
    return lock_number(CvStore.lock(person_number))


def _state(name: str | None) -> CvState | None:
    return None if name is None else CvState(name)


def _readable(row: asyncpg.Record) -> ReadableCv:
    return ReadableCv(
        citizen_of(row),
        row["personal"],
        row["personal_protected"],
        row["cv_version"],
        _state(row["cv_state"]),
        row["revised_at"],
        row["content"],
        row["status"],
        row["comment"],
        ShownContact(row["types"], row["contact_reached"], row["contact_version"], row["contact_values"]),
    )


def _stored(row: asyncpg.Record) -> Stored:
    """State of a CV; its content is stored JSON and goes out as it is."""
    head = orjson.dumps(
        {
            "personId": str(row["person_id"]),
            "state": row["state"],
            "revision": row["revision"],
            "revisionDate": row["revised_at"],
        }
    )
    state = head[:-1] + b',"content":{' + row["content"] + b"}}"
    return Stored(row["subject"], row["version"], state.decode())
