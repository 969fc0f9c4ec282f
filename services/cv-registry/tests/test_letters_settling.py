"""Which letters are settled, and which answers of a print service are believed."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from cv_contracts.ids import CvId, PersonId
from cv_registry.letters import AccountLetters
from cv_registry.printing import HttpPrintService, NotTaken, Unsure
from cv_registry.store_letters import Letter, LetterStore
from cv_registry.testing import RegistryClient, a_citizen
from servicekit.data.idempotency import RequestLog
from servicekit.data.postgres import Database
from servicekit.publish.outbox import Outbox
from servicekit.standin import reply

pytestmark = pytest.mark.infra

UNUSED = cast("Any", None)


class Printer:
    """A print service that has taken nothing, and lets something happen elsewhere while it is asked."""

    def __init__(self) -> None:
        self.withdrawn: list[UUID] = []
        self.meanwhile: list[Any] = []

    async def hand_over(self, letter_id: UUID, pdf: bytes) -> None:
        raise NotImplementedError

    async def withdraw(self, letter_id: UUID) -> bool:
        self.withdrawn.append(letter_id)
        for step in self.meanwhile:
            await step
        self.meanwhile.clear()
        return True


async def test_a_letter_that_somebody_else_settled_meanwhile_is_left_alone_and_so_is_the_next_one(
    registry: RegistryClient, database: Database
) -> None:
    store, printer = LetterStore(database, Outbox()), Printer()
    letters = AccountLetters(
        store=store,
        request_log=RequestLog(b"a secret for tests only"),
        print_service=printer,
        access_log=UNUSED,
        documents=UNUSED,
        passwords=UNUSED,
        clock=lambda: datetime.now(UTC),
    )
    people = [await a_person(registry) for _ in range(2)]
    first, second, third = (Letter(uuid4(), one[0], one[1], None) for one in (*people, people[1]))
    assert await store.begin(first, people[0][2], "hash")
    assert await store.begin(second, people[1][2], "hash")
    assert not await store.begin(third, people[0][2], "hash"), "that is another citizen's number"
    printer.meanwhile = [store.fail(second), store.begin(third, people[1][2], "hash")]
    assert await letters.settle_left() == 1
    assert printer.withdrawn == [first.id]
    assert await store.all_sending(9) == [third]


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
