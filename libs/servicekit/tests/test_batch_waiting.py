"""Who waits after a follower's transaction, for which version and until when; and who waits no more."""

from uuid import UUID

import pytest
import pytest_asyncio

from servicekit.data.postgres import Database
from servicekit.follow.batch import Work, settle
from servicekit.follow.batch_testing import OTHER, PERSON, Following, states, waiting
from servicekit.follow.pending import Claimed, Waiting, claim_due
from servicekit.follow.projection import Announced, Applicable
from servicekit.follow.records import Record
from servicekit.follow.states import Known
from servicekit.follow.testing import CITIZENS, Copies, OwnedStates, make_live

pytestmark = pytest.mark.infra


@pytest_asyncio.fixture
async def followed(database: Database) -> Following:
    await make_live(database)
    return Following(database, await Copies(database).create())


async def test_a_subject_waits_for_its_highest_version_and_is_tried_at_the_sooner_time(
    followed: Following,
) -> None:
    await followed.waits(waiting(5, attempts=3, delay=100))
    first = await followed.pending()
    assert (first["version"], first["attempts"], first["partition"], first["reason"]) == (
        5,
        3,
        1,
        "owner-silent",
    )
    assert 90 < first["delay"] <= 100
    await followed.waits(Waiting(Announced(PERSON, 4, None), "owner-unknown", 1, 200))
    kept = await followed.pending()
    assert (kept["version"], kept["attempts"], kept["partition"], kept["reason"]) == (
        5,
        3,
        1,
        "owner-unknown",
    )
    assert 80 < kept["delay"] <= 100
    await followed.waits(waiting(9, attempts=4, delay=10, partition=2))
    raised = await followed.pending()
    assert (raised["version"], raised["attempts"], raised["partition"]) == (9, 4, 2)
    assert raised["delay"] <= 10


async def test_who_was_tried_again_waits_longer_than_before(followed: Following) -> None:
    await followed.waits(waiting(5, delay=0))
    [claimed] = await claim_due(followed.database, followed.projection.name)
    await followed.waits(waiting(5, attempts=claimed.attempts, delay=500), retried=True)
    assert (await followed.pending())["delay"] > 400


async def test_only_who_has_reached_the_version_waited_for_waits_no_more(followed: Following) -> None:
    await followed.waits(waiting(5), waiting(6, subject=OTHER))
    await followed.settle(Work(states(Known(PERSON, 5, {}), Known(OTHER, 5, {}))))
    assert [
        row["subject"] for row in await followed.database.fetch("select subject from pending_subjects")
    ] == [OTHER]
    assert (await followed.pending(OTHER))["version"] == 6


async def test_a_retry_that_ends_after_the_subject_was_applied_leaves_nothing_that_waits(
    followed: Following,
) -> None:
    await followed.settle(Work(states(Known(PERSON, 2, {}))))
    for version in (1, 2):
        announced = Announced(PERSON, version)
        late = Waiting.after(9, announced, "owner-unreachable")
        await followed.settle(Work(announced={PERSON: announced}, waiting={PERSON: late}, retried=True))
        assert await followed.database.fetchval("select count(*) from pending_subjects") == 0


@pytest.mark.parametrize("version", [0, 3])
async def test_who_is_to_reach_more_than_was_applied_waits_and_so_does_who_is_to_reach_nobody_knows_what(
    followed: Following, version: int
) -> None:
    await followed.settle(Work(states(Known(PERSON, 2, {}))))
    await followed.waits(waiting(version), retried=True)
    assert (await followed.pending())["version"] == version


async def test_what_a_build_lacks_is_waited_for_although_the_live_one_has_it(followed: Following) -> None:
    await followed.settle(Work(states(Known(PERSON, 2, {}))))
    await make_live(followed.database, generation=2, status="building")
    await followed.waits(waiting(2), retried=True)
    assert (await followed.pending())["version"] == 2


async def test_a_retry_of_an_older_version_does_not_put_off_a_newer_one(followed: Following) -> None:
    await followed.waits(waiting(2, delay=1))
    await followed.waits(waiting(1, attempts=9, delay=300), retried=True)
    assert (await followed.pending())["delay"] <= 1


async def test_a_retry_does_not_put_off_what_a_build_raised_meanwhile(followed: Following) -> None:
    await followed.waits(waiting(1, delay=0))
    [claimed] = await claim_due(followed.database, followed.projection.name)
    await followed.database.execute("update pending_subjects set version = 2")
    await followed.waits(Waiting(claimed.announced, "owner-unknown", claimed.attempts, 300), retried=True)
    kept = await followed.pending()
    assert (kept["version"], kept["reason"]) == (2, "owner-silent")
    assert kept["delay"] <= 60


async def test_an_older_state_than_announced_is_applied_and_waited_for(followed: Following) -> None:
    await followed.waits(waiting(6))
    work = Work(states(Known(PERSON, 5, {})), waiting={PERSON: waiting(6, attempts=1)})
    settled = await followed.settle(work)
    assert settled.newly == {PERSON}
    assert (await followed.pending())["attempts"] == 1


async def test_a_waiting_row_of_another_projection_is_left_alone(followed: Following) -> None:
    other = followed.copies.projection(OwnedStates(), name="others")
    await followed.waits(waiting(5))
    await make_live(followed.database, "others")
    async with followed.database.pool.acquire() as conn:
        await settle(conn, other, Work(states(Known(PERSON, 9, {}))), one_by_one=False)
    assert (await followed.pending())["version"] == 5


