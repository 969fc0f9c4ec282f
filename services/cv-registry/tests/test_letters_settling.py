"""Which letters are settled, and which answers of a print service are believed."""

import asyncio
import base64
import json
import socket
import sys
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from cv_citizens.documents import Documents
from cv_citizens.testing import a_caller
from cv_contracts.events.cv_registry import AccountLetterSent
from cv_contracts.ids import CvId, PersonId
from cv_registry.calls import WriteCall
from cv_registry.letters import METHOD, AccountLetters
from cv_registry.passwords import Passwords
from cv_registry.printing import HttpPrintService, NotTaken, Unsure
from cv_registry.store_letters import Letter, LetterStore
from cv_registry.testing import RegistryClient, a_citizen
from servicekit.data.access_log import AccessLog
from servicekit.data.idempotency import RequestLog
from servicekit.data.postgres import Database
from servicekit.publish.outbox import Outbox
from servicekit.testing import eventually
from servicekit.web.standin_testing import reply

pytestmark = pytest.mark.infra


class Printer:
    """A print service that takes what is handed over, and lets something happen elsewhere while it is asked."""

    def __init__(self) -> None:
        self.taken: list[UUID] = []
        self.withdrawn: list[UUID] = []
        self.meanwhile: list[Any] = []

    async def hand_over(self, letter_id: UUID, pdf: bytes) -> None:
        assert pdf
        self.taken.append(letter_id)
        await self._let_happen()

    async def withdraw(self, letter_id: UUID) -> bool:
        if letter_id in self.taken:
            return False
        self.withdrawn.append(letter_id)
        await self._let_happen()
        return True

    async def _let_happen(self) -> None:
        steps, self.meanwhile = self.meanwhile, []
        for step in steps:
            await step


def account_letters(database: Database, printer: Printer) -> AccountLetters:
    async def rendered(_path: str, _body: Any) -> Any:
        return {"pdf": base64.b64encode(b"%PDF").decode()}

    return AccountLetters(
        store=LetterStore(database, Outbox()),
        request_log=RequestLog(b"a secret for tests only"),
        print_service=printer,
        access_log=AccessLog(database),
        documents=Documents(rendered),
        passwords=Passwords(),
        clock=lambda: datetime.now(UTC),
    )


async def test_a_letter_that_somebody_else_settled_meanwhile_is_left_alone_and_so_is_the_next_one(
    registry: RegistryClient, database: Database
) -> None:
    store, printer = LetterStore(database, Outbox()), Printer()
    letters = account_letters(database, printer)
    people = [await a_person(registry) for _ in range(2)]
    first, second, third = (Letter(uuid4(), one[0], one[1], None) for one in (*people, people[1]))
    assert await store.begin(first, people[0][2], "hash")
    assert await store.begin(second, people[1][2], "hash")
    assert not await store.begin(third, people[0][2], "hash"), "that is another citizen's number"
    printer.meanwhile = [store.fail(second), store.begin(third, people[1][2], "hash")]
    assert await letters.settle_left() == 1
    assert printer.withdrawn == [first.id]
    assert await store.all_sending(9) == [third]


async def test_a_letter_that_is_settled_already_keeps_its_login(
    registry: RegistryClient, database: Database
) -> None:
    """As where the database restarts while a letter is handed over: the lock that keeps others from it is gone."""
    store = LetterStore(database, Outbox())
    person, cv_id, number = await a_person(registry)
    earlier, letter = (Letter(uuid4(), person, cv_id, None) for _ in range(2))
    for one in (earlier, letter):
        assert await store.begin(one, number, "hash")
        assert await make_valid(store, one)
    for again in (earlier, letter):
        assert not await make_valid(store, again)
    assert await states(database) == {earlier.id: "replaced", letter.id: "valid"}


async def test_a_letter_that_is_withdrawn_at_the_last_moment_takes_nothing_from_the_login_that_is_valid(
    registry: RegistryClient, database: Database
) -> None:
    store = LetterStore(database, Outbox())
    person, cv_id, number = await a_person(registry)
    valid, withdrawn = (Letter(uuid4(), person, cv_id, None) for _ in range(2))
    assert await store.begin(valid, number, "hash")
    assert await make_valid(store, valid)
    assert await store.begin(withdrawn, number, "hash")
    async with database.pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT FROM account_letters WHERE letter_id = $1 FOR UPDATE", valid.id)
        making = asyncio.create_task(make_valid(store, withdrawn))
        await eventually(lambda: waiting(database, 1))
        failing = asyncio.create_task(store.fail(withdrawn))
        await eventually(lambda: waiting(database, 1 if failing.done() else 2))
    made = await making
    await failing
    assert await states(database) == {
        valid.id: "replaced" if made else "valid",
        withdrawn.id: "valid" if made else "failed",
    }


