"""For tests: the registry and cv-status in one small HTTP server that does what a test asks, and citizens to search for."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import httpx

from cv_citizens.testing import JOBCENTER, a_caller
from cv_contracts.event import Event
from cv_contracts.events.cv_registry import CitizenChanged, CVChanged
from cv_contracts.events.cv_status import StatusSet
from cv_search.parts import Parts
from servicekit.caller import Caller
from servicekit.data.consistency import ConsistencyToken
from servicekit.follow.states import Unknown
from servicekit.follow.testing import apply_states
from servicekit.testing import eventually
from servicekit.web.identity import ServiceSigner
from servicekit.web.standin_testing import StandIn

__all__ = [
    "Owners",
    "People",
    "Someone",
    "World",
    "content",
    "search_input",
    "token_of",
]

NO_ID: Final = "00000000-0000-0000-0000-000000000000"
PLACES: Final = {"101": ("2100", "København Ø"), "751": ("8000", "Aarhus C")}

Json = dict[str, Any]


@dataclass(eq=False)
class Someone:
    """A citizen with a CV, as the owners have them now."""

    person_id: UUID = field(default_factory=uuid4)
    cv_id: UUID = field(default_factory=uuid4)
    versions: dict[str, int] = field(default_factory=dict)
    citizen: Json = field(default_factory=dict)
    cv: Json = field(default_factory=dict)
    status: Json | None = None

    @property
    def cv_number(self) -> str:
        return str(self.citizen["cvNumber"])


@dataclass
class Owners(StandIn):
    """In the place of both owners."""

    states: dict[str, dict[str, Json]] = field(
        default_factory=lambda: {"cvs": {}, "statuses": {}, "citizens": {}}
    )

    def __post_init__(self) -> None:
        super().__init__()

    def put(self, kind: str, subject: UUID, version: int, state: Json | None) -> None:
        """Let an owner have a state, or have erased the subject."""
        told: Json = {"erased": True} if state is None else {"state": state}
        self.states[kind][str(subject)] = {"subject": str(subject), "version": version, **told}

    def found(self, path: str, body: Json) -> Json:
        _, _, kind, what = path.split("/")
        states = self.states[kind]
        if what == "snapshot":
            known = sorted((s for s in states.values() if "state" in s), key=lambda s: str(s["subject"]))
            page = [s for s in known if s["subject"] > (body["after"] or "")][: body["limit"]]
            last = page[-1]["subject"] if len(page) == body["limit"] else None
            return {"states": page, "next": last}
        unknown = ({"subject": subject, "unknown": True} for subject in body["subjects"])
        return {"states": [states.get(one["subject"], one) for one in unknown]}


@dataclass
class People:
    """Who there is at the owners."""

    owners: Owners

    def new(self, number: int, text: str = "", municipality: str = "101", **content_of: Any) -> Someone:
        """Make somebody whose CV can be found, known to the owners and not yet to the service."""
        one = Someone()
        self.citizen(one, number, municipality)
        self.replace(one, text, **content_of)
        return one

    def citizen(self, one: Someone, number: int, municipality: str = "101", **more: Any) -> CitizenChanged:
        """Let the registry have the citizen anew."""
        code, area = PLACES[municipality]
        one.citizen = {
            "cvId": str(one.cv_id),
            "cvNumber": str(number),
            "personNumber": "0101800001",
            "givenName": f"Fornavn{number}",
            "familyName": f"Efternavn{number}",
            "address": {"countryCode": "DK", "addressLine": "Vej 1", "postalCode": code, "postalArea": area},
            "relations": [{"organisationType": 7, "organisationCode": municipality, "from": "2020-01-01"}],
            "enrolled": True,
            **more,
        }
        self.owners.put("citizens", one.person_id, self._version(one, "citizens"), one.citizen)
        return CitizenChanged(**self._event(one, "citizens", one.person_id), change="changed")

    def replace(self, one: Someone, text: str, state: str = "ACTIVE", **content_of: Any) -> CVChanged:
        """Let the registry have the CV anew."""
        one.cv = {
            "personId": str(one.person_id),
            "state": state,
            "revision": 1,
            "revisionDate": datetime.now(UTC).isoformat(),
            "content": content(text, **content_of),
        }
        self.owners.put("cvs", one.cv_id, self._version(one, "cvs"), one.cv)
        return CVChanged(**self._event(one, "cvs", one.cv_id), change="replaced")

    def set_status(self, one: Someone, status: int) -> StatusSet:
        one.status = {"status": status, "time": datetime.now(UTC).isoformat()}
        self.owners.put("statuses", one.cv_id, self._version(one, "statuses"), one.status)
        return StatusSet(**self._event(one, "statuses", one.cv_id), cv_version=None)

    def erase(self, one: Someone) -> tuple[CitizenChanged, CVChanged]:
        """Let the owners have erased all about somebody."""
        self.owners.put("citizens", one.person_id, self._version(one, "citizens"), None)
        self.owners.put("cvs", one.cv_id, self._version(one, "cvs"), None)
        return (
            CitizenChanged(**self._event(one, "citizens", one.person_id), change="erased"),
            CVChanged(**self._event(one, "cvs", one.cv_id), change="erased"),
        )

    def _version(self, one: Someone, kind: str) -> int:
        one.versions[kind] = one.versions.get(kind, 0) + 1
        return one.versions[kind]

    def _event(self, one: Someone, kind: str, subject: UUID) -> Json:
        return {"id": uuid4(), "subject": subject, "version": one.versions[kind], "time": datetime.now(UTC)}


@dataclass
class World(People):
    """The service under test, and what stands beside it."""

    client: httpx.AsyncClient
    parts: Parts
    signers: dict[str, ServiceSigner]

    async def told(self, *people: Someone) -> None:
        """Let the service hear of people as if a batch of records named them, and wait until they are searched."""
        for kind in ("citizens", "cvs", "statuses"):
            await self.hear(kind, *people)
        await self.indexed()

    async def hear(self, kind: str, *people: Someone) -> None:
        """Apply what an owner has of these people, as the follower does."""
        subjects = [one.person_id if kind == "citizens" else one.cv_id for one in people]
        projection = next(p for p in self.parts.follower.projections if p.name == kind)
        states = [s for s in await projection.fetch(subjects) if not isinstance(s, Unknown)]
        await apply_states(self.parts.database, projection, states)

    async def heartbeat(self, age_seconds: float = 0.0, partitions: Iterable[int] = range(6)) -> None:
        """Let partitions of the citizens have heard a heartbeat that old."""
        await self.parts.database.execute(
            "insert into follow_positions (projection, topic, partition, next_offset, heartbeat_at)"
            " select 'citizens', 'cv-registry.citizen-changed', p, 0, now() - make_interval(secs => $1)"
            " from unnest($2::int[]) p on conflict (projection, topic, partition)"
            " do update set heartbeat_at = excluded.heartbeat_at",
            age_seconds,
            list(partitions),
        )

    async def indexed(self) -> None:
        """Wait until the index holds all documents there are now."""
        edge = await self.parts.documents.edge()
        await eventually(lambda: self.parts.indexer.progress.position >= edge.change)

    async def search(
        self,
        text: str | None = None,
        *,
        who: Caller | None = None,
        headers: Json | None = None,
        **wanted: Any,
    ) -> httpx.Response:
        body = {"searchInput": search_input(text, **wanted)}
        return await self.post(body, who, headers=headers)

    async def post(
        self, body: Any, who: Caller | None = None, *, headers: Json | None = None
    ) -> httpx.Response:
        token = self.signers["gateway"].token("cv-search", who or a_caller(JOBCENTER))
        sent = {"authorization": f"Bearer {token}", "content-type": "application/json", **(headers or {})}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post("/v6/Cv/search", content=content, headers=sent)

    async def found(self, text: str | None = None, **wanted: Any) -> list[str]:
        """Give the CV numbers of one page."""
        answer = await self.search(text, **wanted)
        answer.raise_for_status()
        return [one["CVNumber"] for one in answer.json()["SearchCVTextResult"]["CVPersons"]]

    async def operate(self, verb: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.signers['operator'].token('cv-search')}"}
        return await self.client.request(verb, path, json=body, headers=headers)


def token_of(*events: Event) -> Json:
    """Give the header that a caller sends who has seen these events' writes."""
    return {"x-consistency-token": ConsistencyToken.of(*events).encode()}