async def test_who_an_unreadable_record_names_waits_although_what_was_announced_beside_it_was_had(
    followed: Following,
) -> None:
    await followed.settle(Work(states(Known(PERSON, 5, {}))))
    announced = Announced(PERSON, 5, 1)
    away = Waiting.after(0, announced, "owner-unreachable")
    record = Record(CITIZENS, 1, 7, str(PERSON).encode(), (), b"{", None, "bad-json")
    settled = await followed.settle(
        Work(announced={PERSON: announced}, waiting={PERSON: away}, unreadable=[record])
    )
    assert settled.waiting == {PERSON: away}
    assert (await followed.pending())["reason"] == "owner-unreachable"


async def test_who_waits_for_what_nobody_could_read_is_tried_ever_later_although_the_version_of_the_row_was_had(
    followed: Following,
) -> None:
    await followed.waits(waiting(3, attempts=4))
    suspect = Waiting(Announced(PERSON, 0, 1), "unreadable")
    await followed.settle(Work(states(Known(PERSON, 5, {})), waiting={PERSON: suspect}))
    kept = await followed.pending()
    assert (kept["version"], kept["attempts"], kept["reason"]) == (3, 4, "unreadable")
    [claimed] = await claim_due(followed.database, followed.projection.name)
    again = Waiting.after(claimed.attempts, claimed.announced, "owner-unknown")
    await followed.waits(again, retried=True)
    tried = await followed.pending()
    assert tried["reason"] == "owner-unknown"
    assert 10 < tried["delay"] <= 20


BAD = Record(CITIZENS, 1, 7, str(PERSON).encode(), (), b"{", None, "bad-json")
MEANWHILE = {
    "alone": Work(waiting={PERSON: Waiting(Announced(PERSON, 0, 1), "unreadable")}, unreadable=[BAD]),
    "beside one that is read again while the owner is away": Work(
        announced={PERSON: Announced(PERSON, 5, 1)},
        waiting={PERSON: Waiting.after(0, Announced(PERSON, 5, 1), "owner-unreachable")},
        unreadable=[BAD],
    ),
    "beside one of whom the owner does not know": Work(
        announced={PERSON: Announced(PERSON, 5, 1)},
        waiting={PERSON: Waiting.after(0, Announced(PERSON, 5, 1), "owner-unknown")},
        unreadable=[BAD],
    ),
}


def retry(claimed: Claimed, given: dict[UUID, Applicable]) -> Work:
    """What the retry loop writes of one that it claimed."""
    subject = claimed.announced.subject
    return Work(given, {subject: claimed.announced}, attempts={subject: claimed.attempts}, retried=True)


def failed_retry(claimed: Claimed) -> Work:
    """What it writes where the owner answered an older version than is waited for."""
    work = retry(claimed, {})
    subject = claimed.announced.subject
    work.waiting = {subject: work.wait(subject, "owner-older")}
    return work


@pytest.mark.parametrize("meanwhile", MEANWHILE)
async def test_a_retry_that_asked_before_an_unreadable_record_was_made_leaves_its_subject_waiting(
    followed: Following, meanwhile: str
) -> None:
    await followed.waits(waiting(5, delay=0))
    [claimed] = await claim_due(followed.database, followed.projection.name)
    await followed.settle(MEANWHILE[meanwhile])
    await followed.settle(retry(claimed, states(Known(PERSON, 5, {}))))
    assert (await followed.pending())["delay"] < 2
    await followed.database.execute("update pending_subjects set next_try = now()")
    [claimed] = await claim_due(followed.database, followed.projection.name)
    await followed.settle(retry(claimed, states(Known(PERSON, 5, {}))))
    assert await followed.database.fetchval("select count(*) from pending_subjects") == 0


@pytest.mark.parametrize("meanwhile", MEANWHILE)
async def test_a_retry_that_asked_before_an_unreadable_record_was_made_leaves_the_row_to_who_claimed_it_since(
    followed: Following, meanwhile: str
) -> None:
    await followed.waits(waiting(5, delay=0))
    [first] = await claim_due(followed.database, followed.projection.name)
    await followed.settle(MEANWHILE[meanwhile])
    await followed.database.execute("update pending_subjects set next_try = now()")
    [second] = await claim_due(followed.database, followed.projection.name)
    claimed = await followed.pending()
    await followed.settle(retry(first, states(Known(PERSON, 5, {}))))
    await followed.settle(failed_retry(first))
    kept = await followed.pending()
    assert (kept["next_try"], kept["reason"]) == (claimed["next_try"], claimed["reason"])
    await followed.settle(retry(second, states(Known(PERSON, 6, {}))))
    assert await followed.database.fetchval("select count(*) from pending_subjects") == 0


@pytest.mark.parametrize("meanwhile", MEANWHILE)
async def test_a_retry_that_failed_before_an_unreadable_record_was_made_does_not_put_off_what_the_record_left(
    followed: Following, meanwhile: str
) -> None:
    await followed.waits(waiting(5, attempts=9, delay=0))
    [claimed] = await claim_due(followed.database, followed.projection.name)
    await followed.settle(MEANWHILE[meanwhile])
    left = await followed.pending()
    await followed.settle(failed_retry(claimed))
    kept = await followed.pending()
    assert (kept["next_try"], kept["reason"]) == (left["next_try"], left["reason"])
