"""What one transaction of a follower writes: what is newer, what could not be applied or read, and how far it got."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from servicekit.data.postgres import Database
from servicekit.follow.batch import Rewound, Settled, Work, applying, sort_answers
from servicekit.follow.batch_testing import OTHER, PERSON, Following, states, waiting
from servicekit.follow.deciding import Why, decide_unreadable, reading_again
from servicekit.follow.projection import Announced, Applicable, Connection, Position
from servicekit.follow.records import Record
from servicekit.follow.states import Erased, Known, SubjectState, Unknown
from servicekit.follow.testing import CITIZENS, Copies, OwnedStates, make_live
from servicekit.testing import eventually

pytestmark = pytest.mark.infra


@pytest_asyncio.fixture
async def followed(database: Database) -> Following:
    await make_live(database)
    return Following(database, await Copies(database).create())


def unreadable(offset: int, reason: str = "bad-json", value: bytes = b"v") -> Record:
    return Record(CITIZENS, 2, offset, b"k", (("h", None),), value, None, reason)  # type: ignore[arg-type]


def test_answers_are_states_to_apply_or_reasons_to_wait_and_an_older_state_is_both() -> None:
    newer, exact, older, gone, unknown, silent = (uuid4() for _ in range(6))
    announced = {s: Announced(s, 5) for s in (newer, exact, older, gone, unknown, silent)}
    answers: dict[UUID, SubjectState] = {
        newer: Known(newer, 6, {}),
        exact: Known(exact, 5, {}),
        older: Known(older, 4, {}),
        gone: Erased(gone, 5),
        unknown: Unknown(unknown),
        uuid4(): Known(uuid4(), 1, {}),
    }
    applicable, reasons = sort_answers(announced, answers)
    assert applicable == {s: answers[s] for s in (newer, exact, older, gone)}
    assert reasons == {older: "owner-older", unknown: "owner-unknown", silent: "owner-silent"}


async def test_states_are_applied_where_newer_and_what_was_news_is_told(followed: Following) -> None:
    first = await followed.settle(Work(states(Known(PERSON, 5, {}), Known(OTHER, 5, {}))))
    assert first == Settled({PERSON: 5, OTHER: 5}, frozenset({PERSON, OTHER}), {})
    again = await followed.settle(Work(states(Known(PERSON, 5, {}), Known(OTHER, 6, {}))))
    assert again.newly == {OTHER}
    late = await followed.settle(Work(states(Known(PERSON, 4, {}), Erased(OTHER, 7))))
    assert (late.reached, late.newly) == ({PERSON: 4, OTHER: 7}, frozenset({OTHER}))
    assert await followed.copies.versions() == {PERSON: 5}
    rows = await followed.database.fetch("select subject, version, erased from projected_versions")
    assert {tuple(row) for row in rows} == {(PERSON, 5, False), (OTHER, 7, True)}


async def test_states_that_cannot_be_applied_wait_and_the_others_are_applied(followed: Following) -> None:
    people = sorted(uuid4() for _ in range(7))
    bad = {people[0], people[5]}
    followed.copies.poison |= bad
    work = Work(
        states(*(Known(p, 3, {}) for p in people)),
        announced={people[0]: Announced(people[0], 4, 2)},
        attempts={people[5]: 2},
    )
    with pytest.raises(ValueError, match="cannot be applied"):
        await followed.settle(work)
    assert await followed.copies.versions() == {}
    with capture_logs() as logs:
        settled = await followed.settle(work, one_by_one=True)
    said = {
        "event": "state_not_applied",
        "stream": "copies",
        "error_type": "ValueError",
        "log_level": "warning",
    }
    assert logs == [said, said], "and nothing of whose state it is"
    good = dict.fromkeys(set(people) - bad, 3)
    assert await followed.copies.versions() == settled.reached == good
    assert settled.newly == good.keys()
    assert settled.waiting.keys() == bad
    first, second = await followed.pending(people[0]), await followed.pending(people[5])
    assert (first["version"], first["partition"], first["attempts"]) == (4, 2, 0)
    assert (second["version"], second["partition"], second["attempts"]) == (3, None, 2)
    assert first["reason"] == second["reason"] == "not-applied"


async def test_an_unreadable_record_is_kept_once_as_it_came(followed: Following) -> None:
    await followed.settle(Work(unreadable=[unreadable(7), unreadable(8)]))
    await followed.settle(Work(unreadable=[unreadable(8, "bad-data")]))
    rows: Sequence[asyncpg.Record] = await followed.database.fetch(
        'select partition, "offset", key, headers, value, reason from unreadable_records order by "offset"'
    )
    kept = (b"k", b'[["h",null]]', b"v", "bad-json")
    assert [tuple(row) for row in rows] == [(2, 7, *kept), (2, 8, *kept)]


async def test_an_unreadable_record_of_a_topic_made_anew_takes_the_place_of_the_lost_one_and_not_what_was_decided_on_that(
    followed: Following,
) -> None:
    await followed.settle(Work(unreadable=[unreadable(1, value=b"{")], positions={2: Position(9)}))
    lost = await followed.database.fetchval("select id from unreadable_records")
    anew = Work(
        unreadable=[unreadable(1, "bad-data", b"[")],
        positions={2: Position(2, gap=True)},
        known_offsets={2: 9},
    )
    await followed.settle(anew)
    rows = await followed.database.fetch('select "offset", value, reason from unreadable_records')
    assert [tuple(row) for row in rows] == [(1, b"[", "bad-data")]
    why, reading = Why("an operator", "the topic was lost"), reading_again(followed.projection)
    decide = partial(decide_unreadable, followed.database, "copies", [lost], why=why, read_again=reading)
    assert (await decide("retry"), await decide("discard")) == (0, 0)


async def test_positions_move_and_keep_the_newest_heartbeat_and_the_newest_gap(followed: Following) -> None:
    now = datetime.now(UTC)
    await followed.settle(Work(positions={0: Position(5, now, gap=True), 1: Position(9)}))
    first, other = await followed.position(0), await followed.position(1)
    assert (first["next_offset"], first["heartbeat_at"]) == (5, now)
    assert first["gap_at"] is not None
    assert (other["next_offset"], other["heartbeat_at"], other["gap_at"]) == (9, None, None)
    await followed.settle(Work(positions={0: Position(6, now - timedelta(seconds=9)), 1: Position(10, now)}))
    moved = await followed.position(0)
    assert (moved["next_offset"], moved["heartbeat_at"], moved["gap_at"]) == (6, now, first["gap_at"])
    assert moved["updated_at"] > first["updated_at"]
    assert (await followed.position(1))["heartbeat_at"] == now
    await followed.settle(Work(positions={0: Position(7, now + timedelta(seconds=1), gap=True)}))
    last = await followed.position(0)
    assert last["heartbeat_at"] == now + timedelta(seconds=1)
    assert last["gap_at"] > first["gap_at"]
    await followed.settle(Work(positions={0: Position(8)}))
    assert (await followed.position(0))["heartbeat_at"] == now + timedelta(seconds=1)


FIRST, LAST = sorted([PERSON, OTHER])


@pytest.mark.parametrize(
    ("work", "before", "after"),
    [
        (
            Work(positions={1: Position(5), 0: Position(5)}),
            "follow_positions where partition = 0",
            "follow_positions where partition = 1",
        ),
        (
            Work(waiting={subject: waiting(5, subject=subject) for subject in (LAST, FIRST)}),
            f"pending_subjects where subject = '{FIRST}'",
            f"pending_subjects where subject = '{LAST}'",
        ),
        (
            Work(states(Known(LAST, 5, {}), Known(FIRST, 5, {}))),
            f"projected_versions where subject = '{FIRST}' and generation = 2",
            f"projected_versions where subject = '{LAST}' and generation = 1",
        ),
    ],
    ids=["positions", "who waits", "versions, beside a build"],
)
async def test_rows_are_locked_in_one_order_so_that_no_two_transactions_wait_in_a_ring(
    followed: Following, work: Work, before: str, after: str
) -> None:
    await make_live(followed.database, generation=2, status="building")
    await followed.settle(work)
    waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"

    async def is_held_up() -> None:
        assert await followed.database.fetchval(waits) == 1

    async with followed.database.pool.acquire() as conn, conn.transaction():
        assert await conn.fetch(f"select from {before} for update")
        settling = asyncio.create_task(followed.settle(work))
        await eventually(is_held_up)
        assert await conn.fetch(f"select from {after} for update skip locked")
    await settling


async def test_a_heartbeat_from_the_future_gives_way_to_a_true_one(followed: Following) -> None:
    true = datetime.now(UTC)
    await followed.settle(Work(positions={0: Position(5, true + timedelta(hours=1))}))
    await followed.settle(Work(positions={0: Position(6)}))
    assert (await followed.position(0))["heartbeat_at"] == true + timedelta(hours=1)
    await followed.settle(Work(positions={0: Position(7, true)}))
    assert (await followed.position(0))["heartbeat_at"] == true


@pytest.mark.parametrize(
    ("known", "rewound"), [({0: 5}, False), ({0: 4}, False), ({0: 6}, True), ({3: 1}, True)]
)
async def test_a_database_behind_what_was_committed_is_noticed_and_nothing_is_written(
    followed: Following, known: dict[int, int], rewound: bool
) -> None:
    await followed.settle(Work(positions={0: Position(5)}))
    work = Work(states(Known(PERSON, 1, {})), positions={0: Position(9)}, known_offsets=known)
    if rewound:
        with pytest.raises(Rewound):
            await followed.settle(work)
    else:
        await followed.settle(work)
    assert (await followed.position(0))["next_offset"] == (5 if rewound else 9)
    assert await followed.copies.versions() == ({} if rewound else {PERSON: 1})


class Noting(Copies):
    """Notes whether the transaction that it applies in was told not to wait for the disk."""

    hasty = False

    async def apply(self, conn: Connection, generation: int, states: Sequence[Applicable]) -> None:
        source = await conn.fetchval("select source from pg_settings where name = 'synchronous_commit'")
        self.hasty = source == "session"
        await super().apply(conn, generation, states)


PERSON_KNOWN, PERSON_ERASED = Known(PERSON, 1, {}), Erased(PERSON, 1)


@pytest.mark.parametrize(
    ("work", "durable", "hasty"),
    [
        (Work(states(PERSON_KNOWN)), True, False),
        (Work(states(PERSON_KNOWN)), False, True),
        (Work(states(PERSON_KNOWN), positions={0: Position(2)}, known_offsets={0: 1}), False, True),
        (Work(states(PERSON_KNOWN), positions={1: Position(2)}, known_offsets={0: 1}), False, True),
        (
            Work(states(PERSON_KNOWN), positions={0: Position(2, gap=True)}, known_offsets={0: 1}),
            False,
            False,
        ),
        (Work(states(PERSON_ERASED)), False, False),
    ],
    ids=[
        "durable",
        "not durable",
        "a known partition",
        "the first position of a partition",
        "a gap",
        "an erasure",
    ],
)
async def test_a_commit_waits_for_the_disk_where_it_must(
    followed: Following, work: Work, durable: bool, hasty: bool
) -> None:
    noting = Noting(followed.database)
    await followed.settle(Work(positions={0: Position(1)}))
    followed.projection = noting.projection(OwnedStates(), durable=durable)
    await followed.settle(work)
    assert noting.hasty == hasty


async def test_what_is_not_durable_does_not_wait_for_the_disk_unless_told_to(followed: Following) -> None:
    projection = followed.copies.projection(OwnedStates(), durable=False)
    told = "select source = 'session' from pg_settings where name = 'synchronous_commit'"
    async with followed.database.pool.acquire() as conn:
        async with applying(conn, projection, []):
            assert await conn.fetchval(told)
        async with applying(conn, projection, [], durably=True):
            assert not await conn.fetchval(told)


async def test_a_batch_without_states_is_no_news(followed: Following) -> None:
    settled = await followed.settle(Work(waiting={PERSON: waiting(5)}), one_by_one=True)
    assert settled == Settled({}, frozenset(), {PERSON: waiting(5)})
