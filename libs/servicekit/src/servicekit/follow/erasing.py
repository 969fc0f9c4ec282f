"""Receipts of erasures: what was removed, counted where it is removed, and whether anything is still there."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response

from servicekit.data.postgres import Database
from servicekit.follow.projection import Applicable, Apply, Connection, Projection
from servicekit.follow.states import Erased
from servicekit.web.http import at_once, internal_only
from servicekit.web.internal import InternalBody, json_response

__all__ = [
    "OWN_ACCESS_ROWS",
    "ErasedBody",
    "ErasureReceipts",
    "Held",
    "Holdings",
    "erasure_routes",
    "in_generations",
    "receipted",
    "removing",
]

# Two projections that remove the same rows at the same time would both count them.
_ONE_AT_A_TIME: Final = "select pg_advisory_xact_lock(hashtext('servicekit'), hashtext('erasing'))"
_FORGET_REQUESTS: Final = "delete from request_log where subject = any($1)"
_NOTED: Final = "select removed from erasure_receipts where subject = $1 for update"
_NOTE: Final = """
insert into erasure_receipts (subject, version, removed) values ($1, $2, $3::text::jsonb)
on conflict (subject) do update set
    version = greatest(erasure_receipts.version, excluded.version), removed = excluded.removed, erased_at = now()
"""
_RECEIPTS: Final = "select subject, version, removed, erased_at from erasure_receipts where subject = any($1)"

Left = Callable[[Sequence[UUID]], Awaitable[Mapping[str, int]]]
"""Says what is left of subjects elsewhere than in the tables; nothing left is an empty answer."""


@dataclass(frozen=True, slots=True)
class Held:
    """Rows that a table holds of a subject: `condition` finds them by the ids in `$1`. `name` stands in the receipt."""

    table: str
    condition: str
    name: str | None = None

    @property
    def sql(self) -> str:
        return f"select '{self.name or self.table}' as name, count(*) as rows from {self.table} where {self.condition}"


_REQUESTS: Final = Held("request_log", "subject = any($1)")
OWN_ACCESS_ROWS: Final = Held("access_log", "subject = any($1)")


def in_generations(projection: str, key: str) -> str:
    """Give the condition of rows that are kept per generation of a projection, in the order of their primary key."""
    return (
        f"generation in (select generation from projection_generations where projection = '{projection}')"
        f" and {key} = any($1)"
    )


@dataclass(frozen=True, slots=True)
class Holdings:
    """All that a service holds of a subject. `related` finds more ids that stand for it, by those in `$1`."""

    rows: Sequence[Held]
    related: str | None = None
    kept: Held = OWN_ACCESS_ROWS
    """The rows of the access log, which an erasure leaves for their legal period."""

    async def ids(self, conn: Connection, subjects: Iterable[UUID]) -> list[UUID]:
        """Give the ids that stand for these subjects now."""
        known = set(subjects)
        if self.related is not None:
            known |= {row[0] for row in await conn.fetch(self.related, sorted(known))}
        return sorted(known)

    async def count(self, conn: Connection, ids: Sequence[UUID]) -> dict[str, int]:
        """Count the rows, by name."""
        rows = await conn.fetch(" union all ".join(held.sql for held in (*self.rows, _REQUESTS)), ids)
        return {row["name"]: row["rows"] for row in rows}


@asynccontextmanager
async def removing(
    conn: Connection, holdings: Holdings, subject: UUID, version: int, *others: UUID
) -> AsyncIterator[None]:
    """Note, in the transaction that is open, what the block removes of the subject; its requests are forgotten with it.

    `others` are more ids that are known to stand for it.
    """
    await conn.execute(_ONE_AT_A_TIME)
    ids = await holdings.ids(conn, [subject, *others])
    before = await holdings.count(conn, ids)
    yield
    await conn.execute(_FORGET_REQUESTS, ids)
    after = await holdings.count(conn, ids)
    removed = {name: max(0, before[name] - after[name]) for name in before}
    noted = await conn.fetchval(_NOTED, subject)
    for name, rows in (orjson.loads(noted) if noted else {}).items():
        removed[name] = removed.get(name, 0) + rows
    await conn.execute(_NOTE, subject, version, orjson.dumps(removed).decode())


def receipted(projections: Iterable[Projection], holdings: Holdings) -> list[Projection]:
    """Let projections note what an erasure that they apply has removed."""
    return [replace(projection, apply=_receipted(projection.apply, holdings)) for projection in projections]


def _receipted(apply: Apply, holdings: Holdings) -> Apply:
    async def noting(conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
        async with AsyncExitStack() as stack:
            for state in states:
                if isinstance(state, Erased):
                    note = removing(conn, holdings, state.subject, state.version)
                    await stack.enter_async_context(note)
            await apply(conn, generation, states)

    return noting


class ErasureReceipts:
    """Gives receipts. `left` says what is left elsewhere than in tables, such as in an index."""

    def __init__(
        self, database: Database, service: str, holdings: Holdings, left: Left | None = None
    ) -> None:
        self._database = database
        self._service = service
        self._holdings = holdings
        self._left = left

    async def of(self, person_id: UUID, cv_id: UUID) -> dict[str, Any]:
        """Say what was removed of a person, at which version and when, what is still here, and which access rows stay.

        `version` is that of the person's erasure, None as long as it was not heard of.
        """
        subjects = [person_id, cv_id]
        async with self._database.pool.acquire(timeout=5) as conn:
            noted = {row["subject"]: row for row in await conn.fetch(_RECEIPTS, subjects)}
            ids = await self._holdings.ids(conn, subjects)
            left = await self._holdings.count(conn, ids)
            access_rows = await conn.fetch(self._holdings.kept.sql, ids)
        more = {} if self._left is None else dict(await self._left(subjects))
        own = noted.get(person_id)
        return {
            "service": self._service,
            "version": None if own is None else own["version"],
            "erasedAt": _latest(row["erased_at"] for row in noted.values()),
            "removed": _sum(orjson.loads(row["removed"]) for row in noted.values()),
            "left": {name: rows for name, rows in (left | more).items() if rows},
            "accessRows": access_rows[0]["rows"],
        }


class ErasedBody(InternalBody):
    """Whose erasure is asked about."""

    person_id: UUID
    cv_id: UUID


def erasure_routes(receipts: Callable[[Request], ErasureReceipts]) -> APIRouter:
    """Make the route by which an operator asks for the receipt of an erasure."""
    router = APIRouter(prefix="/internal/erasures", dependencies=[internal_only("operator")])
    found = Annotated[ErasureReceipts, at_once(receipts)]

    @router.post("/receipts")
    async def receipt(body: ErasedBody, given: found) -> Response:
        return json_response(await given.of(body.person_id, body.cv_id))

    return router


def _latest(times: Iterable[datetime]) -> datetime | None:
    return max(times, default=None)


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for some in counts:
        for name, rows in some.items():
            total[name] = total.get(name, 0) + rows
    return total
