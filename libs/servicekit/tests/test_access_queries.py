"""The access log as an operator asks for it: by subject, user and organisation; how much each user reads; old months dropped."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from cvhub.testing import FreshDatabase
from servicekit.caller import Caller, Organisation, User
from servicekit.data.access_log import AccessLog, AccessRow
from servicekit.data.access_queries import Asked, reads_by_user, rows
from servicekit.data.postgres import Database

pytestmark = pytest.mark.infra

CENTER, ACTOR, TOWN = Organisation(8, "10100"), Organisation(4, "12345678"), Organisation(7, "101")
ADA = Caller(
    client="jobcenter-system",
    own=CENTER,
    active=CENTER,
    request_organisation=CENTER,
    user=User("Ada Example", 2, "ada"),
)
BOB = replace(ADA, own=ACTOR, active=TOWN, request_organisation=ACTOR, user=User("Bob Example", 2, "bob"))
SUBJECT, OTHER = UUID(int=5), UUID(int=6)


@pytest_asyncio.fixture
async def database(fresh_database: FreshDatabase) -> AsyncIterator[Database]:
    database = await Database.connect(await fresh_database("servicekit.migrations"), "test")
    log = AccessLog(database)
    await log.record(AccessRow(SUBJECT, "GetCV", ADA), AccessRow(SUBJECT, "GetCV", BOB))
    await log.record(AccessRow(OTHER, "GetCVAsPdf", ADA), AccessRow(SUBJECT, "states", None, service="x"))
    shown = {"shown": [str(SUBJECT), str(OTHER)]}
    await log.record(AccessRow(None, "SearchCVText", BOB, detail=shown))
    yield database
    await database.close()


def asked(**limits: Any) -> Asked:
    now = datetime.now(UTC)
    return replace(Asked(now - timedelta(hours=1), now + timedelta(hours=1)), **limits)


async def told(database: Database, **limits: Any) -> list[tuple[str, str | None]]:
    found = await rows(database, asked(**limits), 100)
    return sorted((row["method"], row["user_identifier"]) for row in found)


async def test_rows_are_found_by_subject_user_and_any_organisation_of_the_call(database: Database) -> None:
    assert await told(database, subject=OTHER) == [("GetCVAsPdf", "ada")]
    assert await told(database, user="ada") == [("GetCV", "ada"), ("GetCVAsPdf", "ada")]
    for organisation in ((4, "12345678"), (7, "101")):
        assert await told(database, organisation=organisation) == [("GetCV", "bob"), ("SearchCVText", "bob")]
    assert await told(database, organisation=(7, "12345678")) == []
    assert await told(database, subject=SUBJECT, user="bob") == [("GetCV", "bob")]
    assert len(await told(database)) == 5


async def test_a_service_that_shows_many_finds_each_and_names_no_others(database: Database) -> None:
    await database.execute("create index access_log_shown on access_log using gin ((detail -> 'shown'))")
    (search,) = await rows(database, asked(subject=OTHER, user="bob"), 100)
    assert (search["method"], search["looks"], search["detail"]) == ("SearchCVText", 2, {})
    assert str(SUBJECT) not in str(search)


async def test_a_period_ends_before_its_end_and_the_newest_come_first(database: Database) -> None:
    found = await rows(database, asked(), 2)
    assert len(found) == 2
    assert found[0]["at"] >= found[1]["at"]
    later = replace(asked(), since=datetime.now(UTC) + timedelta(minutes=1))
    assert await rows(database, later, 100) == []


async def test_a_search_is_as_many_looks_as_it_showed_persons(database: Database) -> None:
    counted = await reads_by_user(database, asked().since, asked().until)
    assert {row["user_identifier"]: row["looks"] for row in counted} == {"ada": 2, "bob": 3}


async def test_months_that_have_been_kept_for_their_period_are_dropped(database: Database) -> None:
    settings = database.settings.model_copy(update={"access_log_months": 6})
    database.settings = settings
    log = AccessLog(database)
    await log.make_months(date(2026, 1, 1))
    await log.make_months(date(2026, 4, 1))
    assert await log.drop_months(date(2026, 11, 30)) == [f"access_log_2026_0{n}" for n in range(1, 5)]
    assert await log.drop_months(date(2026, 11, 30)) == []
    assert await database.fetchval("select to_regclass('access_log_2026_05') is not null")
    await log.record(AccessRow(uuid4(), "GetCV", ADA))
