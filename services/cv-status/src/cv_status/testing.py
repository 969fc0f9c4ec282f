"""For tests: a registry that does what a test asks of it, and the citizens and calls that tests of cv-status need."""

import itertools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx

from cv_citizens.renderer_testing import Renderer
from cv_citizens.replica_source import HttpRegistry
from cv_status.followers import projections
from cv_status.settings import Settings
from servicekit.caller import Caller
from servicekit.data.postgres import Database
from servicekit.follow.batch import apply_newer
from servicekit.follow.states import Erased, Known
from servicekit.publish.outbox import Outbox
from servicekit.web.identity import ServiceSigner
from servicekit.web.standin_testing import StandIn

TODAY = datetime(2026, 11, 22, 12, tzinfo=UTC)
_numbers = itertools.count(1)


class Registry(StandIn):
    """In the registry's place; one more mode is unknown: it has never heard of anybody."""

    zipped = True

    def __init__(self) -> None:
        super().__init__()
        self.citizens: dict[str, dict[str, Any]] = {}
        self.cvs: dict[str, dict[str, Any]] = {}
        self.before_content: Callable[[], Awaitable[object]] | None = None

    async def before(self, path: str) -> None:
        if path == "/internal/cvs/content" and self.before_content is not None:
            await self.before_content()

    def found(self, path: str, body: Any) -> dict[str, Any]:
        if path == "/internal/cvs/content":
            return self.cvs.get(body["cvId"], {"unknown": True})
        if path == "/internal/citizens/lookup":
            [(element, number)] = body.items()
            known = [s for s in self.citizens.values() if "state" in s and s["state"].get(element) == number]
            return {"states": [] if self.mode == "unknown" else known}
        if path == "/internal/citizens/snapshot":
            ordered = [
                self.citizens[subject]
                for subject in sorted(self.citizens)
                if "state" in self.citizens[subject]
            ]
            return {"states": ordered, "next": None}
        unknown = [{"subject": s, "unknown": True} for s in body["subjects"]]
        if self.mode == "unknown":
            return {"states": unknown}
        return {"states": [self.citizens.get(u["subject"], u) for u in unknown]}


@dataclass(frozen=True)
class Person:
    """A citizen of a test, with the numbers that calls use."""

    person_id: UUID
    cv_id: UUID
    person_number: str
    cv_number: str
    state: dict[str, Any] = field(hash=False)


def profile(cv_number: str, title: str = "Tømrer") -> dict[str, Any]:
    return {
        "JobnetCVId": int(cv_number),
        "PersonalData": {
            "FamilyName": "Prøve",
            "GivenName": "Eksempel",
            "PostalAddress": {
                "CountryCode": "DK",
                "AddressLine": "Prøvevej 1",
                "PostalCode": "2100",
                "PostalArea": "København Ø",
            },
            "ContactInformation": {},
        },
        "JobConditions": {"FullTimeEmployment": True},
        "JobTargetCollection": [
            {
                "JobTitle": title,
                "OccupationTaxonomyReference": 7,
                "HasEducation": True,
                "MonthsOfExperience": 12,
            }
        ],
        "CV": {
            "PreviousJobExperienceCollection": [],
            "EducationCollection": [],
            "QualificationCollection": [],
            "DriverLicenseCollection": [],
            "LanguageSkillCollection": [],
            "OtherExperienceCollection": [],
            "OtherCVReferenceCollection": [],
        },
    }


