"""SQL of statuses and frozen versions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from cv_citizens.replica import Found, citizen_sql, citizens_sql, found
from cv_contracts.events.cv_status import StatusSet
from cv_contracts.ids import CvId, PersonId
from servicekit.data.postgres import Database, WriteTx
from servicekit.data.shared_reads import SharedReads
from servicekit.follow.state_routes import Versions
from servicekit.follow.states import Known
from servicekit.publish.outbox import Outbox, outbox_insert

# Citizens and their statuses at once, for GetCvStatus.
_WITH_STATUS: Final = citizens_sql(
    "person_number",
    columns="s.status, s.comment, s.version as status_version",
    joins="left join statuses s on s.cv_id = c.cv_id",
)

_STATUS: Final = "select status, comment, version from statuses where cv_id = $1"

# What decides about a write: the citizen, held until the end of the transaction; whether it was erased; the version before.
_FOR_SETTING: Final = f"""
with held as ({citizen_sql("person_id", lock=True)})
select held.*, s.version as status_version, exists (
    select from projected_versions v
    join projection_generations g using (projection, generation)
    where v.projection = 'citizens' and g.status = 'live' and v.subject = $1 and v.erased
) as erased
from (values (1)) as always left join held on true left join statuses s on s.cv_id = $2
"""

_SET: Final = f"""
with status as (
    insert into statuses (cv_id, person_id, version, status, comment, set_at) values ($1, $2, $3, $4, $5, $6)
    on conflict (cv_id) do update set
        person_id = excluded.person_id, version = excluded.version, status = excluded.status,
        comment = excluded.comment, set_at = excluded.set_at
)
{outbox_insert(7)}
"""

_FREEZE: Final = """
with content as (
    insert into frozen_contents (cv_id, hash, content) values ($1, $9, $10) on conflict (cv_id, hash) do nothing
)
insert into frozen_versions (cv_id, id, version, status, comment, municipality, frozen_at, cv_version, content_hash)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""

_VERSION_COLUMNS: Final = """
select id, version, status, comment, municipality, frozen_at, cv_version, content_hash from frozen_versions
"""
_VERSIONS: Final = (
    f"{_VERSION_COLUMNS} where cv_id = $1 and ($2::int is null or status = $2) order by version desc"
)
_NEWEST: Final = f"{_VERSIONS} limit 1"

# A frozen version with what it holds and whose it is.
_WHOLE: Final = """
select s.person_id, c.content, f.id, f.version, f.status, f.comment, f.municipality, f.frozen_at, f.cv_version, f.content_hash
from frozen_versions f
join frozen_contents c on c.cv_id = f.cv_id and c.hash = f.content_hash
join statuses s on s.cv_id = f.cv_id
where f.cv_id = $1 and f.id = $2
"""

_STATE_COLUMNS: Final = """
select s.cv_id, s.version, s.status, s.comment, s.set_at, f.cv_version, f.id as version_id
from statuses s left join frozen_versions f on f.cv_id = s.cv_id and f.version = s.version
"""
_STATES: Final = f"{_STATE_COLUMNS} where s.cv_id = any($1::uuid[])"
_PAGE: Final = f"{_STATE_COLUMNS} where s.cv_id > $1 order by s.cv_id limit $2"


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a CV and the version of the StatusSet that told it; version 0 when it was never set."""

    number: int
    comment: str | None = field(default=None, repr=False)
    version: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides about a write, read and held in its transaction."""

    loaded: Found | None
    erased: bool
    version: int | None


@dataclass(frozen=True, slots=True)
class Content:
    """A CV as it is when it is frozen: JSON of CVProfile with its SHA-256, and the version of the CV."""

    cv_version: int
    hash: bytes
    json: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class FrozenVersion:
    """A frozen version of a CV; `id` is its CVVersionIdentifier, `municipality` a code of three digits."""

    id: UUID
    version: int
    status: int
    comment: str | None = field(repr=False)
    municipality: str
    frozen_at: datetime
    cv_version: int
    content_hash: bytes


@dataclass(frozen=True, slots=True)
class WholeVersion:
    """A frozen version with what it holds (JSON of CVProfile) and whose it is."""

    person_id: PersonId
    cv_id: CvId
    version: FrozenVersion
    content: bytes = field(repr=False)


