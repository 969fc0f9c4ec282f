"""SQL of citizens: intake, lookup by number, states for followers, asylum dates, heartbeat."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID, uuid4

import asyncpg
import orjson

from cv_citizens.citizen import Citizen
from cv_contracts.envelope import Event
from cv_contracts.events.cv_registry import NO_SUBJECT, AsylumTransitionSet, CitizenChanged, CitizenHeartbeat
from cv_contracts.ids import CvId, PersonId
from cv_contracts.topics import topic_of
from cv_registry.domain import AsylumDates
from servicekit.data.postgres import Database, WriteTx
from servicekit.follow.state_routes import Stored, Versions
from servicekit.kafka import partition_of
from servicekit.publish.outbox import Outbox, columns_of, outbox_insert, outbox_insert_many

# What the intake compares citizens with before it writes, by a number that each has or had.
_KNOWN_COLUMNS: Final = """
c.person_number, c.person_id, c.cv_id, c.cv_number, c.version, c.source_version, c.state, c.changed_here,
EXISTS (SELECT 1 FROM merged_persons m WHERE m.person_id = c.person_id) AS is_merged
"""
_KNOWN: Final = f"SELECT c.person_number, {_KNOWN_COLUMNS} FROM citizens c WHERE c.person_number = ANY($1)"
_FORMERLY: Final = f"""
SELECT f.person_number, {_KNOWN_COLUMNS}
FROM former_person_numbers f JOIN citizens c USING (person_id) WHERE f.person_number = ANY($1)
"""

# Into whom persons were merged, whoever was merged into somebody else again.
_SURVIVORS: Final = f"""
WITH RECURSIVE mergers(merged_id, person_id) AS (
    SELECT person_id, survivor_id FROM merged_persons WHERE person_id = ANY($1)
    UNION ALL SELECT merged_id, m.survivor_id FROM mergers JOIN merged_persons m USING (person_id)
)
SELECT merged_id, {_KNOWN_COLUMNS} FROM mergers JOIN citizens c USING (person_id)
WHERE NOT EXISTS (SELECT 1 FROM merged_persons m WHERE m.person_id = c.person_id)
"""

# Numbers that citizens are told to have had, though they never had them here. One that was somebody's stays that one's.
_HAD: Final = """
INSERT INTO former_person_numbers (person_number, person_id, changed_at)
SELECT *, $3 FROM unnest($1::text[], $2::uuid[]) ON CONFLICT (person_number) DO NOTHING
"""

# Citizens are registered or changed, numbers that changed are retired, and the events are written, in one trip.
_SAVE: Final = f"""
WITH incoming AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::json[], $8::bytea[], $9::bytea[],
        $10::timestamptz[]
    ) AS i(person_id, person_number, cv_id, cv_number, version, source_version, state, personal, personal_protected,
           changed_at)
), retired AS (
    INSERT INTO retired_cv_numbers (cv_number, cv_id, retired_at)
    SELECT c.cv_number, c.cv_id, i.changed_at FROM incoming i JOIN citizens c USING (person_id)
    WHERE c.cv_number IS DISTINCT FROM i.cv_number AND c.cv_number IS NOT NULL
    ON CONFLICT (cv_number) DO NOTHING
), renumbered AS (
    INSERT INTO former_person_numbers (person_number, person_id, changed_at)
    SELECT c.person_number, c.person_id, i.changed_at FROM incoming i JOIN citizens c USING (person_id)
    WHERE c.person_number <> i.person_number
    ON CONFLICT (person_number) DO UPDATE SET person_id = excluded.person_id, changed_at = excluded.changed_at
), taken_back AS (
    DELETE FROM former_person_numbers f USING incoming i
    WHERE f.person_number = i.person_number AND f.person_id = i.person_id
), saved AS (
    INSERT INTO citizens (person_id, person_number, cv_id, cv_number, version, source_version, state,
                          personal, personal_protected, changed_at)
    SELECT * FROM incoming
    ON CONFLICT (person_id) DO UPDATE SET
        person_number = excluded.person_number, cv_number = excluded.cv_number, version = excluded.version,
        source_version = excluded.source_version, changed_here = false,
        state = excluded.state, personal = excluded.personal,
        personal_protected = excluded.personal_protected, changed_at = excluded.changed_at
)
{outbox_insert_many(11)}
"""

# A newer source version that says nothing new is remembered, without an event.
_SEEN: Final = "UPDATE citizens SET source_version = $2, changed_here = false WHERE person_id = $1"

_RETIRED: Final = "SELECT 1 FROM retired_cv_numbers WHERE cv_number = ANY($1)"

# Numbers of a list that may not be given: retired, or another citizen's.
_TAKEN: Final = """
SELECT cv_number FROM retired_cv_numbers WHERE cv_number = ANY($1)
UNION ALL SELECT cv_number FROM citizens WHERE cv_number = ANY($1)
"""

# A citizen with the newest asylum dates, for the asylum methods.
_WITH_ASYLUM: Final = """
SELECT c.person_id, c.version, c.state, a.version AS asylum_version, a.transition_date, a.edit_end_date
FROM citizens c
LEFT JOIN LATERAL (
    SELECT version, transition_date, edit_end_date FROM asylum_transitions
    WHERE person_id = c.person_id ORDER BY version DESC LIMIT 1
) a ON true
WHERE c.person_number = $1
"""

_SET_ASYLUM: Final = f"""
WITH dates AS (
    INSERT INTO asylum_transitions (person_id, version, transition_date, edit_end_date, correction_comment, set_at)
    VALUES ($1, $2, $3, $4, $5, $6)
)
{outbox_insert(7)}
"""

# States for followers.
_STATES: Final = """
SELECT person_id AS subject, version, state::text AS state FROM citizens WHERE person_id = ANY($1)
"""

# The state of whoever has a number now.
_LOOKUP: Final = """
SELECT person_id AS subject, version, state::text AS state FROM citizens WHERE person_number = $1 OR cv_number = $2
"""

# One page of all citizens by key order.
_SNAPSHOT: Final = """
SELECT person_id AS subject, version, state::text AS state FROM citizens
WHERE person_id > $1 ORDER BY person_id LIMIT $2
"""

# Whoever's update hits makes the heartbeat; others see a younger one.
_CLAIM_HEARTBEAT: Final = """
UPDATE heartbeats SET made_at = $1 WHERE made_at <= $2 RETURNING 1
"""

# Partitions that still have an unsent heartbeat.
_UNSENT: Final = "SELECT DISTINCT partition FROM outbox WHERE partition IS NOT NULL AND type = $1"

# Citizens of whom followers do not learn what Kafka refused, nor what comes after it.
_REFUSED: Final = "SELECT DISTINCT aggregateid FROM outbox_refused WHERE aggregatetype = $1 AND type <> $2"

MOST_PARSED: Final = 20_000
IMPORTING: Final = "import"
"""Key of an import's writes, which take no citizen's lock."""


class CvNumberTaken(Exception):  # noqa: N818 - an answer of the store, not a failure
    """The CV number is another citizen's, or was retired."""