@dataclass
class World:
    """The service under test, its database and the registry stand-in."""

    client: httpx.AsyncClient
    database: Database
    registry: Registry
    signers: dict[str, ServiceSigner]
    settings: Settings
    renderer: Renderer

    async def citizen(self, *relations: dict[str, Any], cv: str | None = "ACTIVE", **more: Any) -> Person:
        """Make a citizen whom registry and replica know alike; `cv` is the state of the CV, None for none."""
        n = next(_numbers)
        person_number, cv_number = f"0101{n:06}", str(10_000_000 + n)
        person = Person(uuid4(), uuid4(), person_number, cv_number, {})
        person.state.update(
            {
                "cvId": str(person.cv_id),
                "cvNumber": cv_number,
                "personNumber": person_number,
                "familyName": "Prøve",
                "relations": list(relations),
                **more,
            }
        )
        await self.change(person, 1)
        if cv is not None:
            self.registry.cvs[str(person.cv_id)] = {
                "version": 100,
                "state": cv,
                "content": profile(cv_number),
            }
        return person

    async def change(self, person: Person, version: int, *, replica: bool = True, **more: Any) -> None:
        """Give the citizen a new version at the registry, and unless told otherwise in the replica."""
        person.state.update(more)
        state = dict(person.state)
        self.registry.citizens[str(person.person_id)] = {
            "subject": str(person.person_id),
            "version": version,
            "state": state,
        }
        if replica:
            await self.apply(Known(person.person_id, version, state))

    async def apply(self, *states: Known | Erased) -> None:
        """Apply states as the follower does."""
        [projection] = projections(HttpRegistry(_nobody), Outbox())
        async with self.database.pool.acquire() as conn, conn.transaction():
            await apply_newer(conn, projection, states)

    def replaced(self, person: Person, version: int, title: str) -> None:
        """Replace the CV at the registry."""
        cv = self.registry.cvs[str(person.cv_id)]
        cv.update(version=version, content=profile(person.cv_number, title))

    async def heartbeat(self, age_seconds: float = 0.0, partitions: Iterable[int] = range(6)) -> None:
        """Let partitions have heard a heartbeat that old."""
        await self.database.execute(
            "insert into follow_positions (projection, topic, partition, next_offset, heartbeat_at)"
            " select 'citizens', 'cv-registry.citizen-changed', p, 0, now() - make_interval(secs => $1)"
            " from unnest($2::int[]) p on conflict (projection, topic, partition)"
            " do update set heartbeat_at = excluded.heartbeat_at",
            age_seconds,
            list(partitions),
        )

    async def pending(self, person: Person) -> None:
        await self.database.execute(
            "insert into pending_subjects (projection, subject, version, next_try, reason)"
            " values ('citizens', $1, 2, now() + interval '1 hour', 'owner-unreachable')",
            person.person_id,
        )

    def headers(self, caller: Caller | None, service: str = "gateway", **more: str) -> dict[str, str]:
        token = self.signers[service].token("cv-status", caller)
        return {"authorization": f"Bearer {token}", **{k.replace("_", "-"): v for k, v in more.items()}}

    async def set(
        self, caller: Caller, person: Person, status: int, comment: str | None = None, **headers: str
    ) -> httpx.Response:
        body = {
            "PersonCivilRegistrationIdentifier": person.person_number,
            "CvCustomerIdentifier": person.cv_number,
            "CvStatusIdentifier": status,
            **({} if comment is None else {"CvComment": comment}),
        }
        return await self.post(caller, {"CvStatusSet": body}, **headers)

    async def post(self, caller: Caller, body: Any, **headers: str) -> httpx.Response:
        return await self.client.post("/v6/Cv/cvstatus", json=body, headers=self.headers(caller, **headers))

    async def get(self, caller: Caller, person: Person, **headers: str) -> httpx.Response:
        more = {"x_civilregistrationidentifier": person.person_number, **headers}
        return await self.client.get("/v6/Cv/cvstatus", headers=self.headers(caller, **more))

    async def versions(
        self, caller: Caller, person: Person, query: str = "", **headers: str
    ) -> httpx.Response:
        more = {"x_civilregistrationidentifier": person.person_number, **headers}
        return await self.client.get("/v6/Cv/versions" + query, headers=self.headers(caller, **more))

    async def on_status(
        self, caller: Caller, person: Person, query: str = "", **headers: str
    ) -> httpx.Response:
        more = {"x_civilregistrationidentifier": person.person_number, **headers}
        return await self.client.get("/v6/Cv/versions/onstatus" + query, headers=self.headers(caller, **more))

    async def rows(self, table: str) -> int:
        count: int = await self.database.fetchval(f"select count(*) from {table}")
        return count


async def _nobody(_path: str, _body: dict[str, Any]) -> Any:
    raise LookupError
