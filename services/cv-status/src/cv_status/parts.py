"""The parts of a running cv-status, put together once, in its lifespan."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request

from cv_citizens.danish_time import Clock
from cv_citizens.documents import Documents, way_to_renderer
from cv_citizens.replica import Replica
from cv_citizens.replica_source import HttpRegistry
from cv_status.domain import STARTED, load_rules
from cv_status.followers import projections
from cv_status.frozen import FrozenDocuments
from cv_status.holdings import HOLDINGS
from cv_status.on_status import OnStatus
from cv_status.reading import Reading
from cv_status.registry import RegistryCvs
from cv_status.set_cv_status import SetCvStatus
from cv_status.settings import SERVICE, Settings
from cv_status.store import StatusStates, StatusStore
from servicekit.code_lists import CodeListWatch
from servicekit.data.access_log import AccessLog
from servicekit.data.idempotency import RequestLog
from servicekit.data.postgres import Database
from servicekit.follow.erasing import ErasureReceipts, receipted
from servicekit.follow.follower import Follower
from servicekit.follow.operations import Operations
from servicekit.publish.outbox import Outbox
from servicekit.publish.relay import Relay
from servicekit.web.client import ServiceClient
from servicekit.web.http import at_once
from servicekit.web.identity import ServiceSigner


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that routes and background tasks use."""

    database: Database
    code_lists: CodeListWatch
    request_log: RequestLog
    relay: Relay
    follower: Follower
    states: StatusStates
    reading: Reading
    frozen: FrozenDocuments
    on_status: OnStatus
    set_cv_status: SetCvStatus
    operations: Operations
    erasures: ErasureReceipts


def parts_of(request: Request) -> Parts:
    """Dependency: the parts of this application."""
    parts: Parts = request.app.state.parts
    return parts


PartsDep = Annotated[Parts, at_once(parts_of)]


@asynccontextmanager
async def assemble(settings: Settings, clock: Clock) -> AsyncIterator[Parts]:
    """Connect to the database and build all parts upon it."""
    signer = ServiceSigner.from_settings(SERVICE, settings.identity)
    registry = ServiceClient(settings.registry_url, "cv-registry", signer, deadline=settings.registry_timeout)
    renderer = way_to_renderer(settings.renderer_url, signer, settings.renderer_timeout)
    database = await Database.connect(settings.postgres, SERVICE)
    try:
        yield _parts(settings, clock, database, registry, Documents(renderer.post_json))
    finally:
        await database.close()
        registry.close()
        renderer.close()


def _parts(
    settings: Settings, clock: Clock, database: Database, registry: ServiceClient, documents: Documents
) -> Parts:
    code_lists = CodeListWatch(settings.code_lists)
    lists = code_lists.lists
    outbox = Outbox()
    access_log = AccessLog(database)
    request_log = RequestLog(settings.request_secret.get_secret_value().encode())
    citizens = HttpRegistry(registry.post_json)
    followed = receipted(projections(citizens, outbox), HOLDINGS)
    follower = Follower(database, settings.kafka, SERVICE, followed)
    store = StatusStore(database, outbox, lists.status_id(STARTED))
    replica = Replica(database, citizens)
    frozen = FrozenDocuments(store, documents, lists)
    return Parts(
        database=database,
        code_lists=code_lists,
        request_log=request_log,
        relay=Relay(database, settings.kafka, SERVICE, outbox),
        follower=follower,
        states=StatusStates(database),
        reading=Reading(store, replica, follower.applied, access_log, clock),
        frozen=frozen,
        on_status=OnStatus(
            store=store,
            replica=replica,
            applied=follower.applied,
            access_log=access_log,
            frozen=frozen,
            clock=clock,
        ),
        set_cv_status=SetCvStatus(
            store=store,
            replica=replica,
            registry=RegistryCvs(registry),
            applied=follower.applied,
            request_log=request_log,
            lists=lists,
            rules=load_rules(settings.status_rules),
            clock=clock,
        ),
        operations=Operations(database, follower),
        erasures=ErasureReceipts(database, SERVICE, HOLDINGS),
    )