class StatusStore:
    """Statuses in the service's own database; every write is made under `locks` of the CV and its citizen."""

    def __init__(self, database: Database, outbox: Outbox, never_set: int) -> None:
        self.database = database
        self._outbox = outbox
        self._never_set = Status(never_set)
        self._with_citizen = SharedReads[str](database, _WITH_STATUS, "person_number")

    @staticmethod
    def locks(cv_id: CvId, person_id: PersonId) -> tuple[str, str]:
        """Keys of a write: one CV's writes wait for each other, and for the erasure of its citizen."""
        return f"cv {cv_id}", erasure_lock(person_id)

    async def with_citizen(self, person_number: str) -> tuple[Found, Status] | None:
        """Give the citizen of the replica and the status, in one query."""
        row = await self._with_citizen.row(person_number)
        if row is None:
            return None
        return found(row), self._status(row["status"], row["comment"], row["status_version"])

    async def status(self, cv_id: CvId) -> Status:
        row = await self.database.fetchrow(_STATUS, cv_id)
        return self._never_set if row is None else self._status(*row)

    def _status(self, number: int | None, comment: str | None, version: int | None) -> Status:
        return self._never_set if number is None else Status(number, comment, version or 0)

    async def for_setting(self, tx: WriteTx, person_id: PersonId, cv_id: CvId) -> Standing:
        row = await tx.conn.fetchrow(_FOR_SETTING, person_id, cv_id)
        if row is None:
            raise LookupError
        loaded = None if row["person_id"] is None else found(row)
        return Standing(loaded, row["erased"], row["status_version"])

    async def set(
        self, tx: WriteTx, person_id: PersonId, event: StatusSet, status: int, comment: str | None
    ) -> None:
        await tx.conn.execute(
            _SET,
            event.subject,
            person_id,
            event.version,
            status,
            comment,
            event.time,
            *self._outbox.row(event),
        )
        tx.after_commit(self._outbox.wake)

    async def freeze(self, tx: WriteTx, cv_id: CvId, version: FrozenVersion, content: Content) -> None:
        await tx.conn.execute(
            _FREEZE,
            cv_id,
            version.id,
            version.version,
            version.status,
            version.comment,
            version.municipality,
            version.frozen_at,
            version.cv_version,
            version.content_hash,
            content.json,
        )

    async def versions(self, cv_id: CvId, status: int | None = None) -> list[FrozenVersion]:
        """Give the frozen versions of a CV, the newest first; with a status only those that have it."""
        return [FrozenVersion(*row) for row in await self.database.fetch(_VERSIONS, cv_id, status)]

    async def newest(self, cv_id: CvId, status: int) -> FrozenVersion | None:
        row = await self.database.fetchrow(_NEWEST, cv_id, status)
        return None if row is None else FrozenVersion(*row)

    async def whole(self, cv_id: CvId, version_id: UUID) -> WholeVersion | None:
        """Give a frozen version with its content; None once it was erased."""
        row = await self.database.fetchrow(_WHOLE, cv_id, version_id)
        if row is None:
            return None
        person_id, content, *version = row
        return WholeVersion(PersonId(person_id), cv_id, FrozenVersion(*version), content)


class StatusStates:
    """The statuses as followers of StatusSet ask for them, by CV id."""

    def __init__(self, database: Database) -> None:
        self.versions = Versions(database, "statuses", "cv_id", erased="true")
        self._database = database

    async def states(self, subjects: Sequence[UUID]) -> list[Known]:
        """Give the states of CVs for followers; what was never set is left out."""
        return [_state(row) for row in await self._database.fetch(_STATES, subjects)]

    async def page(self, after: UUID, limit: int) -> list[Known]:
        """Give one page of all states by key order."""
        return [_state(row) for row in await self._database.fetch(_PAGE, after, limit)]


def erasure_lock(person_id: UUID) -> str:
    """Key that a write about a citizen and the citizen's erasure both lock."""
    return f"citizen {person_id}"


def _state(row: asyncpg.Record) -> Known:
    state = {
        "status": row["status"],
        "comment": row["comment"],
        "time": row["set_at"].isoformat(),
        "cvVersion": row["cv_version"],
        "versionId": None if row["version_id"] is None else str(row["version_id"]),
    }
    present = {name: value for name, value in state.items() if value is not None}
    return Known(row["cv_id"], row["version"], present)
