"""For tests: a registry that does what a test asks of it, and the citizens and calls that tests of this service need."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import httpx

from contact_verification.followers import projections
from contact_verification.holdings import HOLDINGS
from contact_verification.parts import Parts
from contact_verification.settings import Settings
from cv_citizens.replica_source import HttpRegistry
from cv_citizens.testing import JOBNET, MUNICIPALITY, a_caller, relation
from servicekit.caller import Caller
from servicekit.data.postgres import Database
from servicekit.follow.batch import apply_newer
from servicekit.follow.erasing import receipted
from servicekit.follow.state_client import HttpStates
from servicekit.follow.states import Erased, Known
from servicekit.follow.testing import made_live
from servicekit.publish.outbox import Outbox
from servicekit.web.identity import ServiceSigner
from servicekit.web.standin_testing import StandIn

TODAY = datetime(2026, 11, 22, 12, tzinfo=UTC)
MOBILE, LANDLINE, EMAIL = 1, 2, 3
CASE_WORKER: Final = a_caller(MUNICIPALITY)
_numbers = itertools.count(1)


class Registry(StandIn):
    """In the registry's place."""

    def __init__(self) -> None:
        super().__init__()
        self.citizens: dict[str, dict[str, Any]] = {}
        self.decisions: dict[str, bool] = {}

    def found(self, path: str, body: Any) -> dict[str, Any]:
        if path == "/internal/cv-contacts/settle":
            return self._settled(body["prepareIds"])
        if path == "/internal/citizens/lookup":
            [(element, number)] = body.items()
            known = [s for s in self.citizens.values() if "state" in s and s["state"].get(element) == number]
            return {"states": known}
        if path.endswith("/snapshot"):
            return {"states": [], "next": None}
        unknown = [{"subject": s, "unknown": True} for s in body["subjects"]]
        return {"states": [self.citizens.get(str(u["subject"]), u) for u in unknown]}

    def _settled(self, prepares: list[str]) -> dict[str, Any]:
        """Decide as the registry does: once asked about, what is not committed never will be."""
        decided = {prepare: self.decisions.setdefault(prepare, False) for prepare in prepares}
        return {
            "committed": [prepare for prepare, committed in decided.items() if committed],
            "abandoned": [prepare for prepare, committed in decided.items() if not committed],
        }


@dataclass(frozen=True)
class Person:
    """A citizen of a test, with the numbers that calls use and addresses that nobody else has."""

    person_id: UUID
    cv_id: UUID
    person_number: str
    cv_number: str
    mobile: str
    landline: str
    mail: str
    state: dict[str, Any] = field(hash=False)


