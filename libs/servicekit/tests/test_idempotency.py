# ruff: noqa: PT012 - it is the whole transaction that raises
import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from cv_contracts.faults import Fault, Precondition, Unavailable
from cvhub.testing import FreshDatabase
from servicekit.caller import Caller, Organisation, User
from servicekit.data.idempotency import REPLAY_HEADER, FirstAnswer, RequestKey, RequestLog
from servicekit.data.postgres import Database
from servicekit.testing import eventually
from servicekit.web.calls import request_id_of

pytestmark = pytest.mark.infra

SUBJECT = UUID("3f1c0000-0000-4000-8000-000000000001")
KEY = RequestKey("client", Organisation(1, "101"), 11, SUBJECT, "request-1")
LOG = RequestLog(b"a secret of the tests")
BODY = b'{"a": 1}'
FIRST = FirstAnswer(200, b'{"MessageIdentifier": 1}', {"etag": '"5"'})


@pytest_asyncio.fixture
async def database(fresh_database: FreshDatabase) -> AsyncIterator[Database]:
    settings = await fresh_database("servicekit.migrations")
    database = await Database.connect(settings.model_copy(update={"pool_max": 8}), "test")
    yield database
    await database.close()


async def ask(
    database: Database, key: RequestKey | None = KEY, body: bytes = BODY, log: RequestLog = LOG
) -> FirstAnswer:
    async with database.write("subject") as tx:
        first = await log.replay(tx, key, body)
        return first or await log.remember(tx, key, body, FIRST)


async def age(database: Database, days: float) -> None:
    await database.execute(
        "update request_log set answered_at = answered_at - $1::interval", timedelta(days=days)
    )


async def test_the_same_request_gets_the_first_answer_again(
    database: Database, told: Callable[[], dict[str, float]]
) -> None:
    assert await ask(database) == FIRST
    again = await ask(database)
    assert told()["requests.replayed"] == 1
    assert (again.status, again.body) == (FIRST.status, FIRST.body)
    assert again.headers == {"etag": '"5"', "x-idempotent-replay": "true"}


async def test_the_same_id_with_another_body_is_refused_with_412(database: Database) -> None:
    await ask(database)
    with pytest.raises(Precondition) as refused:
        await ask(database, body=b'{"a": 2}')
    assert refused.value.status == 412


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, client="other"),
        replace(KEY, organisation=Organisation(4, "101")),
        replace(KEY, organisation=Organisation(1, "147")),
        replace(KEY, method=12),
        replace(KEY, subject=uuid4()),
        replace(KEY, request_id="request-2"),
    ],
)
async def test_an_id_is_unique_per_client_organisation_method_and_citizen(
    database: Database, other: RequestKey
) -> None:
    await ask(database)
    assert await ask(database, other, b'{"a": 2}') == FIRST


async def test_without_an_id_nothing_is_remembered(database: Database) -> None:
    await ask(database, None)
    assert await ask(database, None) == FIRST
    assert await database.fetchval("select count(*) from request_log") == 0


async def test_a_write_that_is_rolled_back_is_not_remembered(database: Database) -> None:
    with pytest.raises(LookupError):
        async with database.write("subject") as tx:
            await LOG.remember(tx, KEY, BODY, FIRST)
            raise LookupError
    assert await ask(database, body=b"other") == FIRST


@pytest.mark.parametrize("request_id", ["x" * 47, "", "xxx\tx", "xxxø", " xxx", "xxx ", "xxx\n"])
def test_an_id_that_is_too_long_or_not_a_headers_text_is_fault_1014_and_not_quoted(request_id: str) -> None:
    with pytest.raises(Fault) as fault:
        request_id_of({"x-requestid": request_id})
    assert fault.value.code == 1014
    assert [error.element for error in fault.value.errors] == ["x-requestId"]
    assert "xxx" not in fault.value.errors[0].reason


@pytest.mark.parametrize("request_id", ["x", "x" * 46, "Sag 12/2026, {1}~"])
def test_an_id_of_1_to_46_characters_is_taken(request_id: str) -> None:
    assert request_id_of({"x-requestid": request_id}) == request_id


def test_without_an_id_there_is_no_key_and_nothing_wrong() -> None:
    organisation = KEY.organisation
    caller = Caller("client", organisation, organisation, organisation, User("name", 3, "user"))
    assert request_id_of({}) is None
    assert RequestKey.of(caller, 11, SUBJECT, None) is None
    assert RequestKey.of(caller, 11, SUBJECT, "request-1") == KEY


