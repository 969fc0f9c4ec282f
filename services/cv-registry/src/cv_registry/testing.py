"""For tests and benchmarks: citizens and CVs made of nothing, and a registry that is called as the gateway calls it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final
from uuid import UUID

import httpx
from pydantic import SecretStr

from cv_citizens.testing import FUND, JOBCENTER, MUNICIPALITY, a_caller, relation
from cv_contracts.codelists import default
from cv_registry.settings import SERVICE, Settings
from servicekit.caller import Caller
from servicekit.data.postgres import Database
from servicekit.settings import HttpSettings, IdentitySettings, KafkaSettings, PostgresSettings
from servicekit.web.identity import ServiceSigner

NO_KAFKA: Final = KafkaSettings(bootstrap_servers="127.0.0.1:9")
"""A port that nobody listens on: writes stay in the outbox, where a test can look at them."""

_serial = count(1)


def a_person_number() -> str:
    """Give a person number that no other citizen of this process has."""
    serial = next(_serial)
    return f"{serial % 28 + 1:02}0{serial // 28 % 9 + 1}{serial // 252 % 90 + 10:02}{serial // 22680:04}"


def a_citizen(**changes: Any) -> dict[str, Any]:
    """Give a ToldCitizen: a living, unprotected citizen of Copenhagen, in an a-kasse and in contact group 3."""
    return {
        "sourceVersion": 1,
        "personNumber": a_person_number(),
        "familyName": "Prøvesen",
        "givenName": "Åse",
        "dateOfBirth": "1990-02-03",
        "gender": "Female",
        "address": {
            "countryCode": "DK",
            "addressLine": "Prøvegade 7, 2. tv",
            "postalCode": "1050",
            "postalArea": "København K",
        },
        "nameProtected": False,
        "addressProtected": False,
        "relations": [relation(MUNICIPALITY), relation(JOBCENTER), relation(FUND)],
        "contactGroup": 3,
        "enrolled": True,
        "dead": False,
        **changes,
    }


def a_cv(**changes: Any) -> dict[str, Any]:
    """Give a ReplaceCV body with something in every part."""
    lists = default()
    occupation, qualification = next(iter(lists.occupations)), next(iter(lists.qualifications))
    return {
        "ContactInformation": {},
        "JobConditions": {"FullTimeEmployment": True, "StandardJobConditions": True},
        "JobTargetCollection": [
            {
                "OccupationTaxonomyReference": occupation,
                "HasEducation": True,
                "MonthsOfExperience": 18,
                "LastExperience": "2024",
            }
        ],
        "CV": {
            "PreviousJobExperienceCollection": [
                {"JobTitle": "Tømrer", "StartDate": {"Year": "2019", "Month": "--05"}, "Place": "Ærø"}
            ],
            "EducationCollection": [{"Title": "Tømrer", "EducationLevel": "Vocational"}],
            "QualificationCollection": [{"QualificationTaxonomyReference": qualification}],
            "DriverLicenseCollection": [{"Code": "B"}],
            "LanguageSkillCollection": [{"Code": next(iter(lists.languages)), "Level": "Expert"}],
            "OtherExperienceCollection": [
                {
                    "Title": "Træner",
                    "Place": "Odense",
                    "SummaryText": "Håndbold",
                    "StartDate": {"Year": "2021"},
                }
            ],
            "ProfessionalSummaryText": {"HTMLText": "<p>Jeg <b>bygger</b> huse</p>"},
            "OtherCVReferenceCollection": ["https://cv.example"],
        },
        **changes,
    }


def some_settings(
    postgres: PostgresSettings, identity: IdentitySettings, kafka: KafkaSettings = NO_KAFKA, **more: Any
) -> Settings:
    return Settings(
        http=HttpSettings(port=0),
        postgres=postgres,
        kafka=kafka,
        identity=identity,
        request_secret=SecretStr("a secret for tests only"),
        **more,
    )


class SettableClock:
    """A clock that stands still where it was put."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class RegistryClient:
    """Calls a registry over ASGI as the gateway or another service would."""

    http: httpx.AsyncClient
    signers: Mapping[str, ServiceSigner]
    caller: Caller = field(default_factory=a_caller)

    async def call(
        self,
        verb: str,
        path: str,
        body: Any = None,
        *,
        caller: Caller | None = None,
        service: str = "gateway",
        **headers: str | None,
    ) -> httpx.Response:
        """Send a call; header names are given with underscores, a body that is not bytes is made JSON."""
        caller = (caller or self.caller) if service == "gateway" else None
        sent = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        sent["authorization"] = f"Bearer {self.signers[service].token(SERVICE, caller)}"
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        return await self.http.request(verb, path, content=content, headers=sent)

    async def register(self, *citizens: dict[str, Any]) -> list[dict[str, Any]]:
        """Take citizens in; every one must be accepted."""
        results = await self.intake(*citizens)
        assert all(result["outcome"] != "refused" for result in results), results  # noqa: S101 - only tests call this
        return results

    async def intake(self, *citizens: Any) -> list[dict[str, Any]]:
        response = await self.call(
            "POST",
            "/internal/citizens",
            {"citizens": list(citizens)},
            service="citizen-intake",
            content_type="application/json",
        )
        assert response.status_code == 200, response.text  # noqa: S101 - only tests call this
        results: list[dict[str, Any]] = response.json()["results"]
        return results

    async def replace(self, person_number: str, cv: Any = None, **more: Any) -> httpx.Response:
        body = a_cv() if cv is None else cv
        return await self.call("PUT", "/v6/Cv", body, x_civilregistrationidentifier=person_number, **more)

    async def get(self, person_number: str, **more: Any) -> httpx.Response:
        return await self.call("GET", "/v6/Cv", x_civilregistrationidentifier=person_number, **more)

    async def as_pdf(self, person_number: str, **more: Any) -> httpx.Response:
        return await self.call("GET", "/v6/Cv/pdf", x_civilregistrationidentifier=person_number, **more)

    async def letter(self, person_number: str, **more: Any) -> httpx.Response:
        path = "/v6/JobnetAccount/letter"
        return await self.call("POST", path, x_civilregistrationidentifier=person_number, **more)

    async def by_number(self, cv_number: str, *, consent: bool = True, **more: Any) -> httpx.Response:
        body = {"CVNumber": cv_number, "CitizenConsentObtained": consent}
        return await self.call("POST", "/v6/Cv/bynumber", body, **more)

    async def asylum(self, verb: str, person_number: str, body: Any, **more: Any) -> httpx.Response:
        path = "/v6/AsylumTransition"
        return await self.call(verb, path, body, x_civilregistrationidentifier=person_number, **more)

    async def move(self, cv_id: str | UUID, state: str, **more: Any) -> httpx.Response:
        body = {"cvId": str(cv_id), "state": state, "reason": "a test", "by": "the test"}
        return await self.call(
            "POST",
            "/internal/cvs/state",
            body,
            service="operator",
            content_type="application/json",
            **more,
        )


