"""The documents in the service's own database: made of the parts that are live, numbered in the order of their commits."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson
import structlog
from pydantic import TypeAdapter

from cv_citizens.citizen import Citizen
from cv_contracts.events.cv_registry import CitizenChanged
from cv_contracts.topics import topic_of
from cv_search.port import Document
from cv_search.showing import shown_json
from servicekit.data.postgres import Database
from servicekit.follow.freshness import fresh_partitions_sql, pending_sql
from servicekit.follow.projection import Connection
from servicekit.kafka import partition_of

__all__ = [
    "CITIZENS",
    "CVS",
    "PARTS",
    "STATUSES",
    "Changed",
    "Edge",
    "Make",
    "SearchDocuments",
    "Shown",
    "form_of_documents",
    "live_parts",
    "read_document",
]

log = structlog.get_logger(__name__)

CVS: Final = "cvs"
STATUSES: Final = "statuses"
CITIZENS: Final = "citizens"
PARTS: Final = (CVS, STATUSES, CITIZENS)

_TOPIC: Final = topic_of(CitizenChanged)

MADE_ASIDE: Final = 20
"""From so many documents on they are made in a thread, so that searches go on meanwhile."""

Make = Callable[
    [UUID, Mapping[str, Any] | None, Mapping[str, Any] | None, Mapping[str, Any] | None, date],
    Document | None,
]
"""Makes a document of a CV's state, its citizen's and its status, as `cv_search.document.Documents` does."""

_DOCUMENT: Final = TypeAdapter(Document)

_LIVE: Final = """
select projection, generation from projection_generations where projection = any($1::text[]) and status = 'live'
"""
_HOLD: Final = f"""
with held as materialized (select last_change from search_state for update)
select live.* from held, lateral ({_LIVE}) as live
"""

_JOINED: Final = """
select w.cv_id, c.part as cv, s.status, z.part as citizen, d.document
from unnest($1::uuid[]) as w(cv_id)
left join cv_parts c on c.generation = $2 and c.cv_id = w.cv_id
left join status_parts s on s.generation = $3 and s.cv_id = w.cv_id
left join citizen_parts z on z.generation = $4 and z.cv_id = w.cv_id
left join search_documents d on d.cv_id = w.cv_id
"""

# As for versions: above the one before, and above all that were ever given before a restore from an older back-up.
_SAVE: Final = """
with numbered as (
    update search_state
    set last_change = greatest(last_change, (extract(epoch from clock_timestamp()) * 1000000)::bigint) + cardinality($1::uuid[])
    returning last_change - cardinality($1::uuid[]) as before
)
insert into search_documents (cv_id, person_id, change, document, shown, due)
select s.cv_id, s.person_id, numbered.before + s.number, s.document, s.shown, s.due
from numbered, unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[], $5::date[])
    with ordinality as s(cv_id, person_id, document, shown, due, number)
on conflict (cv_id) do update set
    person_id = case when excluded.document is null then search_documents.person_id else excluded.person_id end,
    change = excluded.change, document = excluded.document,
    shown = excluded.shown, due = excluded.due
"""
# Neither is in the index.
_BESIDES: Final = """
update search_documents d set shown = s.shown, due = s.due
from unnest($1::uuid[], $2::bytea[], $3::date[]) as s(cv_id, shown, due)
where d.cv_id = s.cv_id and (d.due is distinct from s.due or d.shown is distinct from s.shown)
"""
_DUE: Final = "select cv_id from search_documents where due <= $1 order by cv_id limit $2"

_EDGE: Final = "select database, last_change, made_from from search_state"
_AFTER: Final = """
select cv_id, change, document from search_documents
where change > $1 and change <= $2 order by change limit $3
"""
_CHANGE_OF: Final = (
    "select max(change) from search_documents where cv_id = any($1::uuid[]) or person_id = any($1::uuid[])"
)
# After a gap the citizens are fetched anew; the documents are as fresh once all of them were made of those.
_SHOWN: Final = f"""
with made as (
    select from search_state s join projection_generations g on g.projection = '{CITIZENS}' and g.status = 'live'
    where (s.made_from::jsonb ->> '{CITIZENS}')::int = g.generation
)
select d.cv_id, d.person_id, d.shown, {pending_sql(CITIZENS, subject="d.person_id")} as pending,
    case when exists (select from made) then {fresh_partitions_sql(CITIZENS, _TOPIC)} end as fresh
