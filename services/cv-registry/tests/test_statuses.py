"""GetCV shows the status that cv-status owns: followed over a real Kafka, and asked for over HTTP from a stand-in."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from fastapi import FastAPI, Request

from cv_citizens.danish_time import utc_now
from cv_contracts.events.cv_status import StatusSet
from cv_contracts.topics import topic_of
from cv_contracts.wire.cv_profile import GetCVResponse
from cv_registry.app import create_app
from cv_registry.parts import assemble
from cv_registry.settings import SERVICE
from cv_registry.testing import (
    RegistryClient,
    SettableClock,
    a_citizen,
    some_settings,
)
from servicekit.data.consistency import ConsistencyToken
from servicekit.data.postgres import Database
from servicekit.follow.owner_testing import serving, without_ledger
from servicekit.follow.state_routes import OwnedState, Versions, hot_states, state_routes
from servicekit.follow.states import Erased, Known
from servicekit.follow.testing import EventLog
from servicekit.follow.topology_testing import assert_follows_contracts
from servicekit.settings import HttpSettings, IdentitySettings, KafkaSettings, PostgresSettings
from servicekit.testing import eventually, free_port
from servicekit.web.health import Health
from servicekit.web.http import Routes, install
from servicekit.web.identity import ServiceVerifier
from servicekit.web.testing import Identities, in_process

pytestmark = pytest.mark.infra

STATUS_SET = topic_of(StatusSet)
PATIENCE = timedelta(seconds=60)


@dataclass
class CvStatus:
    """In the place of cv-status: what it owns, the routes by which followers ask for it, and what it says on Kafka."""

    kafka: KafkaSettings
    port: int = field(default_factory=free_port)
    owned: dict[UUID, Known | Erased] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def versions(self) -> Versions:
        return without_ledger()

    async def states(self, subjects: Sequence[UUID]) -> list[OwnedState]:
        return [self.owned[subject] for subject in subjects if subject in self.owned]

    async def page(self, after: UUID, limit: int) -> list[OwnedState]:
        known = [s for s in self.owned.values() if isinstance(s, Known) and s.subject > after]
        return [*sorted(known, key=lambda s: s.subject)[:limit]]

    @asynccontextmanager
    async def serving(self, identity: IdentitySettings) -> AsyncIterator[None]:
        app = FastAPI(openapi_url=None)
        verifier = ServiceVerifier.from_settings("cv-status", identity)
        install(app, verifier)

        def source(_request: Request) -> CvStatus:
            return self

        app.include_router(state_routes("/internal/statuses", source, [SERVICE]))
        routes = Routes(app, HttpSettings(), Health())
        hot_states(routes, verifier, "/internal/statuses", self, [SERVICE])
        async with serving(routes, self.port):
            yield

    def put(self, cv_id: str, version: int, status: int, comment: str | None = None) -> StatusSet:
        """Set a status; gives the event that tells of it, not yet sent."""
        state: dict[str, Any] = {"status": status, "time": datetime.now(UTC).isoformat(), "cvVersion": 7}
        if comment is not None:
            state["comment"] = comment
        self.owned[UUID(cv_id)] = Known(UUID(cv_id), version, state)
        return self._event(cv_id, version)

    def erase(self, cv_id: str, version: int) -> StatusSet:
        self.owned[UUID(cv_id)] = Erased(UUID(cv_id), version)
        return self._event(cv_id, version)

    async def tell(self, *events: StatusSet) -> None:
        async with EventLog(self.kafka, STATUS_SET, "cv-status") as log:
            await log.send(*events)

    @staticmethod
    def _event(cv_id: str, version: int) -> StatusSet:
        return StatusSet(id=uuid4(), subject=UUID(cv_id), version=version, time=datetime.now(UTC))


@pytest.fixture
def cv_status(kafka_settings: KafkaSettings) -> CvStatus:
    return CvStatus(kafka_settings)


@dataclass
class Followed:
    """A registry that follows the stand-in."""

    registry: RegistryClient
    owner: CvStatus
    identity: IdentitySettings

    async def citizen(self) -> dict[str, Any]:
        citizen = a_citizen()
        (ids,) = await self.registry.register(citizen)
        assert (await self.registry.replace(citizen["personNumber"])).status_code == 200
        return {**citizen, **ids}

    async def shown(self, citizen: dict[str, Any], *seen: StatusSet) -> tuple[int | None, str | None]:
        """Read the CV with the token of what was seen: 503 may come first, the CV without it never."""
        headers = {"x_consistency_token": ConsistencyToken.of(*seen).encode()} if seen else {}
        answer = await self.registry.get(citizen["personNumber"], **headers)
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while seen and answer.status_code == 503:
                answer = await self.registry.get(citizen["personNumber"], **headers)
        assert answer.status_code == 200, answer.text
        assert GetCVResponse.from_json(answer.content)
        body = answer.json()
        return body.get("CVStatusIdentifier"), body.get("CVComment")


@pytest_asyncio.fixture
async def following(
    postgres: PostgresSettings, cv_status: CvStatus, identities: Identities, clock: SettableClock
) -> AsyncIterator[Followed]:
    """Give a registry with a stand-in for cv-status that is not serving yet."""
    identity, signers = identities.settings(SERVICE), identities.signers
    settings = some_settings(postgres, identity, cv_status.kafka).model_copy(
        update={"status_url": cv_status.url}
    )
    async with in_process(create_app(settings, clock=clock)) as (http, _):
        yield Followed(RegistryClient(http, signers), cv_status, identity)


async def is_live(database: Database) -> bool:
    return bool(await database.fetchval("SELECT 1 FROM projection_generations WHERE status = 'live'"))


async def is_followed(following: Followed, database: Database) -> None:
    """Wait until a record has come through: a broker that has just started takes some seconds to find a group's place."""
    await eventually(lambda: is_live(database), PATIENCE)
    first = following.owner.put(str(uuid4()), 1, 1)
    await following.owner.tell(first)
    applied = "SELECT 1 FROM projected_versions WHERE subject = $1"

    async def has_come() -> bool:
        return bool(await database.fetchval(applied, first.subject))

    await eventually(has_come, PATIENCE)


