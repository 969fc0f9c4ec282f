"""The access log as it is written: durable before the answer, many reads to a commit, one partition for a month."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from cv_contracts.faults import Unavailable
from cvhub.testing import Postgres
from servicekit.caller import Caller, Organisation, User
from servicekit.data.access_log import AccessLog, AccessRow
from servicekit.data.access_queries import Asked, rows
from servicekit.data.postgres import Database, migrate
from servicekit.settings import PostgresSettings
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

CALLER = Caller(
    client="jobcenter-system",
    own=Organisation(101, "1"),
    active=Organisation(1, "101"),
    request_organisation=Organisation(4, "0101"),
    user=User("Ada Example", 2, "ada@example.org"),
)
SUBJECT = UUID(int=5)
BEGIN, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


async def looks(database: Database) -> list[dict[str, Any]]:
    """Give what an operator is told of the looks at the subject."""
    return await rows(database, Asked(BEGIN, END, SUBJECT), 1_000)


async def test_a_read_can_be_found_by_its_subject_with_all_that_was_said(database: Database) -> None:
    log = AccessLog(database)
    row = AccessRow(SUBJECT, "GetCV", CALLER, "placement", 17, {"guest": True})
    await log.record(row, AccessRow(None, "SearchCV", CALLER))
    await log.record(AccessRow(uuid4(), "GetCV", CALLER))
    (look,) = await looks(database)
    assert abs(look.pop("at") - datetime.now(UTC)) < timedelta(minutes=1)
    assert look == {
        "subject": SUBJECT,
        "method": "GetCV",
        "service": None,
        "client": "jobcenter-system",
        "own_type": 101,
        "own_code": "1",
        "active_type": 1,
        "active_code": "101",
        "request_type": 4,
        "request_code": "0101",
        "user_name": "Ada Example",
        "user_type": 2,
        "user_identifier": "ada@example.org",
        "purpose": "placement",
        "object_version": 17,
        "detail": {"guest": True},
        "looks": 1,
    }


async def test_the_newest_look_comes_first(database: Database) -> None:
    log = AccessLog(database)
    for version in range(3):
        await log.record(AccessRow(SUBJECT, "GetCV", CALLER, object_version=version))
    assert [look["object_version"] for look in await looks(database)] == [2, 1, 0]


async def test_a_service_that_acts_on_its_own_is_named(database: Database) -> None:
    log = AccessLog(database)
    await log.record(AccessRow(SUBJECT, "states", None, service="cv-search"))
    (look,) = await looks(database)
    assert (look["client"], look["user_identifier"], look["service"]) == (None, None, "cv-search")


async def test_many_reads_at_once_share_few_commits(database: Database) -> None:
    log = AccessLog(database)
    await log.record(AccessRow(None, "warm-up", CALLER))
    await asyncio.gather(
        *(log.record(AccessRow(SUBJECT, "GetCV", CALLER, object_version=n)) for n in range(200))
    )
    rows = await database.fetch(
        "select xmin::text as tx, object_version as n from access_log where subject = $1", SUBJECT
    )
    assert sorted(row["n"] for row in rows) == list(range(200))
    assert len({row["tx"] for row in rows}) <= 3


async def test_a_caller_that_goes_away_does_not_disturb_the_others(database: Database) -> None:
    log = AccessLog(database)
    reads = [
        asyncio.create_task(log.record(AccessRow(SUBJECT, "GetCV", CALLER, object_version=n)))
        for n in range(20)
    ]
    await asyncio.wait(reads, timeout=0)
    for read in reads[::2]:
        read.cancel()
    answers = await asyncio.gather(*reads, return_exceptions=True)
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [True, False] * 10
    stored = {look["object_version"] for look in await looks(database)}
    assert stored >= set(range(1, 20, 2))


async def test_a_row_the_database_does_not_take_costs_only_its_own_read(database: Database) -> None:
    log = AccessLog(database)
    bad = AccessRow(SUBJECT, "GetCV", CALLER, purpose="a\x00b")
    good = [AccessRow(SUBJECT, "GetCV", CALLER, object_version=n) for n in range(5)]
    answers = await asyncio.gather(
        *(log.record(row) for row in [*good[:2], bad, *good[2:]]), return_exceptions=True
    )
    assert [isinstance(answer, Unavailable) for answer in answers] == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]
    assert len(await looks(database)) == 5


async def test_reads_fail_while_the_database_is_down_and_work_again_after(own_postgres: Postgres) -> None:
    await migrate(own_postgres.dsn)
    database = await Database.connect(PostgresSettings(dsn=own_postgres.dsn), "test")
    log = AccessLog(database)
    await log.record(AccessRow(SUBJECT, "GetCV", CALLER))
    own_postgres.kill()
    answers = await asyncio.gather(
        *(log.record(AccessRow(SUBJECT, "GetCV", CALLER)) for _ in range(200)), return_exceptions=True
    )
    assert all(isinstance(answer, Unavailable) for answer in answers)
    own_postgres.start()
    await eventually(lambda: log.record(AccessRow(SUBJECT, "GetCV", CALLER)))
    assert len(await looks(database)) >= 2
    await database.close()


async def test_partitions_of_the_months_ahead_are_made_once_by_many_starters(database: Database) -> None:
    december = date(2031, 12, 31)
    await asyncio.gather(*(AccessLog(database).make_months(december) for _ in range(8)))
    rows = await database.fetch(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'access_log'::regclass order by 1"
    )
    assert [row["name"] for row in rows] == ["access_log_2031_12", "access_log_2032_01", "access_log_2032_02"]


async def test_a_partition_begins_and_ends_with_its_month_in_utc(database: Database) -> None:
    await AccessLog(database).make_months(date(2031, 2, 1))
    insert = "insert into access_log (at, method, detail) values ($1, '', '{}')"
    for at in (datetime(2031, 2, 28, 23, 59, 59, tzinfo=UTC), datetime(2031, 3, 1, tzinfo=UTC)):
        await database.execute(insert, at)
    assert await database.fetchval("select count(*) from access_log_2031_02") == 1
    assert await database.fetchval("select count(*) from access_log_2031_03") == 1
