"""The parts of a running pdf-renderer, put together once, in its lifespan."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request

from pdf_renderer.ahead import RenderAhead
from pdf_renderer.documents import Documents
from pdf_renderer.followers import projections
from pdf_renderer.holdings import HOLDINGS
from pdf_renderer.rendering import plan_of
from pdf_renderer.settings import SERVICE, Settings
from pdf_renderer.store import DocumentStore
from servicekit.data.postgres import Database
from servicekit.follow.erasing import ErasureReceipts, receipted
from servicekit.follow.follower import Follower
from servicekit.follow.operations import Operations
from servicekit.web.client import ServiceClient
from servicekit.web.http import at_once
from servicekit.web.identity import ServiceSigner
from servicekit.worker_pool import Workers


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that routes and background tasks use."""

    database: Database
    store: DocumentStore
    workers: Workers
    documents: Documents
    follower: Follower
    ahead: RenderAhead
    operations: Operations
    erasures: ErasureReceipts


def parts_of(request: Request) -> Parts:
    """Dependency: the parts of this application."""
    parts: Parts = request.app.state.parts
    return parts


PartsDep = Annotated[Parts, at_once(parts_of)]


@asynccontextmanager
async def assemble(settings: Settings) -> AsyncIterator[Parts]:
    """Connect to the database, start the workers and build all parts upon them."""
    signer = ServiceSigner.from_settings(SERVICE, settings.identity)
    registry = ServiceClient(settings.registry_url, "cv-registry", signer, deadline=settings.owner_timeout)
    cv_status = ServiceClient(settings.status_url, "cv-status", signer, deadline=settings.owner_timeout)
    database = await Database.connect(settings.postgres, SERVICE)
    try:
        async with Workers(plan_of(settings.workers)) as workers:
            store = DocumentStore(database)
            documents = Documents(store, workers, settings.workers)
            followed = receipted(projections(registry.post_json, cv_status.post_json), HOLDINGS)
            follower = Follower(database, settings.kafka, SERVICE, followed)
            yield Parts(
                database=database,
                store=store,
                workers=workers,
                documents=documents,
                follower=follower,
                ahead=RenderAhead(store, documents, cv_status.post_json),
                operations=Operations(database, follower),
                erasures=ErasureReceipts(database, SERVICE, HOLDINGS),
            )
    finally:
        registry.close()
        cv_status.close()
        await database.close()