async def test_a_status_is_shown_after_the_municipality_with_its_comment(
    following: Followed, database: Database
) -> None:
    citizen = await following.citizen()
    async with following.owner.serving(following.identity):
        await is_followed(following, database)
        assert await following.shown(citizen) == (None, None)
        event = following.owner.put(citizen["cvId"], 5, 3, 'Godkendt: "æøå"')
        await following.owner.tell(event)
        assert await following.shown(citizen, event) == (3, 'Godkendt: "æøå"')
        body = (await following.registry.get(citizen["personNumber"])).json()
        assert list(body) == ["Municipality", "CVStatusIdentifier", "CVComment", "CVProfile"]


async def test_a_read_with_the_token_of_a_status_just_set_never_lacks_it(
    following: Followed, database: Database
) -> None:
    citizen = await following.citizen()
    async with following.owner.serving(following.identity):
        await is_followed(following, database)
        for version in range(1, 21):
            event = following.owner.put(citizen["cvId"], version, 2 + version % 2, f"nr. {version}")
            await following.owner.tell(event)
            assert await following.shown(citizen, event) == (2 + version % 2, f"nr. {version}")


async def test_a_comment_is_absent_when_the_newest_status_has_none(
    following: Followed, database: Database
) -> None:
    citizen = await following.citizen()
    async with following.owner.serving(following.identity):
        await is_followed(following, database)
        first = following.owner.put(citizen["cvId"], 1, 5, "Mangler uddannelse")
        await following.owner.tell(first)
        assert await following.shown(citizen, first) == (5, "Mangler uddannelse")
        second = following.owner.put(citizen["cvId"], 2, 1)
        await following.owner.tell(second)
        assert await following.shown(citizen, second) == (1, None)


async def test_statuses_from_before_the_first_record_come_with_the_first_build(
    following: Followed, database: Database
) -> None:
    citizen = await following.citizen()
    following.owner.put(citizen["cvId"], 9, 2)
    async with following.owner.serving(following.identity):
        await eventually(lambda: is_live(database), PATIENCE)
        assert await following.shown(citizen) == (2, None)


