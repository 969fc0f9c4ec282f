"""A ReplaceCV whose citizen, CV or asylum dates change while its contact data are prepared: decided again, never lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cv_citizens.testing import JOBCENTER, a_caller
from cv_registry.contact_testing import ContactOwner
from cv_registry.replacing import ATTEMPTS
from cv_registry.store_cvs import CvStore
from cv_registry.testing import RegistryClient, a_citizen, a_cv, in_window, with_cv
from servicekit.data.postgres import Database
from servicekit.testing import eventually

pytestmark = pytest.mark.infra

AT_THE_JOBCENTER = a_caller(JOBCENTER)
BY_ID = pytest.mark.parametrize("request_id", [None, "r1"])
LATER_WINDOW = {
    "AsylumCVTransitionDate": "2026-11-24",
    "CVEditEndDate": "2026-11-25",
    "CorrectionComment": "Flytter senere",
}

Change = Callable[[], Awaitable[Any]]


@pytest.fixture
def registry(registry_with_contacts: RegistryClient) -> RegistryClient:
    return registry_with_contacts


@BY_ID
async def test_another_replace_comes_first_and_both_are_kept(
    registry: RegistryClient, database: Database, owner: ContactOwner, request_id: str | None
) -> None:
    number = (await with_cv(registry))["personNumber"]
    owner.meanwhile = lambda: registry.replace(number)
    assert (await registry.replace(number, x_requestid=request_id)).status_code == 200
    versions = [r["version"] for r in await database.fetch("SELECT version FROM outbox ORDER BY seq")][-3:]
    assert versions == sorted(set(versions))
    assert await database.fetchval("SELECT count(*) FROM cv_revisions") == 3


async def test_a_request_come_again_is_not_refused_because_of_its_first_try(
    registry: RegistryClient, database: Database, owner: ContactOwner
) -> None:
    """The first try waits for a move of the CV and decides anew; who repeats it waits, and must not judge what was before."""
    number = (await with_cv(registry))["personNumber"]
    moving, moved = asyncio.Event(), asyncio.Event()

    async def move() -> None:
        async with database.write(CvStore.lock(number)) as tx:
            moving.set()
            await moved.wait()
            await tx.conn.execute(
                "UPDATE cvs SET version = cvs.version + 1 FROM citizens c WHERE c.cv_id = cvs.cv_id AND person_number = $1",
                number,
            )

    async def replaced_twice() -> list[int]:
        first = asyncio.create_task(registry.replace(number, x_requestid="r1"))
        await _waits_for_a_lock(database, 1)
        again = asyncio.create_task(registry.replace(number, x_requestid="r1"))
        await _waits_for_a_lock(database, 2)
        moved.set()
        return [answer.status_code for answer in await asyncio.gather(first, again)]

    async with asyncio.TaskGroup() as others:

        async def begun() -> None:
            others.create_task(move())
            await moving.wait()

        owner.meanwhile = begun
        assert await replaced_twice() == [200, 200]
    assert await database.fetchval("SELECT count(*) FROM cv_revisions") == 2


async def _waits_for_a_lock(database: Database, number: int) -> None:
    query = """
    SELECT count(*) >= $1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"""
    await eventually(lambda: database.fetchval(query, number))


@BY_ID
@pytest.mark.parametrize("mode", ["ok", "unchanged"])
async def test_who_comes_after_another_replace_commits_contact_data_that_are_prepared_after_its_own(
    registry: RegistryClient, database: Database, owner: ContactOwner, mode: str, request_id: str | None
) -> None:
    """Of two prepared changes contact-verification keeps the one with the higher version, whichever came last."""
    number = (await with_cv(registry))["personNumber"]
    owner.mode = mode

    async def another() -> None:
        owner.mode = "ok"
        contact = {"E-mail": "den.anden@example.com"}
        assert (await registry.replace(number, a_cv(ContactInformation=contact))).status_code == 200

    owner.meanwhile = another
    contact = {"E-mail": "den.sidste@example.com"}
    answer = await registry.replace(number, a_cv(ContactInformation=contact), x_requestid=request_id)
    assert answer.status_code == 200
    last = max(owner.prepared, key=lambda prepared: prepared["version"])
    assert last["values"] == {"3": "den.sidste@example.com"}
    [committed] = await database.fetch("SELECT prepare_id::text, contact_version FROM cvs")
    assert tuple(committed) == (last["prepareId"], last["version"])
    profile = (await registry.get(number)).json()["CVProfile"]
    assert profile["PersonalData"]["ContactInformation"] == contact


@BY_ID
async def test_a_replace_that_others_overtake_again_and_again_is_4823(
    registry: RegistryClient, database: Database, owner: ContactOwner, request_id: str | None
) -> None:
    number = (await with_cv(registry))["personNumber"]

    async def another() -> None:
        assert (await registry.replace(number)).status_code == 200
        owner.meanwhile = another

    owner.meanwhile = another
    answer = await registry.replace(number, x_requestid=request_id)
    assert answer.json()["code"] == 4823
    assert await database.fetchval("SELECT count(*) FROM cv_revisions") == 1 + ATTEMPTS


@BY_ID
async def test_the_first_cv_is_created_by_another(
    registry: RegistryClient, database: Database, owner: ContactOwner, request_id: str | None
) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    owner.meanwhile = lambda: registry.replace(citizen["personNumber"])
    assert (await registry.replace(citizen["personNumber"], x_requestid=request_id)).status_code == 200
    assert await database.fetchval("SELECT count(*) FROM cvs") == 1
    assert await database.fetchval("SELECT count(*) FROM cv_revisions") == 2


@BY_ID
async def test_a_citizen_who_changes_otherwise_keeps_the_replace(
    registry: RegistryClient, database: Database, owner: ContactOwner, request_id: str | None
) -> None:
    citizen = await with_cv(registry)
    changed = {**a_citizen(personNumber=citizen["personNumber"]), "sourceVersion": 2}
    owner.meanwhile = lambda: registry.register(changed)
    answer = await registry.replace(citizen["personNumber"], x_requestid=request_id)
    assert answer.status_code == 200
    assert await database.fetchval("SELECT count(*) FROM cv_revisions") == 2


@BY_ID
async def test_who_changed_the_cv_under_an_etag_is_told_412(
    registry: RegistryClient, owner: ContactOwner, request_id: str | None
) -> None:
    number = (await with_cv(registry))["personNumber"]
    etag = (await registry.get(number)).headers["etag"]
    owner.meanwhile = lambda: registry.replace(number)
    assert (await registry.replace(number, x_requestid=request_id, if_match=etag)).status_code == 412


@BY_ID
@pytest.mark.parametrize("change", [("dies", 4405), ("is archived", 4753), ("gets a later window", 9231)])
async def test_who_may_not_replace_any_more_is_told_why_and_nothing_is_written(
    registry: RegistryClient,
    database: Database,
    owner: ContactOwner,
    change: tuple[str, int],
    request_id: str | None,
) -> None:
    what, code = change
    citizen = await in_window(registry)
    number = citizen["personNumber"]
    assert (await registry.replace(number, caller=AT_THE_JOBCENTER)).status_code == 200
    cv_id = await database.fetchval("SELECT cv_id FROM cvs")
    changes: dict[str, Change] = {
        "dies": lambda: registry.register({**citizen, "dead": True, "sourceVersion": 2}),
        "is archived": lambda: registry.move(cv_id, "ARCHIVED"),
        "gets a later window": lambda: registry.asylum("PUT", number, LATER_WINDOW, caller=AT_THE_JOBCENTER),
    }
    owner.meanwhile = changes[what]
    answer = await registry.replace(number, caller=AT_THE_JOBCENTER, x_requestid=request_id)
    assert answer.json()["code"] == code
    assert await database.fetchval("SELECT count(*) FROM cv_revisions") == 1
