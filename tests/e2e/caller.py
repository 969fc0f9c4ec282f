"""A caller of the public interface: an organisation's system with a token of the local identity provider."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
from tests.e2e.system import ALL_SCOPES, System

from cvhub.people import SEED
from cvhub.synthetic import SyntheticCitizen, citizens
from servicekit.testing import eventually

JOBNET = "101:1"
STAR = "100:1"
JOBCENTER = "8:10100"
MUNICIPALITY = "7:101"
FUND = "1:53"
STRANGER = "8:75100"
CITIZEN = "x-civilregistrationidentifier"
PATIENCE = timedelta(minutes=1)
"""How long a service may take until it has seen what a consistency token tells of."""

_COLLECTIONS = (
    "PreviousJobExperience",
    "Education",
    "Qualification",
    "DriverLicense",
    "LanguageSkill",
    "OtherExperience",
    "OtherCVReference",
)

Json = dict[str, Any]


@dataclass(frozen=True)
class Caller:
    """Calls as `organisation` (type:code), for a user of the organisation `own`.

    The calling system, by default one of each organisation's own, is `client`.
    """

    system: System
    http: httpx.AsyncClient
    organisation: str = JOBNET
    own: str | None = None
    client: str | None = None
    scopes: str = ALL_SCOPES
    user: str = "en-sagsbehandler"
    user_name: str = "Ea Prøve"
    gateway: str = ""
    headers: Mapping[str, str | None] = field(default_factory=dict)

    def acting(self, organisation: str, own: str | None = None, **changes: Any) -> "Caller":
        return replace(self, organisation=organisation, own=own, **changes)

    async def call(
        self,
        verb: str,
        path: str,
        person_number: str | None = None,
        body: Any = None,
        **headers: str | None,
    ) -> httpx.Response:
        """Send a call; header names are given with underscores, None leaves one out; a body that is not bytes is JSON."""
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = self._headers() | dict(self.headers)
        if person_number is not None:
            sent[CITIZEN] = person_number
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {name: value for name, value in sent.items() if value is not None}
        base = self.gateway or self.system.url("gateway")
        return await self.http.request(verb, base + path, content=content, headers=kept)

    def _headers(self) -> dict[str, str | None]:
        kind, _, code = self.organisation.partition(":")
        token = self.system.token(self.organisation, self.scopes, self.own, self.client)
        return {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "x-activeorganisation-type": kind,
            "x-activeorganisation-code": code,
            "x-requestuser-name": quote(self.user_name),
            "x-requestuser-type": "2",
            "x-requestuser-identifier": quote(self.user),
        }

    async def replace_cv(self, person_number: str, body: Any, **headers: str | None) -> httpx.Response:
        return await self.call("PUT", "/v6/Cv", person_number, body, **headers)

    async def get_cv(self, person_number: str, **headers: str | None) -> httpx.Response:
        return await self.call("GET", "/v6/Cv", person_number, **headers)

    async def by_number(
        self, cv_number: str, *, consent: bool = True, **headers: str | None
    ) -> httpx.Response:
        body = {"CVNumber": cv_number, "CitizenConsentObtained": consent}
        return await self.call("POST", "/v6/Cv/bynumber", None, body, **headers)

    async def asylum(self, verb: str, person_number: str, body: Any, **headers: str | None) -> httpx.Response:
        return await self.call(verb, "/v6/AsylumTransition", person_number, body, **headers)


def cv_saying(text: str, one: SyntheticCitizen) -> Json:
    """Give this citizen's CV as a body of ReplaceCV, with a text of its own. Contact data belong to another service."""
    cv: Json = json.loads(json.dumps(one.cv))
    return {**cv, "ContactInformation": {}, "CV": {**cv["CV"], "ProfessionalSummaryText": {"HTMLText": text}}}


def small_cv(text: str) -> Json:
    """Give a short CV with a text of its own."""
    return {
        "ContactInformation": {},
        "JobConditions": {"FullTimeEmployment": True},
        "JobTargetCollection": [],
        "CV": {
            **{f"{name}Collection": [] for name in _COLLECTIONS},
            "ProfessionalSummaryText": {"HTMLText": text},
        },
    }


def population(count: int, after_the_cast: bool = True) -> list[SyntheticCitizen]:
    """Give living citizens with an active CV, none of the cast."""
    found = [one for one in citizens(SEED, count) if one.cv_state == "ACTIVE" and not one.citizen.get("dead")]
    return [one for one in found if not (after_the_cast and one.case)]


async def caught_up(read: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Give the answer to a read with a consistency token: a 503 that asks for another try says that it comes too early."""

    async def answered() -> httpx.Response:
        answer = await read()
        assert answer.status_code != 503 or "retry-after" not in answer.headers, answer.text
        return answer

    return await eventually(answered, PATIENCE)


def fault(answer: httpx.Response) -> tuple[int, int | None]:
    """Give status and fault code of a refusal."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: Json = answer.json()
    assert problem["traceId"]
    return answer.status_code, problem.get("code")