async def test_before_the_first_build_a_cv_is_shown_without_status_and_a_token_is_503(
    following: Followed,
) -> None:
    """cv-status is away, so nothing can be built: the CV itself is the registry's own and is not withheld."""
    citizen = await following.citizen()
    assert await following.shown(citizen) == (None, None)
    token = ConsistencyToken.of(following.owner.put(citizen["cvId"], 5, 3)).encode()
    refused = await following.registry.get(citizen["personNumber"], x_consistency_token=token)
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    ready = await following.registry.http.get("/health/ready")
    assert ready.status_code == 200, "cv-status is built from the registry, which may not wait for it"


async def test_a_status_that_does_not_arrive_in_time_is_503_and_no_older_one(
    following: Followed, database: Database
) -> None:
    citizen = await following.citizen()
    async with following.owner.serving(following.identity):
        await eventually(lambda: is_live(database), PATIENCE)
        token = ConsistencyToken.of(following.owner.put(citizen["cvId"], 5, 3)).encode()
        refused = await following.registry.get(citizen["personNumber"], x_consistency_token=token)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


async def test_the_registry_does_not_wait_for_what_it_wrote_itself(registry: RegistryClient) -> None:
    citizen = a_citizen()
    await registry.register(citizen)
    written = await registry.replace(citizen["personNumber"])
    token = written.headers["x-consistency-token"]
    assert (await registry.get(citizen["personNumber"], x_consistency_token=token)).status_code == 200


async def test_an_erased_status_leaves_no_row(following: Followed, database: Database) -> None:
    citizen = await following.citizen()
    async with following.owner.serving(following.identity):
        await is_followed(following, database)
        event = following.owner.put(citizen["cvId"], 5, 3, "x")
        await following.owner.tell(event)
        assert await following.shown(citizen, event) == (3, "x")
        gone = following.owner.erase(citizen["cvId"], 6)
        await following.owner.tell(gone)
        assert await following.shown(citizen, gone) == (None, None)
        assert await database.fetchval("SELECT 1 FROM statuses WHERE cv_id = $1", gone.subject) is None


async def test_during_a_rebuild_the_status_is_shown_all_the_while_and_afterwards(
    following: Followed, database: Database
) -> None:
    citizen = await following.citizen()
    async with following.owner.serving(following.identity):
        following.owner.put(citizen["cvId"], 5, 3)
        await eventually(lambda: is_live(database), PATIENCE)
        begun = await following.registry.call(
            "POST",
            "/internal/operations/projections/statuses/rebuild",
            {"who": "a test", "reason": "a rebuild"},
            service="operator",
            content_type="application/json",
        )
        assert begun.status_code == 200, begun.text

        async def swapped_with_nothing_missing() -> bool:
            assert await following.shown(citizen) == (3, None)
            live = "SELECT generation FROM projection_generations WHERE status = 'live'"
            return bool(await database.fetchval(live) == begun.json()["generation"])

        await eventually(swapped_with_nothing_missing, PATIENCE)
        assert await following.shown(citizen) == (3, None)


async def test_by_number_there_is_no_status(following: Followed, database: Database) -> None:
    citizen = await following.citizen()
    following.owner.put(citizen["cvId"], 5, 3)
    async with following.owner.serving(following.identity):
        await eventually(lambda: is_live(database), PATIENCE)
        answer = await following.registry.by_number(citizen["cvNumber"])
        assert list(answer.json()) == ["CVProfile"]


async def test_the_subscriptions_are_those_of_the_contracts(
    postgres: PostgresSettings, identities: Identities
) -> None:
    identity = identities.settings(SERVICE)
    urls = dict.fromkeys(("status_url", "contact_url"), "http://127.0.0.1:9")
    async with assemble(some_settings(postgres, identity).model_copy(update=urls), utc_now) as parts:
        assert parts.follower is not None
        assert_follows_contracts(parts.follower, SERVICE)


async def test_without_a_url_nobody_is_followed(
    postgres: PostgresSettings, identities: Identities, clock: SettableClock
) -> None:
    identity, signers = identities.settings(SERVICE), identities.signers
    settings = some_settings(postgres, identity)
    async with assemble(settings, clock) as parts:
        assert parts.follower is None
    async with in_process(create_app(settings, clock=clock)) as (http, _):
        registry = RegistryClient(http, signers)
        citizen = a_citizen()
        await registry.register(citizen)
        assert (await registry.replace(citizen["personNumber"])).status_code == 200
        assert "CVStatusIdentifier" not in (await registry.get(citizen["personNumber"])).json()