@dataclass
class World:
    """The service under test, its database and the registry stand-in."""

    client: httpx.AsyncClient
    parts: Parts
    database: Database
    registry: Registry
    signers: dict[str, ServiceSigner]
    settings: Settings

    async def citizen(self, *relations: dict[str, Any], **more: Any) -> Person:
        """Make a citizen whom registry and replica know alike."""
        n = next(_numbers)
        person_number, cv_number = f"0101{n:06}", str(10_000_000 + n)
        contact = (f"+4526{n:06}", f"+4533{100_000 + n}", f"person{n}@example.com")
        person = Person(uuid4(), uuid4(), person_number, cv_number, *contact, {})
        state = {"cvId": str(person.cv_id), "cvNumber": cv_number, "personNumber": person_number}
        person.state.update({**state, "relations": list(relations), **more})
        await self.change(person, 1)
        return person

    async def resident(self, *kinds: int, **more: Any) -> Person:
        """Make a citizen of CASE_WORKER's municipality, with these types of contact data saved and not verified."""
        person = await self.citizen(relation(MUNICIPALITY), **more)
        values = {MOBILE: person.mobile, LANDLINE: person.landline, EMAIL: person.mail}
        if kinds:
            saved = await self.save(CASE_WORKER, person, {kind: values[kind] for kind in kinds})
            saved.raise_for_status()
        return person

    async def change(self, person: Person, version: int, *, replica: bool = True, **more: Any) -> None:
        """Give the citizen a new version at the registry, and unless told otherwise in the replica."""
        person.state.update(more)
        state = dict(person.state)
        subject = str(person.person_id)
        self.registry.citizens[subject] = {"subject": subject, "version": version, "state": state}
        if replica:
            await self.apply("citizens", Known(person.person_id, version, state))

    async def committed(self, person: Person, version: int, prepare: str) -> None:
        """Let the registry have committed a CV with this prepared change, and the service have heard of it."""
        self.registry.decisions[prepare] = True
        state = {"personId": str(person.person_id), "prepareId": prepare}
        await self.apply("cvs", Known(person.cv_id, version, state))

    async def apply(self, name: str, *states: Known | Erased) -> None:
        """Apply states as the follower does."""
        registry, cvs = HttpRegistry(_nobody), HttpStates(_nobody, "/nowhere")
        declared = receipted(projections(registry, cvs, self.parts.prepares, Outbox()), HOLDINGS)
        [projection] = [one for one in declared if one.name == name]
        async with self.database.pool.acquire() as conn, conn.transaction():
            await apply_newer(conn, projection, states)

    async def heartbeat(self, age_seconds: float = 0.0) -> None:
        """Let all partitions have heard a heartbeat that old."""
        await self.database.execute(
            "insert into follow_positions (projection, topic, partition, next_offset, heartbeat_at)"
            " select 'citizens', 'cv-registry.citizen-changed', p, 0, now() - make_interval(secs => $1)"
            " from generate_series(0, 5) p on conflict (projection, topic, partition)"
            " do update set heartbeat_at = excluded.heartbeat_at",
            age_seconds,
        )

    def headers(self, caller: Caller | None, service: str = "gateway", **more: str) -> dict[str, str]:
        token = self.signers[service].token("contact-verification", caller)
        return {"authorization": f"Bearer {token}", **{k.replace("_", "-"): v for k, v in more.items()}}

    async def post(self, caller: Caller, path: str, body: Any, **headers: str) -> httpx.Response:
        sent = self.headers(caller, **headers)
        return await self.client.post("/v1/kontaktinformation" + path, json=body, headers=sent)

    async def internal(self, path: str, body: Any, service: str = "operator") -> httpx.Response:
        return await self.client.post("/internal" + path, json=body, headers=self.headers(None, service))

    async def save(
        self, caller: Caller, person: Person, data: dict[int, str | None], **headers: str
    ) -> httpx.Response:
        items = [
            {"PersonContactDataTypeIdentifier": n, **({} if v is None else {"PersonContactData": v})}
            for n, v in data.items()
        ]
        more = {"x_civilregistrationidentifier": person.person_number, **headers}
        return await self.post(caller, "", {"PersonContactDataCollection": items}, **more)

    async def verify(self, person: Person, contact_type: int, code: str, **headers: str) -> httpx.Response:
        body = {
            "CvCustomerIdentifier": person.cv_number,
            "VerificationCode": code,
            "PersonContactDataTypeIdentifier": contact_type,
        }
        return await self.post(a_caller(JOBNET), "/verificering", body, **headers)

    async def request_new(self, person: Person, contact_type: int, **headers: str) -> httpx.Response:
        body = {
            "CvCustomerIdentifier": person.cv_number,
            "PersonContactDataTypeIdentifier": contact_type,
        }
        return await self.post(a_caller(JOBNET), "/verificering/ny", body, **headers)

    async def find(self, by: Caller, value: str, **headers: str) -> httpx.Response:
        if "@" in value:
            return await self.post(by, "/emailadresse", {"email": value}, **headers)
        return await self.post(by, "/mobiltelefon", {"mobiltelefon": value}, **headers)

    async def set_status(
        self, by: Caller, person: Person, contact_type: int, status: int, **headers: str
    ) -> httpx.Response:
        body = {
            "PersonContactDataTypeIdentifier": contact_type,
            "PersonContactDataStatusTypeIdentifier": status,
        }
        more = {"x_civilregistrationidentifier": person.person_number, **headers}
        return await self.post(by, "/status", body, **more)

    async def prepare(self, person: Person, *phones: Any, mail: str | None = None) -> httpx.Response:
        information: dict[str, Any] = {"PhoneNumber": list(phones)}
        if mail is not None:
            information["E-mail"] = mail
        body = {"personId": str(person.person_id), "contactInformation": information}
        return await self.internal("/contact-changes/prepare", body, "cv-registry")

    async def subscribe(self, person: Person, contact_type: int, *, wanted: bool = True) -> httpx.Response:
        body = {
            "personId": str(person.person_id),
            "personContactDataTypeIdentifier": contact_type,
            "name": "huskeservice",
            "wanted": wanted,
        }
        return await self.internal("/subscriptions", body)

    async def code(self, person: Person, contact_type: int) -> str:
        """Make the present code again, as the sender does."""
        row = await self.database.fetchrow(
            "select salt, period_id from codes where person_id = $1 and type = $2",
            person.person_id,
            contact_type,
        )
        if row is None:
            raise LookupError
        return self.parts.sender._keys.codes.code(row["salt"], row["period_id"])  # noqa: SLF001 - as the sender does

    async def contacts(self, person: Person) -> dict[int, tuple[str, int]]:
        """Give value and status by type, as the followers are told."""
        answer = await self.internal("/contacts/states", {"subjects": [str(person.person_id)]}, "cv-registry")
        [state] = answer.json()["states"]
        found = state.get("state", {"contacts": []})["contacts"]
        return {c["type"]: (c["value"], c["status"]) for c in found if "value" in c}

    async def events(self, person: Person) -> list[str]:
        """Give the kinds of the events that were said about a person, in order."""
        rows = await self.database.fetch(
            "select type from outbox where aggregateid = $1 order by seq", str(person.person_id)
        )
        return [row["type"].split(".")[-2] for row in rows]

    def marked(self, status: str, count: int = 1) -> Callable[[], Awaitable[bool]]:
        """Make a check that so many messages have this status."""
        counted = "select count(*) = $2 from messages where status = $1"

        async def look() -> bool:
            return bool(await self.database.fetchval(counted, status, count))

        return look

    async def rows(self, table: str) -> int:
        count: int = await self.database.fetchval(f"select count(*) from {table}")
        return count


Start = Callable[[Settings], AbstractAsyncContextManager[World]]
ToSinks = Callable[..., Settings]
Sending = Callable[..., AbstractAsyncContextManager[World]]


@asynccontextmanager
async def live(start: Start, settings: Settings) -> AsyncIterator[World]:
    """Give a running service whose replica is live and fresh."""
    await made_live(settings.postgres, "citizens", "cvs")
    async with start(settings) as world:
        await world.heartbeat()
        yield world


async def _nobody(_path: str, _body: dict[str, Any]) -> Any:
    raise LookupError