_WINDOW: Final = {"AsylumCVTransitionDate": "2026-11-20", "CVEditEndDate": "2026-11-25"}


async def in_window(registry: RegistryClient, **changes: Any) -> dict[str, Any]:
    """Give a citizen whose jobcenter may replace the CV now."""
    citizen = a_citizen(**changes)
    await registry.register(citizen)
    response = await registry.asylum("POST", citizen["personNumber"], _WINDOW, caller=a_caller(JOBCENTER))
    assert response.status_code == 200, response.text  # noqa: S101 - only tests call this
    return citizen


async def with_cv(registry: RegistryClient, state: str = "ACTIVE", **changes: Any) -> dict[str, Any]:
    """Give a citizen with a CV in some state; the citizen's ids are added."""
    citizen = a_citizen(**changes)
    (ids,) = await registry.register({**citizen, "dead": False})
    assert (await registry.replace(citizen["personNumber"])).status_code == 200  # noqa: S101 - only tests call this
    if state != "ACTIVE":
        assert (await registry.move(ids["cvId"], state)).status_code == 200  # noqa: S101 - only tests call this
    if citizen["dead"]:
        await registry.register({**citizen, "sourceVersion": 2})
    return {**citizen, **ids}


async def events_of(database: Database, subject: str) -> list[str]:
    """Give the events of a subject that wait to be sent, oldest first."""
    rows = await database.fetch(
        "SELECT payload FROM outbox WHERE aggregateid = $1 AND partition IS NULL ORDER BY seq", subject
    )
    return [row["payload"].decode() for row in rows]


async def changes_of(database: Database, subject: str) -> list[str]:
    """Give what those events say has changed."""
    return [json.loads(event)["change"] for event in await events_of(database, subject)]
