"""What an operator decides about rows of one projection, and what becomes of a record that can be read after all."""

from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from cv_contracts import envelope
from cv_contracts.event import Event
from servicekit.data.postgres import Database
from servicekit.follow.deciding import (
    Decision,
    Why,
    decide_pending,
    decide_unreadable,
    pending,
    reading_again,
    unreadable,
)
from servicekit.follow.records import Record
from servicekit.follow.testing import CITIZENS, Copies, OwnedStates, changed, heartbeat

pytestmark = pytest.mark.infra

WHY = Why("anna", "the owner was repaired")
PERSON = UUID(int=1)


async def waits(
    database: Database, subject: UUID = PERSON, projection: str = "copies", version: int = 3
) -> None:
    await database.execute(
        "insert into pending_subjects (projection, subject, version, attempts, next_try, reason, first_seen)"
        " values ($2, $1, $3, 9, now() + interval '4 minutes', 'owner-silent', now() - $3::bigint * interval '1 minute')",
        subject,
        projection,
        version,
    )


async def kept(database: Database, offset: int, event: Event, projection: str = "copies") -> int:
    """Keep the record of an event as if it had not been readable; gives its id."""
    headers = envelope.headers(event, "cv-registry")
    record = Record(CITIZENS, 2, offset, envelope.key(event), headers, envelope.data_json(event))
    number: int = await database.fetchval(
        'insert into unreadable_records (projection, topic, partition, "offset", key, headers, value, reason)'
        " values ($1, $2, 2, $3, $4, $5, $6, 'unknown-version') returning id",
        projection,
        CITIZENS.name,
        offset,
        record.key,
        record.raw_headers(),
        record.value,
    )
    return number


async def decided(database: Database, ids: list[int], decision: Decision = "retry") -> int:
    again = reading_again(Copies(database).projection(OwnedStates()))
    return await decide_unreadable(database, "copies", ids, decision, WHY, read_again=again)


async def the_one_that_waits(database: Database) -> asyncpg.Record:
    [row] = await database.fetch(
        "select subject, partition, version, attempts, reason, next_try <= now() as due from pending_subjects"
    )
    return row


async def told(database: Database) -> list[Any]:
    return await database.fetch("select action, target from operator_actions order by id")


@pytest.mark.parametrize("subjects", [None, [PERSON]])
@pytest.mark.parametrize("decision", ["retry", "discard"])
async def test_who_waits_in_another_projection_goes_on_waiting(
    database: Database, decision: Decision, subjects: list[UUID] | None
) -> None:
    await waits(database)
    await waits(database, projection="others")
    [before] = await pending(database, "others", 9)
    assert await decide_pending(database, "copies", subjects, decision, WHY) == 1
    assert await pending(database, "others", 9) == [before]
    assert await told(database) == [(f"{decision} pending", f"copies {PERSON}")]


async def test_who_is_tried_again_is_tried_as_if_for_the_first_time(database: Database) -> None:
    await waits(database)
    await decide_pending(database, "copies", None, "retry", WHY)
    assert tuple(await the_one_that_waits(database)) == (PERSON, None, 3, 0, "owner-silent", True)


@pytest.mark.parametrize("decision", ["retry", "discard"])
async def test_a_record_that_another_projection_could_not_read_is_left_to_that(
    database: Database, decision: Decision
) -> None:
    number = await kept(database, 5, changed(PERSON, 7), "others")
    assert await decided(database, [number], decision) == 0
    assert [row.id for row in await unreadable(database, None, 9)] == [number]
    assert await pending(database, None, 9) == []
    assert await told(database) == []


async def test_whom_a_record_is_about_that_can_be_read_is_asked_for_at_once(database: Database) -> None:
    assert await decided(database, [await kept(database, 5, changed(PERSON, 7))]) == 1
    assert tuple(await the_one_that_waits(database)) == (PERSON, 2, 7, 0, "unreadable", True)
    assert await unreadable(database, None, 9) == []
    assert await told(database) == [("retry unreadable", f"copies {CITIZENS.name}/2/5")]


@pytest.mark.parametrize(("waiting_for", "read", "newest"), [(3, 7, 7), (8, 7, 8)])
async def test_who_waits_already_is_asked_for_at_once_in_the_newest_version_that_is_known_of(
    database: Database, waiting_for: int, read: int, newest: int
) -> None:
    await waits(database, version=waiting_for)
    assert await decided(database, [await kept(database, 5, changed(PERSON, read))]) == 1
    row = await the_one_that_waits(database)
    assert (row["version"], row["attempts"], row["due"]) == (newest, 0, True)


async def test_a_heartbeat_that_can_be_read_is_done_with_and_nobody_is_asked_for(database: Database) -> None:
    assert await decided(database, [await kept(database, 5, heartbeat())]) == 1
    assert await pending(database, None, 9) == []
    assert await unreadable(database, None, 9) == []


async def test_the_oldest_are_listed_first_and_no_more_than_were_asked_for(database: Database) -> None:
    for age in (2, 4, 3):
        await waits(database, uuid4(), version=age)
        await kept(database, age, changed(PERSON, age))
    await database.execute("update unreadable_records set reason = 'no-json' where \"offset\" = 2")
    assert [row.version for row in await pending(database, "copies", 2)] == [4, 3]
    assert [row.offset for row in await unreadable(database, "copies", 2)] == [2, 4]