async def test_who_lost_the_lock_while_handing_a_letter_over_gives_the_receipt_of_whoever_settled_it(
    registry: RegistryClient, database: Database
) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    printer = Printer()
    letters, others = (account_letters(database, printer) for _ in range(2))

    async def restarted() -> None:
        await database.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        await eventually(settled_by_others)

    async def settled_by_others() -> None:
        assert await others.settle_left() == 1

    printer.meanwhile = [restarted()]
    answer = await letters.create(WriteCall(METHOD, a_caller(), citizen["personNumber"], "one"), b"")
    assert answer.status == 200
    assert answer.headers["x-idempotent-replay"] == "true"
    assert await states(database) == {printer.taken[0]: "valid"}
    assert await database.fetchval("SELECT count(*) FROM outbox WHERE aggregatetype LIKE '%letter%'") == 1


async def make_valid(store: LetterStore, letter: Letter) -> bool:
    async with store.database.write(store.lock(letter.cv_id)) as tx:
        version = tx.version_after(None)
        event = AccountLetterSent(id=uuid4(), subject=letter.cv_id, version=version, time=tx.now)
        return await store.make_valid(tx, letter, event)


async def waiting(database: Database, expected: int) -> None:
    found = await database.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    assert found == expected


async def states(database: Database) -> dict[UUID, str]:
    rows = await database.fetch("SELECT letter_id, state FROM account_letters")
    return {row["letter_id"]: row["state"] for row in rows}


async def a_person(registry: RegistryClient) -> tuple[PersonId, CvId, str]:
    (ids,) = await registry.register(a_citizen())
    return PersonId(UUID(ids["personId"])), CvId(UUID(ids["cvId"])), ids["cvNumber"]


async def test_without_a_print_service_it_is_4431_and_nothing_has_been_sent(registry: RegistryClient) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    answer = await registry.letter(citizen["personNumber"])
    assert (answer.status_code, answer.json()["code"]) == (502, 4431)
    nobody = HttpPrintService("http://127.0.0.1:9", None, 1)
    async with nobody:
        with pytest.raises(NotTaken):
            await nobody.hand_over(uuid4(), b"%PDF")
        with pytest.raises(Unsure):
            await nobody.withdraw(uuid4())


@pytest.mark.parametrize(
    ("status", "about", "handed_over", "withdrawn"),
    [
        ("200 OK", "another letter", "taken", "withdrawn"),
        ("200 OK", "this letter", "withdrawn", "taken"),
        ("409 Conflict", "another letter", "taken", "taken"),
        ("409 Conflict", "this letter", "taken", "withdrawn"),
    ],
)
async def test_an_answer_about_another_letter_or_that_does_not_fit_is_not_believed(
    status: str, about: str, handed_over: str, withdrawn: str
) -> None:
    letter = uuid4()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        said = {
            "id": str(letter if about == "this letter" else uuid4()),
            "state": handed_over if head.startswith(b"PUT") else withdrawn,
        }
        writer.write(reply(json.dumps(said).encode(), status))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with HttpPrintService(url, None, 1) as service:
            with pytest.raises(Unsure):
                await service.hand_over(letter, b"%PDF")
            with pytest.raises(Unsure):
                await service.withdraw(letter)


async def test_an_answer_that_never_ends_is_waited_for_no_longer_than_any_other() -> None:
    ended: list[str] = []

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply(b"", missing=1_000).removesuffix(b"\r\n"))
        with suppress(ConnectionError):
            while True:
                writer.write(b"x-more: 1\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        ended.append("by the client")

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server, asyncio.timeout(10):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with HttpPrintService(url, None, 0.3) as service:
            with pytest.raises(Unsure):
                await service.hand_over(uuid4(), b"%PDF")
            with pytest.raises(Unsure):
                await service.withdraw(uuid4())
        await eventually(lambda: len(ended) == 2)


@pytest.mark.skipif(sys.platform != "linux", reason="a full queue of connections is silent on Linux only")
async def test_a_print_service_to_which_no_connection_comes_about_has_certainly_not_taken_the_letter() -> (
    None
):
    """Its queue of connections is full: none is refused, and none is made."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        async with AsyncExitStack() as stack:
            for _ in range(3):
                one = stack.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            url = f"http://127.0.0.1:{full.getsockname()[1]}"
            service = await stack.enter_async_context(HttpPrintService(url, None, 1))
            with pytest.raises(NotTaken, match="ConnectTimeout"):
                await service.hand_over(uuid4(), b"%PDF")
