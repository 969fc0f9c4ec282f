"""Who read what about whom: rows that are durable before the answer goes out, many reads sharing one commit."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import structlog

from cv_contracts.faults import Unavailable
from servicekit.caller import Caller
from servicekit.data.postgres import Database, passing_trouble
from servicekit.observe import metrics
from servicekit.pace import Gathering

log = structlog.get_logger(__name__)

MOST_WAITING = 10_000
FLUSH_TIMEOUT = timedelta(seconds=3)
SOON = 0.005
"""Seconds between two flushes where many wait: each waits for the disk, and keeps others waiting for it."""
MONTHS_AHEAD = 3
CHECK_MONTHS_EVERY = timedelta(days=1)
ONE_DAY = timedelta(days=1)
TRY_AGAIN_AFTER = timedelta(minutes=10)
"""How long months ahead and those to be dropped are left alone when it did not work."""

COLUMNS = {
    "at": "timestamptz",
    "subject": "uuid",
    "method": "text",
    "service": "text",
    "client": "text",
    "own_type": "int",
    "own_code": "text",
    "active_type": "int",
    "active_code": "text",
    "request_type": "int",
    "request_code": "text",
    "user_name": "text",
    "user_type": "int",
    "user_identifier": "text",
    "purpose": "text",
    "object_version": "bigint",
    "detail": "jsonb",
}
"""Each column and its type."""
_GIVEN = {column: kind for column, kind in COLUMNS.items() if column != "at"}
# By the database's clock: a row that a host years behind had dated would be dropped with its month.
_INSERT = (
    f"insert into access_log (at, {', '.join(_GIVEN)}) select now(), * from unnest("
    + ", ".join(f"${i}::{kind}[]" for i, kind in enumerate(_GIVEN.values(), 1))
    + ")"
)
# Whoever makes it at this moment is waited for by its lock: a commit can be seen a little before all sessions know of its partition.
_MAKE_THIS_MONTH = """
select pg_advisory_xact_lock(hashtext('servicekit'), hashtext('access_log_months')),
       access_log_make_months((now() at time zone 'UTC')::date, 1)
