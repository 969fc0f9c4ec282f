"""What an operator asks of a service's access log: rows by subject, user and organisation, and how much each user reads."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from servicekit.data.access_log import COLUMNS
from servicekit.data.postgres import Database

__all__ = ["Asked", "reads_by_user", "rows"]

_READS = """
select client, user_type, user_identifier, own_type, own_code, (at at time zone 'Europe/Copenhagen')::date as day,
    sum(case when detail ? 'shown' then jsonb_array_length(detail -> 'shown') else 1 end) as looks
from access_log where at >= $1 and at < $2 and client is not null
group by 1, 2, 3, 4, 5, 6
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which rows are asked for. What is None does not limit; `organisation` is any of the three that a call names."""

    since: datetime
    until: datetime
    subject: UUID | None = None
    user: str | None = None
    organisation: tuple[int, str] | None = None


async def rows(database: Database, asked: Asked, limit: int) -> list[dict[str, Any]]:
    """Give the rows, the newest first; `shown` of others than the subject asked for stays here."""
    conditions, values = ["at >= $1", "at < $2"], list[Any]([asked.since, asked.until])

    def place(value: Any) -> str:
        values.append(value)
        return f"${len(values)}"

    if asked.subject is not None:
        conditions.append(await _about(database, place, asked.subject))
    if asked.user is not None:
        conditions.append(f"user_identifier = {place(asked.user)}")
    if asked.organisation is not None:
        kind, code = (place(value) for value in asked.organisation)
        names = ("own", "active", "request")
        either = " or ".join(f"({name}_type = {kind} and {name}_code = {code})" for name in names)
        conditions.append(f"({either})")
    query = f"select {', '.join(COLUMNS)} from access_log where {' and '.join(conditions)} order by at desc limit {place(limit)}"
    return [_row(dict(row.items())) for row in await database.fetch(query, *values)]


async def _about(database: Database, place: Any, subject: UUID) -> str:
    """Give the condition on a subject. Looks at many are found by an index that only a service with such looks has."""
    one = f"subject = {place(subject)}"
    if await database.fetchval("select to_regclass('access_log_shown') is null"):
        return one
    return f"({one} or detail -> 'shown' ? {place(str(subject))})"


def _row(row: dict[str, Any]) -> dict[str, Any]:
    detail = orjson.loads(row["detail"])
    shown = detail.pop("shown", None)
    return {**row, "detail": detail, "looks": 1 if shown is None else len(shown)}


async def reads_by_user(database: Database, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Give how many looks each user had on each Danish day; one search is as many looks as it showed persons."""
    return [dict(row.items()) for row in await database.fetch(_READS, since, until)]