class RegisteredMeanwhile(Exception):  # noqa: N818 - asks for another try
    """A citizen who was to be registered is there by now: imported, since an import takes no key's lock."""


@dataclass(frozen=True, slots=True)
class KnownCitizen:
    """What is stored about a citizen, as far as the intake compares it."""

    person_number: str
    person_id: PersonId
    cv_id: CvId
    cv_number: str | None
    version: int
    source_version: int
    state: str
    changed_here: bool
    """By the registry itself, since the source told this version."""
    is_merged: bool
    """Into another person."""


@dataclass(frozen=True, slots=True)
class CitizenRow:
    """A whole row to be saved, in the order of the table."""

    person_id: PersonId
    person_number: str
    cv_id: CvId
    cv_number: str | None
    version: int
    source_version: int
    state: str
    personal: bytes
    personal_protected: bytes | None
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class CitizenChange:
    """A row and the event that tells of it; `has_new_number` where the CV number was not the citizen's before."""

    row: CitizenRow
    event: CitizenChanged
    has_new_number: bool


@dataclass(frozen=True, slots=True)
class AsylumCitizen:
    """A citizen and the asylum dates that count now."""

    citizen: Citizen
    asylum_version: int | None
    dates: AsylumDates | None


_parsed: Final[dict[UUID, Citizen]] = {}
"""Citizens as parsed from their newest state; a state never changes under one version."""


def citizen_of(row: asyncpg.Record) -> Citizen:
    """Give the citizen of a row with person_id, version and state, without parsing a known state again."""
    person_id, version = row["person_id"], row["version"]
    citizen = _parsed.get(person_id)
    if citizen is None or citizen.version != version:
        if len(_parsed) >= MOST_PARSED:
            _parsed.clear()
        citizen = _parsed[person_id] = Citizen.from_state(person_id, version, orjson.loads(row["state"]))
    return citizen


def forget(person_id: UUID) -> None:
    """Let no parsed citizen outlive an erasure in this process's memory."""
    _parsed.pop(person_id, None)


