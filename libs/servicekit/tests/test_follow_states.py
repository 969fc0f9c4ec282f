"""Following over TCP: versions, erasures, and owners that are away, slow, behind or know nothing."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from cvhub.testing import FreshDatabase
from servicekit.data.consistency import ConsistencyToken
from servicekit.data.postgres import Database
from servicekit.follow.follower import Follower
from servicekit.follow.testing import Copies, EventLog, OwnedStates, changed, following, make_live
from servicekit.settings import KafkaSettings
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

PERSON, OTHER, LAST = uuid4(), uuid4(), uuid4()


class Followed:
    """One follower of one owner, with the log between them."""

    def __init__(self, database: Database, kafka: KafkaSettings, log: EventLog, copies: Copies) -> None:
        self.database = database
        self.kafka = kafka
        self.log = log
        self.copies = copies
        self.owner = OwnedStates()

    def follower(
        self,
        fetch_timeout: timedelta = timedelta(seconds=5),
        pause: timedelta = timedelta(0),
        applied: Callable[[], None] | None = None,
    ) -> Follower:
        projection = self.copies.projection(
            self.owner, fetch_timeout=fetch_timeout, pause=pause, applied=applied
        )
        return Follower(self.database, self.kafka, "cv-status", [projection])

    async def all_read(self) -> None:
        """Send one more event to each partition of which something is awaited, and wait until it is applied."""
        await self.log.send(self.owner.put(LAST, 1_000_000))
        await self.has({LAST: 1_000_000})

    async def has(self, expected: dict[UUID, int]) -> None:
        async def check() -> bool:
            # No assertion: pytest would take seconds to show how hundreds differ, again and again.
            versions = await self.copies.versions()
            return {s: versions.get(s) for s in expected} == expected

        await eventually(check)

    async def pending(self, expected: dict[UUID, str]) -> None:
        async def check() -> None:
            rows = await self.database.fetch("select subject, reason from pending_subjects")
            assert {row["subject"]: row["reason"] for row in rows} == expected

        await eventually(check)


@pytest_asyncio.fixture
async def followed(fresh_database: FreshDatabase, kafka_settings: KafkaSettings) -> AsyncIterator[Followed]:
    database = await Database.connect(await fresh_database("servicekit.migrations"), "follow-tests")
    await make_live(database)
    copies = await Copies(database).create()
    async with EventLog(kafka_settings) as log:
        yield Followed(database, kafka_settings, log, copies)
    await database.close()


async def test_events_from_before_the_groups_first_start_are_followed(followed: Followed) -> None:
    await followed.log.send(followed.owner.put(PERSON, 1))
    async with following(followed.follower()):
        await followed.has({PERSON: 1})


async def test_what_comes_during_a_pause_is_taken_together_after_it(followed: Followed) -> None:
    people = [uuid4() for _ in range(5)]
    async with following(followed.follower(pause=timedelta(seconds=1))):
        await followed.log.send(followed.owner.put(PERSON, 1))
        await followed.has({PERSON: 1})
        for person in people:
            await followed.log.send(followed.owner.put(person, 1))
        await followed.has(dict.fromkeys(people, 1))
    assert len(followed.owner.asked) < 1 + len(people)


async def test_a_read_that_waits_ends_a_pause(followed: Followed) -> None:
    follower = followed.follower(pause=timedelta(minutes=5))
    async with following(follower):
        await followed.log.send(followed.owner.put(PERSON, 1))
        await followed.has({PERSON: 1})
        second = followed.owner.put(PERSON, 2)
        await followed.log.send(second)
        token = ConsistencyToken.of(second)
        await eventually(lambda: follower.applied.wait_for(token, timedelta(seconds=1)))


async def test_only_a_batch_with_news_is_told_of(followed: Followed) -> None:
    seen: list[int] = []

    def note() -> None:
        seen.append(len(seen))

    async with following(followed.follower(applied=note)):
        event = followed.owner.put(PERSON, 1)
        await followed.log.send(event)
        await eventually(lambda: seen[0])
        assert await followed.copies.versions() == {PERSON: 1}
        before = len(seen)
        await followed.log.send(event, event)
        await followed.all_read()
        await eventually(lambda: seen[before])
    assert len(seen) == before + 1


async def test_many_events_of_a_batch_are_one_question_to_the_owner(followed: Followed) -> None:
    people = [uuid4() for _ in range(200)]
    events = [followed.owner.put(person, version) for version in (1, 2) for person in people]
    await followed.log.send(*events)
    async with following(followed.follower()):
        await followed.has(dict.fromkeys(people, 2))
    assert len(followed.owner.asked) <= 20, (
        "a fetch may bring a part of a partition only, never one record at a time"
    )
    assert all(len(asked) == len(set(asked)) <= 500 for asked in followed.owner.asked)


async def test_duplicates_and_old_versions_change_nothing(followed: Followed) -> None:
    event = followed.owner.put(PERSON, 20)
    async with following(followed.follower()):
        await followed.log.send(event)
        await followed.has({PERSON: 20})
        for late in (event, event, changed(PERSON, 3), changed(PERSON, 19)):
            await followed.log.send(late)
        await followed.all_read()
        await followed.has({PERSON: 20})
    assert await followed.copies.doubled() == 0


async def test_old_records_read_again_cost_no_question_to_the_owner(followed: Followed) -> None:
    old = changed(PERSON, 20).model_copy(update={"time": datetime.now(UTC) - timedelta(hours=1)})
    followed.owner.put(PERSON, 20)
    async with following(followed.follower()):
        await followed.log.send(old)
        await followed.has({PERSON: 20})
        await followed.log.send(old, old)
        await followed.all_read()
    assert sum(asked.count(PERSON) for asked in followed.owner.asked) == 1


async def test_events_out_of_order_lead_to_the_newest_state(followed: Followed) -> None:
    followed.owner.put(PERSON, 9)
    async with following(followed.follower()):
        for version in (5, 9, 2, 7):
            await followed.log.send(changed(PERSON, version))
        await followed.all_read()
        await followed.has({PERSON: 9})
    assert await followed.copies.doubled() == 0


async def test_an_erasure_is_applied_as_one_and_the_old_state_does_not_come_back(followed: Followed) -> None:
    async with following(followed.follower()):
        await followed.log.send(followed.owner.put(PERSON, 1), followed.owner.put(OTHER, 1))
        await followed.has({PERSON: 1, OTHER: 1})
        await followed.log.send(followed.owner.erase(PERSON, 2))

        async def gone() -> None:
            assert PERSON not in await followed.copies.versions()

        await eventually(gone)
        followed.owner.put(PERSON, 1)
        await followed.log.send(changed(PERSON, 1))
        await followed.all_read()
        await gone()
        await followed.has({OTHER: 1})


async def test_unknown_is_never_an_erasure(followed: Followed) -> None:
    """An owner restored empty makes nobody forget."""
    async with following(followed.follower()):
        await followed.log.send(followed.owner.put(PERSON, 1))
        await followed.has({PERSON: 1})
        followed.owner.states.clear()
        await followed.log.send(changed(PERSON, 2))
        await followed.pending({PERSON: "owner-unknown"})
        await followed.has({PERSON: 1})
        followed.owner.put(PERSON, 2)
        await followed.has({PERSON: 2})
        await followed.pending({})


async def test_while_the_owner_is_down_subjects_wait_and_then_converge_by_themselves(
    followed: Followed,
) -> None:
    followed.owner.trouble = ConnectionRefusedError()
    async with following(followed.follower()):
        await followed.log.send(followed.owner.put(PERSON, 1), followed.owner.put(OTHER, 2))
        await followed.pending({PERSON: "owner-unreachable", OTHER: "owner-unreachable"})
        assert await followed.copies.versions() == {}
        await followed.log.send(followed.owner.put(PERSON, 3))
        await eventually(lambda: _pending_version(followed, 3))
        followed.owner.trouble = None
        await followed.has({PERSON: 3, OTHER: 2})
        await followed.pending({})


async def test_an_owner_that_is_too_slow_is_an_owner_that_is_down(followed: Followed) -> None:
    followed.owner.delay = timedelta(seconds=30)
    async with following(followed.follower(fetch_timeout=timedelta(milliseconds=100))):
        await followed.log.send(followed.owner.put(PERSON, 1))
        await followed.pending({PERSON: "owner-unreachable"})
        followed.owner.delay = timedelta(0)
        await followed.has({PERSON: 1})
        await followed.pending({})


async def test_an_owner_slower_than_usual_delays_but_loses_nothing(followed: Followed) -> None:
    followed.owner.delay = timedelta(milliseconds=300)
    async with following(followed.follower()):
        await followed.log.send(followed.owner.put(PERSON, 1))
        await followed.has({PERSON: 1})
    assert await followed.database.fetchval("select count(*) from pending_subjects") == 0


async def test_an_older_version_than_announced_is_applied_and_asked_for_again(followed: Followed) -> None:
    async with following(followed.follower()):
        followed.owner.put(PERSON, 4)
        await followed.log.send(changed(PERSON, 5))
        await followed.pending({PERSON: "owner-older"})
        await followed.has({PERSON: 4})
        followed.owner.put(PERSON, 5)
        await followed.has({PERSON: 5})
        await followed.pending({})


async def test_a_subject_left_out_of_the_answer_waits(followed: Followed) -> None:
    followed.owner.silent.add(PERSON)
    async with following(followed.follower()):
        await followed.log.send(followed.owner.put(PERSON, 4), followed.owner.put(OTHER, 1))
        await followed.pending({PERSON: "owner-silent"})
        await followed.has({OTHER: 1})


async def test_one_state_that_cannot_be_applied_waits_alone(followed: Followed) -> None:
    people = [uuid4() for _ in range(50)]
    followed.copies.poison.add(PERSON)
    events = [followed.owner.put(person, 1) for person in people]
    await followed.log.send(*events[:25], followed.owner.put(PERSON, 1), *events[25:])
    async with following(followed.follower()):
        await followed.has(dict.fromkeys(people, 1))
        await followed.pending({PERSON: "not-applied"})
        followed.copies.poison.clear()
        await followed.has({PERSON: 1})
        await followed.pending({})
    assert await followed.copies.doubled() == 0


async def test_a_generation_being_built_gets_every_batch_as_the_live_one_does(followed: Followed) -> None:
    async with following(followed.follower()):
        await followed.log.send(followed.owner.put(PERSON, 1))
        await followed.has({PERSON: 1})
        await make_live(followed.database, generation=2, status="building")
        await followed.log.send(followed.owner.put(PERSON, 2), followed.owner.put(OTHER, 1))
        await followed.has({PERSON: 2, OTHER: 1})
        assert await followed.copies.versions(generation=2) == {PERSON: 2, OTHER: 1}


async def test_a_retired_generation_gets_nothing_more(followed: Followed) -> None:
    await make_live(followed.database, generation=0, status="retired")
    async with following(followed.follower()):
        await followed.log.send(followed.owner.put(PERSON, 1))
        await followed.has({PERSON: 1})
    assert await followed.copies.versions(generation=0) == {}


async def _pending_version(followed: Followed, version: int) -> None:
    query = "select version from pending_subjects where subject = $1"
    assert await followed.database.fetchval(query, PERSON) == version