from search_documents d where d.cv_id = any($1::uuid[])
"""
_COUNT: Final = "select count(*) from search_documents where document is not null"


@dataclass(frozen=True, slots=True)
class Edge:
    """How far the documents are. `made_from` says of which parts all of them were made; None before the first time."""

    database: UUID
    change: int
    made_from: str | None


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of a CV with one change; without a document it is to leave the index."""

    cv_id: UUID
    change: int
    document: bytes | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A person as a result shows one (JSON of CVPerson); None where the person is not to be shown any more.

    Where that is not fresh, the registry is to be asked before it is shown.
    """

    cv_id: UUID
    person_id: UUID
    json: bytes | None
    fresh: bool


@dataclass(frozen=True, slots=True)
class _Made:
    cv_id: UUID
    person_id: UUID | None
    document: bytes | None
    shown: bytes | None
    due: date | None
    before: bytes | None

    @property
    def is_new(self) -> bool:
        return self.document != self.before


def read_document(stored: bytes) -> Document:
    """Read a document as it is stored."""
    return _DOCUMENT.validate_json(stored)


def form_of_documents() -> str:
    """Give the form in which documents are stored; documents of another form are to be made anew."""
    return orjson.dumps(_DOCUMENT.json_schema(), option=orjson.OPT_SORT_KEYS).decode()


class SearchDocuments:
    """Makes, numbers and reads documents. `today` gives the Danish day they are made for."""

    def __init__(self, database: Database, make: Make, today: Callable[[], date]) -> None:
        self.database = database
        self._make = make
        self._today = today

    async def changed(self, conn: Connection, projection: str, generation: int, cvs: Sequence[UUID]) -> None:
        """Make the documents of these CVs anew, in the transaction that has changed a part of theirs.

        A generation that is being built changes none; once it is live, all documents are made anew.
        """
        if (await live_parts(conn)).get(projection) == generation:
            await self.make(conn, cvs)

    async def make(self, conn: Connection, cvs: Sequence[UUID], *, leave_out_bad: bool = False) -> None:
        """Make these documents, of the parts that are live; before all kinds of parts are, there are none.

        One that cannot be made fails the transaction, or with `leave_out_bad` is as if it were not searchable.
        """
        live = _by_projection(await conn.fetch(_HOLD, PARTS))
        if len(live) < len(PARTS) or not cvs:
            return
        rows = await conn.fetch(_JOINED, cvs, *(live[name] for name in PARTS))
        day = self._today()
        if len(rows) >= MADE_ASIDE:
            made = await asyncio.to_thread(self._made, rows, day, leave_out_bad)
        else:
            made = self._made(rows, day, leave_out_bad)
        await self._save(conn, made)

    async def due(self, limit: int) -> list[UUID]:
        """Give CVs whose document is another one today than when it was made."""
        return [row["cv_id"] for row in await self.database.fetch(_DUE, self._today(), limit)]

    async def edge(self) -> Edge:
        """Give how far the documents are now; all changes up to there can be read."""
        row = await self.database.fetchrow(_EDGE)
        if row is None:
            raise LookupError
        return Edge(*row)

    async def after(self, change: int, until: int, limit: int) -> list[Changed]:
        """Give the changes after one, the oldest first."""
        return [Changed(*row) for row in await self.database.fetch(_AFTER, change, until, limit)]

    async def change_of(self, subjects: Sequence[UUID]) -> int:
        """Give the newest change about these CVs or persons; 0 for none."""
        return int(await self.database.fetchval(_CHANGE_OF, subjects) or 0)

    async def shown(self, cvs: Sequence[UUID]) -> dict[UUID, Shown]:
        """Give what can be shown now of these CVs."""
        rows = await self.database.fetch(_SHOWN, cvs) if cvs else []
        return {row["cv_id"]: _shown(row) for row in rows}

    async def count(self) -> int:
        """Count the documents."""
        return int(await self.database.fetchval(_COUNT))

    def _made(self, rows: Sequence[asyncpg.Record], day: date, leave_out_bad: bool) -> list[_Made]:
        return [self._made_if_good(row, day) if leave_out_bad else self._made_one(row, day) for row in rows]

    def _made_if_good(self, row: asyncpg.Record, day: date) -> _Made:
        try:
            return self._made_one(row, day)
        except Exception as error:  # noqa: BLE001 - one that cannot be read must not keep all others out
            log.error("document_not_made", error_type=type(error).__name__)  # noqa: TRY400 - may quote it
            return _Made(row["cv_id"], None, None, None, None, row["document"])

    def _made_one(self, row: asyncpg.Record, day: date) -> _Made:
        cv, citizen = _loaded(row["cv"]), _loaded(row["citizen"])
        status = None if row["status"] is None else {"status": row["status"]}
        document = self._make(row["cv_id"], cv, citizen, status, day)
        if document is None or cv is None or citizen is None:
            return _Made(row["cv_id"], None, None, None, None, row["document"])
        person_id = UUID(cv["personId"])
        return _Made(
            row["cv_id"],
            person_id,
            _stored(document),
            shown_json(document.person),
            Citizen.from_state(person_id, 0, citizen).next_change(day),
            row["document"],
        )

    async def _save(self, conn: Connection, made: Sequence[_Made]) -> None:
        new = [one for one in made if one.is_new]
        if new:
            await conn.execute(
                _SAVE,
                [one.cv_id for one in new],
                [one.person_id or UUID(int=0) for one in new],
                [one.document for one in new],
                [one.shown for one in new],
                [one.due for one in new],
            )
        same = [one for one in made if not one.is_new and one.document is not None]
        if same:
            await conn.execute(
                _BESIDES,
                [one.cv_id for one in same],
                [one.shown for one in same],
                [one.due for one in same],
            )


def _shown(row: asyncpg.Record) -> Shown:
    person: UUID = row["person_id"]
    fresh: Sequence[int] = row["fresh"] or ()
    # As a rule all partitions are, and none need be reckoned.
    heard = len(fresh) >= _TOPIC.partitions or partition_of(str(person).encode(), _TOPIC.partitions) in fresh
    return Shown(row["cv_id"], person, row["shown"], heard and not row["pending"])


async def live_parts(conn: Connection | Database) -> dict[str, int]:
    """Give the live generation of each kind of part that has one."""
    return _by_projection(await conn.fetch(_LIVE, PARTS))


def _by_projection(rows: Sequence[asyncpg.Record]) -> dict[str, int]:
    return {row["projection"]: row["generation"] for row in rows}


def _loaded(part: bytes | None) -> dict[str, Any] | None:
    return None if part is None else orjson.loads(part)


def _stored(document: Document) -> bytes:
    """Give the document as it is stored: equal documents have equal bytes."""
    members = _DOCUMENT.dump_python(document, mode="json")
    members["organisations"].sort()
    return orjson.dumps(members)