class CitizenStore:
    """Citizens in the registry's own database; every write is made under `lock` of the person number."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self.database = database
        self.versions = Versions(database, "citizens", "person_id", erased="kind is distinct from 'cv'")
        self._outbox = outbox

    @staticmethod
    def lock(person_number: str) -> str:
        """Key of all writes about one citizen."""
        return f"citizen {person_number}"

    async def known(self, tx: WriteTx, person_numbers: Sequence[str]) -> dict[str, KnownCitizen]:
        rows = await tx.conn.fetch(_KNOWN, person_numbers)
        return {number: KnownCitizen(*known) for number, *known in rows}

    async def formerly(self, tx: WriteTx, person_numbers: Sequence[str]) -> dict[str, KnownCitizen]:
        """Give the citizens who had these person numbers before their present ones."""
        rows = await tx.conn.fetch(_FORMERLY, person_numbers)
        return {number: KnownCitizen(*known) for number, *known in rows}

    async def survivors(self, tx: WriteTx, merged: Sequence[UUID]) -> dict[UUID, KnownCitizen]:
        """Give those into whom these persons were merged in the end, by the ids of these."""
        rows = await tx.conn.fetch(_SURVIVORS, merged)
        return {merged_id: KnownCitizen(*known) for merged_id, *known in rows}

    async def had(self, tx: WriteTx, former: Sequence[tuple[str, UUID]]) -> None:
        """Remember person numbers that nobody has or had here, with those who had them elsewhere."""
        await tx.conn.execute(_HAD, *columns_of(former), tx.now)

    async def save(self, tx: WriteTx, changes: Sequence[CitizenChange]) -> None:
        """Save and publish; raises CvNumberTaken or RegisteredMeanwhile, after which the transaction is void."""
        rows, events = [_columns(c.row) for c in changes], [self._outbox.row(c.event) for c in changes]
        try:
            await tx.conn.execute(_SAVE, *columns_of(rows), *columns_of(events))
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name == "citizens_cv_number":
                raise CvNumberTaken from None
            if error.constraint_name == "citizens_person_number":
                raise RegisteredMeanwhile from None
            raise
        # Only now has it retired its number who gave it up in this write, or in one that this had to wait for.
        new_numbers = [change.row.cv_number for change in changes if change.has_new_number]
        if new_numbers and await tx.conn.fetchval(_RETIRED, new_numbers) is not None:
            raise CvNumberTaken
        tx.after_commit(self._outbox.wake)

    async def seen(self, tx: WriteTx, person_id: UUID, source_version: int) -> None:
        await tx.conn.execute(_SEEN, person_id, source_version)

    async def taken_numbers(self, cv_numbers: Sequence[str]) -> set[str]:
        return {row[0] for row in await self.database.fetch(_TAKEN, cv_numbers)}

    async def with_asylum(self, tx: WriteTx, person_number: str) -> AsylumCitizen | None:
        row = await tx.conn.fetchrow(_WITH_ASYLUM, person_number)
        if row is None:
            return None
        return AsylumCitizen(citizen_of(row), row["asylum_version"], asylum_dates(row))

    async def set_asylum(
        self, tx: WriteTx, dates: AsylumDates, comment: str | None, event: AsylumTransitionSet
    ) -> None:
        await tx.conn.execute(
            _SET_ASYLUM,
            event.subject,
            event.version,
            dates.transition,
            dates.edit_end,
            comment,
            tx.now,
            *self._outbox.row(event),
        )
        tx.after_commit(self._outbox.wake)

    async def states(self, subjects: Sequence[UUID]) -> list[Stored]:
        return [Stored(*row) for row in await self.database.fetch(_STATES, subjects)]

    async def lookup(self, person_number: str | None, cv_number: str | None) -> list[Stored]:
        """Give the state of the citizen with this person number or CV number; nothing for a number that nobody has."""
        return [Stored(*row) for row in await self.database.fetch(_LOOKUP, person_number, cv_number)]

    async def page(self, after: UUID, limit: int) -> list[Stored]:
        return [Stored(*row) for row in await self.database.fetch(_SNAPSHOT, after, limit)]

    async def heartbeat(self, now: datetime, unless_after: datetime) -> int:
        """Make a heartbeat for each partition without an unsent one, unless somebody made one since; count them.

        There is none for a partition of which followers lack what was refused: to them it would say that they lack nothing.
        """
        async with self.database.write("citizen heartbeat") as tx:
            if await tx.conn.fetchval(_CLAIM_HEARTBEAT, now, unless_after) is None:
                return 0
            topic = topic_of(CitizenHeartbeat)
            unsent = {row[0] for row in await tx.conn.fetch(_UNSENT, CitizenHeartbeat.TYPE)}
            refused = await tx.conn.fetch(_REFUSED, topic.name, CitizenHeartbeat.TYPE)
            lacking = {partition_of(row[0].encode(), topic.partitions) for row in refused}
            partitions = set(range(topic.partitions)) - unsent - lacking
            event: Event = CitizenHeartbeat(
                id=uuid4(), subject=NO_SUBJECT, version=tx.version_after(None), time=tx.now
            )
            rows = [
                self._outbox.row(event.model_copy(update={"id": uuid4()}), partition)
                for partition in sorted(partitions)
            ]
            await self._outbox.add_rows(tx, rows)
            return len(rows)


def asylum_dates(row: asyncpg.Record) -> AsylumDates | None:
    transition: date | None = row["transition_date"]
    return None if transition is None else AsylumDates(transition, row["edit_end_date"])


def _columns(row: CitizenRow) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in CitizenRow.__slots__)
