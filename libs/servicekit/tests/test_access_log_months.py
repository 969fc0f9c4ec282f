"""The access log while somebody reads it for long, as a back-up does: months come all the same, and no read fails for one ahead."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Self

import pytest
from structlog.testing import capture_logs

from cv_contracts.faults import Unavailable
from servicekit.data import access_log
from servicekit.data.access_log import MONTHS_AHEAD, AccessLog, AccessRow
from servicekit.data.postgres import Database
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

ROW = AccessRow(None, "GetCV", None, service="test")


@asynccontextmanager
async def locked(database: Database, mode: str) -> AsyncIterator[None]:
    """Hold a lock on the whole log."""
    async with database.pool.acquire() as conn, conn.transaction():
        await conn.execute(f"lock table access_log in {mode} mode")
        yield


async def months(database: Database) -> list[str]:
    rows = await database.fetch(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'access_log'::regclass order by 1"
    )
    return [row["name"] for row in rows]


async def all_months(database: Database) -> None:
    assert len(await months(database)) == MONTHS_AHEAD


async def test_months_are_made_while_a_back_up_reads(database: Database) -> None:
    log = AccessLog(database)
    async with locked(database, "access share"):
        await log.record(ROW)
        await eventually(lambda: all_months(database))


async def test_a_month_is_as_the_log_itself(database: Database) -> None:
    await AccessLog(database).make_months(date(2031, 2, 1))
    indexes = "select count(*) from pg_index where indrelid = $1::regclass and indisvalid"
    assert await database.fetchval(indexes, "access_log_2031_02") == await database.fetchval(
        indexes, "access_log"
    )
    assert await database.fetchval(
        "select count(*) from pg_indexes where tablename = 'access_log_2031_02' and indexdef like '%USING brin (at)'"
    )
    columns = """
    select array_agg((attname, atttypid, attnotnull) order by attnum) from pg_attribute where attrelid = $1::regclass and attnum > 0
    """
    assert await database.fetchval(columns, "access_log_2031_02") == await database.fetchval(
        columns, "access_log"
    )


async def test_a_read_waits_for_no_month_ahead_and_those_are_made_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.execute("select access_log_make_months($1, 1)", datetime.now(UTC).date())
    monkeypatch.setattr(access_log, "TRY_AGAIN_AFTER", timedelta())
    log = AccessLog(database)
    async with locked(database, "share update exclusive"):
        await log.record(ROW)
        await log.record(ROW)
        assert len(await months(database)) == 1

    async def made() -> None:
        await log.record(ROW)
        await all_months(database)

    await eventually(made)


async def test_months_ahead_that_cannot_be_made_are_not_tried_with_every_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AccessLog(database)
    tried = []

    async def busy(today: date) -> None:
        tried.append(today)
        raise TimeoutError

    monkeypatch.setattr(log, "make_months", busy)

    async def has_tried() -> None:
        await log.record(ROW)
        assert tried

    await eventually(has_tried)
    for _ in range(5):
        await log.record(ROW)
    assert len(tried) == 1


async def test_without_this_month_a_read_fails_and_the_next_one_makes_it(database: Database) -> None:
    log = AccessLog(database)
    async with locked(database, "share update exclusive"):
        with pytest.raises(Unavailable):
            await log.record(ROW)
    await log.record(ROW)


class YearsAhead(datetime):
    """The clock of a host that thinks it is far later."""

    DAYS = 4000

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(datetime.now(tz).timestamp(), tz) + timedelta(days=cls.DAYS)


class YearsBehind(YearsAhead):
    """The clock of a host that thinks it is long ago."""

    DAYS = -4000


@pytest.mark.parametrize("clock", [YearsAhead, YearsBehind])
async def test_a_host_whose_date_is_wrong_drops_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, clock: type[YearsAhead]
) -> None:
    await AccessLog(database).record(ROW)
    await eventually(lambda: all_months(database))
    before = await months(database)
    monkeypatch.setattr(access_log, "datetime", clock)
    wrong = AccessLog(database)
    with capture_logs() as said:
        await wrong.record(ROW)
        await eventually(lambda: len(said) > 0)
    assert [(one["event"], one["log_level"], one["seconds"]) for one in said] == [
        ("access_log_date_wrong", "error", clock.DAYS * 86_400)
    ]
    assert await months(database) == before


@pytest.mark.parametrize("clock", [YearsAhead, YearsBehind])
async def test_a_row_is_kept_from_the_databases_now_on_whatever_its_host_thinks(
    database: Database, monkeypatch: pytest.MonkeyPatch, clock: type[YearsAhead]
) -> None:
    monkeypatch.setattr(access_log, "datetime", clock)
    await AccessLog(database).record(ROW)
    assert await database.fetchval("select now() - at < interval '1 minute' from access_log")
    await eventually(lambda: all_months(database))


async def test_the_first_rows_of_a_month_that_nobody_made_make_it(database: Database) -> None:
    log = AccessLog(database)
    await log.record(ROW)
    await eventually(lambda: all_months(database))
    (this_month, *_) = await months(database)
    await database.execute(f"drop table {this_month}")
    await log.record(ROW)
    assert await months(database)


async def test_who_finds_the_month_missing_waits_for_whoever_is_making_it(database: Database) -> None:
    log = AccessLog(database)
    await log.record(ROW)
    await eventually(lambda: all_months(database))
    (month, *_) = await months(database)
    bounds = await database.fetchval(
        "select pg_get_expr(relpartbound, oid) from pg_class where oid = $1::regclass", month
    )
    await database.execute(f"alter table access_log detach partition {month}")
    lock = "select pg_advisory_xact_lock(hashtext('servicekit'), hashtext('access_log_months'))"
    waits = """
    select exists (select from pg_locks where locktype = 'advisory' and not granted
        and database = (select oid from pg_database where datname = current_database()))
    """
    async with database.pool.acquire() as maker:
        async with maker.transaction():
            await maker.execute(lock)
            recording = asyncio.create_task(log.record(ROW))
            await eventually(lambda: recording.done() or maker.fetchval(waits))
            await maker.execute(f"alter table access_log attach partition {month} {bounds}")
        await recording
    assert await database.fetchval("select count(*) from access_log") == 2


@pytest.mark.parametrize("days", [-1, 0, 1])
async def test_by_two_dates_a_day_apart_it_is_the_earlier_that_months_are_dropped_by(
    database: Database, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    log, by = AccessLog(database), list[date]()

    async def dropped(today: date) -> list[str]:
        by.append(today)
        return []

    monkeypatch.setattr(log, "drop_months", dropped)
    there = await database.fetchval("select (now() at time zone 'UTC')::date")
    await log._check_months(there + timedelta(days=days))
    assert by == [there + timedelta(days=min(days, 0))]