"""
_MAKE_MONTHS = "select access_log_make_months($1, $2)"
_TODAY = "select (now() at time zone 'UTC')::date"
_MONTHS = """
select c.relname::text as name, case when i.inhdetachpending then 'finalize' when not i.inhdetachpending then 'concurrently' end
from pg_class c left join pg_inherits i on i.inhrelid = c.oid
where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace and c.relname ~ '^access_log_[0-9]{4}_[0-9]{2}$'
order by 1
"""


@dataclass(frozen=True, slots=True)
class AccessRow:
    """One look at a subject's data. Without a caller, `service` (one of ours) acted on its own.

    A look at many has no subject: `detail` names under `shown` whom it has shown, and a service with such rows has an index
    `access_log_shown` on that.
    """

    subject: UUID | None
    method: str
    caller: Caller | None
    purpose: str | None = None
    object_version: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    service: str | None = None


class AccessLog:
    """The service's own access log. Callers of `record` that come while a flush is under way share the next one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[Sequence[tuple[Any, ...]], asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._pace = Gathering(SOON)
        self._check_again = 0.0
        self._checking: asyncio.Task[None] | None = None

    async def record(self, *rows: AccessRow) -> None:
        """Return once the rows are durable; raises Unavailable (503) if they cannot be, and then the read is not to be answered."""
        if not rows:
            return
        if len(self._waiting) >= MOST_WAITING:
            raise Unavailable(retry_after=1)
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(([_columns(row) for row in rows], written))
        self._pace.came(len(self._waiting))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await written

    async def make_months(self, today: date) -> None:
        """Make the partitions of this month and those ahead, where they are missing."""
        await self._database.execute(_MAKE_MONTHS, today, MONTHS_AHEAD)

    async def drop_months(self, today: date) -> list[str]:
        """Drop the partitions whose rows have all been kept for the legal period; give their names."""
        kept = f"access_log_{_month_before(today, self._database.settings.access_log_months):%Y_%m}"
        months = [row for row in await self._database.fetch(_MONTHS) if row["name"] < kept]
        for name, step in months:
            # Nobody who writes waits for this; what was broken off is ended the next time.
            if step is not None:
                await self._database.execute(f"alter table access_log detach partition {name} {step}")
            await self._database.execute(f"drop table if exists {name}")
            log.info("access_log_month_dropped", month=name)
        return [name for name, _ in months]

    async def _flush(self) -> None:
        try:
            while self._waiting:
                await self._pace.turn()
                batch, self._waiting = self._waiting, []
                await self._write(batch)
        finally:
            self._flushing = None

    async def _write(self, batch: "Sequence[tuple[Sequence[tuple[Any, ...]], asyncio.Future[None]]]") -> None:
        error = await self._insert([row for rows, _ in batch for row in rows])
        if error is not None and len(batch) > 1 and passing_trouble(error) is None:
            # One caller's row that the database does not take must not cost the others their answers.
            for one in batch:
                await self._write([one])
            return
        if error is not None:
            log.warning("access_rows_not_written", error_type=type(error).__name__, rows=len(batch))
        for _, written in batch:
            if written.done():
                continue
            if error is None:
                written.set_result(None)
            else:
                written.set_exception(passing_trouble(error) or Unavailable())

    async def _insert(self, rows: Sequence[tuple[Any, ...]]) -> Exception | None:
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT.total_seconds()):
                self._see_to_months()
                await self._insert_into_this_month(list(map(list, zip(*rows, strict=True))))
        except Exception as error:  # noqa: BLE001 - whatever it was, those who wait must be told
            return error
        metrics.record("access_log.flush.duration", time.perf_counter() - begun)
        metrics.count("access_log.rows", len(rows))
        return None

    async def _insert_into_this_month(self, columns: Sequence[Sequence[Any]]) -> None:
        try:
            await self._database.execute(_INSERT, *columns)
        except asyncpg.CheckViolationError:
            # That is how PostgreSQL says that the month is missing.
            await self._database.execute(_MAKE_THIS_MONTH)
            await self._database.execute(_INSERT, *columns)

    def _see_to_months(self) -> None:
        """Have the months ahead made and the old ones dropped, where it is time; no read waits for that."""
        if time.monotonic() >= self._check_again and (self._checking is None or self._checking.done()):
            self._check_again = time.monotonic() + TRY_AGAIN_AFTER.total_seconds()
            self._checking = asyncio.create_task(self._check_months(datetime.now(UTC).date()))

    async def _check_months(self, here: date) -> None:
        """Make months by the database's date, as rows are dated; drop them only where this host's date `here` confirms it."""
        try:
            there: date = await self._database.fetchval(_TODAY)
            await self.make_months(there)
            if abs(here - there) > ONE_DAY:
                log.error("access_log_date_wrong", seconds=(here - there).total_seconds())
            else:
                await self.drop_months(min(here, there))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, Unavailable) as error:
            log.warning("access_log_months_wait", error_type=type(error).__name__)
        else:
            self._check_again = time.monotonic() + CHECK_MONTHS_EVERY.total_seconds()


def _month_before(day: date, months: int) -> date:
    years, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(years, month + 1, 1)


def _columns(row: AccessRow) -> tuple[Any, ...]:
    return (
        row.subject,
        row.method,
        row.service,
        *_caller_columns(row.caller),
        row.purpose,
        row.object_version,
        orjson.dumps(row.detail).decode(),
    )


def _caller_columns(caller: Caller | None) -> tuple[Any, ...]:
    if caller is None:
        return (None,) * 10
    return (
        caller.client,
        caller.own.type,
        caller.own.code,
        caller.active.type,
        caller.active.code,
        caller.request_organisation.type,
        caller.request_organisation.code,
        caller.user.name,
        caller.user.type,
        caller.user.identifier,
    )