def content(text: str, job: str = "Sygeplejerske", titles: tuple[str, ...] = ()) -> Json:
    """Give a CV's content as the registry's internal routes tell it."""
    summary = {"HTMLText": f"<p>{text}</p>", "PlainText": text}
    return {
        "JobConditions": {"FullTimeEmployment": True, "StartAsAgreedOn": True, "StandardJobConditions": True},
        "JobTargetCollection": [
            {
                "JobTitle": title,
                "OccupationTaxonomyReference": 1,
                "HasEducation": True,
                "MonthsOfExperience": 12,
            }
            for title in (job, *titles)
        ],
        "CV": {
            "PreviousJobExperienceCollection": [{"JobTitle": job, "StartDate": {"Year": "2015"}}],
            "EducationCollection": [],
            "QualificationCollection": [],
            "DriverLicenseCollection": [{"Code": "B", "Name": "Almindelig bil"}],
            "LanguageSkillCollection": [{"Code": "da", "Name": "Dansk", "Level": "Expert"}],
            "OtherExperienceCollection": [],
            "ProfessionalSummaryText": summary,
            "OtherCVReferenceCollection": [],
        },
    }


def search_input(text: str | None = None, **elements: Any) -> Json:
    """Give a searchInput: everybody, unless elements say otherwise."""
    wanted: Json = {
        "Id": NO_ID,
        "GroupLimit": 64,
        "ShowOnlyEnrolled": False,
        "PageNumber": 1,
        "ResultsPerPage": 20,
        "OrganisationCode": 0,
        "OrganisationTypeIdentifier": 0,
        "IsDateIntervalSpecified": False,
        "UpdatedBefore": "2100-01-01T00:00:00Z",
        "UpdatedLaterThan": "2000-01-01T00:00:00Z",
        **elements,
    }
    return wanted if text is None else {**wanted, "SearchString": text}