def test_neither_the_id_nor_its_hashes_are_in_what_is_logged_of_a_request() -> None:
    name = LOG.name(KEY, BODY)
    assert name is not None
    assert "request-1" not in repr(KEY)
    assert repr(name) == f"RequestName(subject={SUBJECT!r})"


def test_a_request_is_remembered_under_the_same_name_by_every_release() -> None:
    """With another name, a request that is sent again after an upgrade would be done twice."""
    name = LOG.name(KEY, BODY)
    assert name is not None
    assert name.request.hex() == "dc67a00793ca46262e6622be514160ae63df60f26052b2e9987148fd0e47a146"
    assert name.body_hash.hex() == "741afb6f499355a59e9b191ba117d6521c9b12cbeee5a4cec51b7e53e46653a5"


async def test_fifty_identical_requests_at_once_run_once(database: Database) -> None:
    answers = await asyncio.gather(*(ask(database) for _ in range(50)))
    assert sum("x-idempotent-replay" not in answer.headers for answer in answers) == 1
    assert {answer.body for answer in answers} == {FIRST.body}


async def test_two_at_once_under_different_locks_still_run_once(database: Database) -> None:
    async with database.write("one") as tx:
        await LOG.remember(tx, KEY, BODY, FIRST)
        other = asyncio.create_task(_remember_under_another_lock(database))
        await eventually(lambda: _one_waits(database))
    with pytest.raises(Unavailable) as refused:
        await other
    assert refused.value.headers()["retry-after"] == "1"


async def _one_waits(database: Database) -> None:
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    assert await database.fetchval(waiting) == 1


async def _remember_under_another_lock(database: Database) -> None:
    async with database.write("two") as tx:
        assert await LOG.replay(tx, KEY, BODY) is None
        await LOG.remember(tx, KEY, BODY, FIRST)


async def test_an_answer_is_remembered_for_7_days(database: Database) -> None:
    await ask(database)
    await age(database, 6.99)
    assert "x-idempotent-replay" in (await ask(database)).headers
    await age(database, 0.02)
    assert await ask(database, body=b"other") == FIRST
    assert "x-idempotent-replay" in (await ask(database, body=b"other")).headers


async def test_at_exactly_7_days_an_answer_is_forgotten_and_its_place_free(database: Database) -> None:
    await ask(database)
    async with database.write("subject") as tx:
        await tx.conn.execute("update request_log set answered_at = now() - interval '7 days'")
        assert await LOG.replay(tx, KEY, b"other") is None
        await LOG.remember(tx, KEY, b"other", FIRST)


@pytest.mark.parametrize("days", [-8, 8])
async def test_a_host_whose_clock_is_wrong_has_nothing_done_twice(database: Database, days: int) -> None:
    other = replace(KEY, request_id="request-2")
    await ask(database)
    async with database.write("subject") as tx:
        tx.now += timedelta(days=days)
        assert await LOG.replay(tx, KEY, BODY) is not None
        await LOG.remember(tx, other, BODY, FIRST)
    assert REPLAY_HEADER in (await ask(database, other)).headers


async def test_two_who_clean_at_once_do_not_wait_for_each_other(database: Database) -> None:
    await ask(database)
    await ask(database, replace(KEY, request_id="request-2"))
    await age(database, 8)
    async with database.write("another") as tx:
        await tx.conn.execute("select from request_log order by request limit 1 for update")
        assert await asyncio.wait_for(LOG.clean(database), 4) == 1


async def test_what_is_older_is_forgotten_in_chunks(database: Database) -> None:
    await database.execute(
        "insert into request_log (request, body_hash, status, body, headers, answered_at) "
        "select int4send(n), '', 200, '', '{}', now() - interval '8 days' from generate_series(1, 2500) n"
    )
    await ask(database)
    assert await LOG.clean(database) == 2500
    assert await database.fetchval("select count(*) from request_log") == 1


async def test_neither_the_id_nor_the_body_can_be_found_out_from_the_table(database: Database) -> None:
    await ask(database)
    await ask(database, log=RequestLog(b"another secret of tests"))
    rows = await database.fetch("select request, body_hash from request_log")
    assert len({row["request"] for row in rows}) == len({row["body_hash"] for row in rows}) == 2
    assert all(b"request-1" not in row["request"] for row in rows)


def test_a_secret_shorter_than_16_bytes_is_refused() -> None:
    RequestLog(bytes(16))
    with pytest.raises(ValueError, match="16 bytes"):
        RequestLog(bytes(15))
