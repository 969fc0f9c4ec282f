"""The parts of a running cv-search, put together once, in its lifespan."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request

from cv_citizens.danish_time import Clock, danish_today
from cv_citizens.replica_source import HttpRegistry
from cv_search.cluster_indexes import ClusterIndexes
from cv_search.confirming import Confirming
from cv_search.followers import projections
from cv_search.holdings import HOLDINGS
from cv_search.in_force import InForce
from cv_search.indexes import FolderIndexes, Indexes, ReferenceNow
from cv_search.indexing import Indexer
from cv_search.lease import Lease
from cv_search.opensearch_engine.calling import Cluster
from cv_search.pins import Pins
from cv_search.purging import Purging
from cv_search.readers import Readers, plan_of
from cv_search.refreshing import Refresh
from cv_search.searching import Searching
from cv_search.settings import SERVICE, IndexSettings, Settings
from cv_search.store import SearchDocuments
from cv_search.tantivy_engine import open_engine, open_reader
from servicekit.code_lists import CodeListWatch
from servicekit.data.access_log import AccessLog
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
    code_lists: CodeListWatch
    follower: Follower
    documents: SearchDocuments
    refresh: Refresh
    indexer: Indexer
    workers: Workers
    pins: Pins
    searching: Searching
    purging: Purging
    operations: Operations
    erasures: ErasureReceipts


def parts_of(request: Request) -> Parts:
    """Dependency: the parts of this application."""
    parts: Parts = request.app.state.parts
    return parts


PartsDep = Annotated[Parts, at_once(parts_of)]


@asynccontextmanager
async def assemble(settings: Settings, clock: Clock) -> AsyncIterator[Parts]:
    """Connect to the database, start the readers and build all parts upon them."""
    signer = ServiceSigner.from_settings(SERVICE, settings.identity)
    registry = ServiceClient(settings.registry_url, "cv-registry", signer, deadline=settings.owner_timeout)
    cv_status = ServiceClient(settings.status_url, "cv-status", signer, deadline=settings.owner_timeout)
    database = await Database.connect(settings.postgres, SERVICE)
    try:
        async with Workers(plan_of(settings)) as workers:
            yield _parts(settings, clock, database, workers, (registry, cv_status))
    finally:
        registry.close()
        cv_status.close()
        await database.close()


def _parts(
    settings: Settings,
    clock: Clock,
    database: Database,
    workers: Workers,
    owners: tuple[ServiceClient, ServiceClient],
) -> Parts:
    registry, cv_status = owners
    code_lists = CodeListWatch(settings.code_lists)
    in_force = InForce(code_lists.lists)
    documents = SearchDocuments(database, in_force.document, lambda: danish_today(clock))
    lease = None if settings.index.opensearch_url is None else Lease(database, "index")
    indexer = Indexer(
        documents,
        _indexes(settings.index, in_force.reference),
        settings.index,
        lease,
        writes=settings.role.writes,
    )
    followed = projections(registry.post_json, cv_status.post_json, documents, indexer.look)
    follower = Follower(database, settings.kafka, SERVICE, receipted(followed, HOLDINGS))
    purging = Purging(documents, indexer)
    access_log = AccessLog(database)
    pins = Pins(database, settings.pins)

    async def take_up() -> None:
        before = in_force.reference().digest
        await in_force.renew()
        if settings.role.writes and in_force.reference().digest != before:
            indexer.rebuild()

    code_lists.after_swap(take_up)
    return Parts(
        database=database,
        code_lists=code_lists,
        follower=follower,
        documents=documents,
        refresh=Refresh(documents, in_force.maker),
        indexer=indexer,
        workers=workers,
        pins=pins,
        searching=Searching(
            documents=documents,
            indexer=indexer,
            readers=Readers(workers),
            pins=pins,
            queries=in_force.queries,
            confirming=Confirming(HttpRegistry(registry.post_json)),
            applied=follower.applied,
            access_log=access_log,
            persons=settings.pins.persons,
        ),
        purging=purging,
        operations=Operations(database, follower),
        erasures=ErasureReceipts(database, SERVICE, HOLDINGS, purging.left),
    )


def _indexes(settings: IndexSettings, reference: ReferenceNow) -> Indexes:
    if settings.folder is not None:
        return FolderIndexes(settings.folder, open_engine, open_reader, reference)
    cluster = Cluster(settings.opensearch_url or "", settings.opensearch_ca_file)
    return ClusterIndexes(cluster, reference)
