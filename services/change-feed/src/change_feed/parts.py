"""The parts of a running change-feed, put together once, in its lifespan."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Request

from change_feed.arrivals import LOOK_EVERY, Arrivals
from change_feed.change_list import ChangeList
from change_feed.citizens import Citizens, Owner
from change_feed.cursors import Cursors
from change_feed.feed import Feed
from change_feed.holdings import HOLDINGS, REPLICA
from change_feed.leading import Leader
from change_feed.rereading import hand_over
from change_feed.settings import SERVICE, Settings
from change_feed.snapshot import Snapshot
from change_feed.store import FeedStore
from change_feed.taking import Taking
from cv_citizens.danish_time import Clock
from cv_citizens.replica import replica_projection
from cv_citizens.replica_source import HttpRegistry
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.topics import topic_of
from servicekit.data.access_log import AccessLog
from servicekit.data.consistency import Applied
from servicekit.data.postgres import Database
from servicekit.follow.erasing import ErasureReceipts, receipted
from servicekit.follow.follower import Follower
from servicekit.follow.operations import Operations
from servicekit.follow.state_client import HttpStates
from servicekit.settings import KafkaSettings
from servicekit.web.client import ServiceClient
from servicekit.web.http import at_once
from servicekit.web.identity import ServiceSigner

CVS = "/internal/cvs"
CHANGED = topic_of(CVChanged).name


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that routes and background tasks use."""

    database: Database
    access_log: AccessLog
    follower: Follower
    leader: Leader
    arrivals: Arrivals
    store: FeedStore
    cvs: HttpStates
    citizens: HttpStates
    feed: Feed
    snapshot: Snapshot
    change_list: ChangeList
    applied: Applied
    kafka: KafkaSettings
    page_size: int
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
    database = await Database.connect(settings.postgres, SERVICE)
    try:
        yield _parts(settings, clock, database, registry)
    finally:
        await database.close()
        registry.close()


def _parts(settings: Settings, clock: Clock, database: Database, registry: ServiceClient) -> Parts:
    citizens, cvs = HttpRegistry(registry.post_json), HttpStates(registry.post_json, CVS)
    store = FeedStore(database)
    arrivals = Arrivals(store)
    cursors = Cursors(settings.request_secret.get_secret_value().encode())
    feed = Feed(store, arrivals, cursors)
    found = Citizens(database, Owner(citizens, cvs), settings.unknown_patience, clock)
    taking = Taking(database, found, cvs, clock)
    applied = Applied({CHANGED: store.placed}, LOOK_EVERY)

    def moved(subjects: Collection[UUID]) -> None:
        arrivals.moved()
        applied.notify(CHANGED, *subjects)

    followed = receipted([replica_projection(citizens)], REPLICA)
    follower = Follower(database, settings.kafka, SERVICE, followed)
    return Parts(
        database=database,
        access_log=AccessLog(database),
        follower=follower,
        leader=Leader(database, settings, taking, moved),
        arrivals=arrivals,
        store=store,
        cvs=cvs,
        citizens=citizens,
        feed=feed,
        snapshot=Snapshot(store, feed, cursors),
        change_list=ChangeList(store, settings.page_size, clock),
        applied=applied,
        kafka=settings.kafka,
        page_size=settings.page_size,
        operations=Operations(database, follower, {"feed": hand_over}),
        erasures=ErasureReceipts(database, SERVICE, HOLDINGS),
    )
