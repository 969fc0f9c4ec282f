"""The parts of a running registry, put together once, in its lifespan."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Request

from cv_citizens.danish_time import Clock
from cv_citizens.documents import Documents, way_to_renderer
from cv_registry import followers
from cv_registry.archiving import Archiving
from cv_registry.as_pdf import AsPdf
from cv_registry.asylum import AsylumTransitions
from cv_registry.contacts import Contacts
from cv_registry.erasing import Erasing
from cv_registry.holdings import HOLDINGS
from cv_registry.intake import Intake
from cv_registry.letters import AccountLetters
from cv_registry.life_cycle import Moving
from cv_registry.merging import Merging
from cv_registry.passwords import Passwords
from cv_registry.printing import HttpPrintService, PrintService
from cv_registry.reading import Reading
from cv_registry.replacing import Replacing
from cv_registry.settings import CONTACT_OWNER, SERVICE, Settings
from cv_registry.store_citizens import CitizenStore
from cv_registry.store_contacts import CvContacts
from cv_registry.store_cvs import CvStore
from cv_registry.store_letters import LetterStore
from cv_registry.store_merges import MergeStore
from servicekit.code_lists import CodeListWatch
from servicekit.data.access_log import AccessLog
from servicekit.data.idempotency import RequestLog
from servicekit.data.postgres import Database
from servicekit.follow.applied import applied_by
from servicekit.follow.erasing import ErasureReceipts, receipted
from servicekit.follow.follower import Follower
from servicekit.follow.operations import Operations
from servicekit.follow.projection import Projection
from servicekit.follow.state_client import Post
from servicekit.publish.outbox import Outbox
from servicekit.publish.relay import Relay
from servicekit.web.client import ServiceClient
from servicekit.web.http import at_once
from servicekit.web.identity import ServiceSigner
from servicekit.web.tls import trusting


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that routes and background tasks use."""

    database: Database
    code_lists: CodeListWatch
    access_log: AccessLog
    request_log: RequestLog
    relay: Relay
    follower: Follower | None
    """None where the settings name nobody to follow."""
    citizens: CitizenStore
    cvs: CvStore
    cv_contacts: CvContacts
    intake: Intake
    reading: Reading
    as_pdf: AsPdf
    replacing: Replacing
    asylum: AsylumTransitions
    moving: Moving
    merges: MergeStore
    merging: Merging
    archiving: Archiving | None
    """None where the settings let no CV be archived by time."""
    letters: AccountLetters
    erasing: Erasing
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
    code_lists = CodeListWatch(settings.code_lists)
    signer = ServiceSigner.from_settings(SERVICE, settings.identity)
    async with AsyncExitStack() as stack:

        def way(client: ServiceClient) -> Post:
            return stack.enter_context(closing(client)).post_json

        projections, contacts, print_service = [], None, None
        if url := settings.status_url:
            projections.append(followers.statuses(way(ServiceClient(url, "cv-status", signer))))
        if url := settings.contact_url:
            follow = way(ServiceClient(url, CONTACT_OWNER, signer))
            projections.append(followers.contacts(follow, code_lists.lists))
            prepare = ServiceClient(url, CONTACT_OWNER, signer, deadline=settings.contact_timeout)
            contacts = Contacts(way(prepare))
        if url := settings.print_url:
            seconds, tls = settings.print_timeout.total_seconds(), trusting(settings.print_ca_file)
            http = HttpPrintService(url, settings.print_token, seconds, tls)
            print_service = await stack.enter_async_context(http)
        renderer = way_to_renderer(settings.renderer_url, signer, settings.renderer_timeout)
        passwords = stack.enter_context(closing(Passwords()))
        database = await Database.connect(settings.postgres, SERVICE)
        stack.push_async_callback(database.close)
        yield _parts(
            settings,
            clock,
            database,
            code_lists=code_lists,
            projections=projections,
            contacts=contacts,
            documents=Documents(way(renderer)),
            print_service=print_service,
            passwords=passwords,
        )


def _parts(
    settings: Settings,
    clock: Clock,
    database: Database,
    *,
    code_lists: CodeListWatch,
    projections: Sequence[Projection],
    contacts: Contacts | None,
    documents: Documents,
    print_service: PrintService | None,
    passwords: Passwords,
) -> Parts:
    lists = code_lists.lists
    outbox = Outbox()
    access_log = AccessLog(database)
    request_log = RequestLog(settings.request_secret.get_secret_value().encode())
    citizens, cvs = CitizenStore(database, outbox), CvStore(database, outbox)
    follower = None
    if projections:
        follower = Follower(database, settings.kafka, SERVICE, receipted(projections, HOLDINGS))
    applied = follower.applied if follower else applied_by(database, {})
    merges = MergeStore(database, outbox)
    moving, days = Moving(cvs), settings.archive_after_days
    archiving = None if days is None else Archiving(database, moving, timedelta(days=days), clock)
    reading = Reading(cvs, applied, access_log, lists, clock)
    return Parts(
        database=database,
        code_lists=code_lists,
        access_log=access_log,
        request_log=request_log,
        relay=Relay(database, settings.kafka, SERVICE, outbox),
        follower=follower,
        citizens=citizens,
        cvs=cvs,
        cv_contacts=CvContacts(database),
        intake=Intake(citizens),
        reading=reading,
        as_pdf=AsPdf(reading, documents, access_log),
        replacing=Replacing(cvs, request_log, contacts, lists, clock),
        asylum=AsylumTransitions(citizens, request_log, lists, clock, settings.asylum_max_period),
        moving=moving,
        merges=merges,
        merging=Merging(merges, cvs, lists, clock),
        archiving=archiving,
        letters=AccountLetters(
            store=LetterStore(database, outbox),
            request_log=request_log,
            access_log=access_log,
            documents=documents,
            print_service=print_service,
            passwords=passwords,
            clock=clock,
        ),
        erasing=Erasing(database, outbox),
        operations=Operations(database, follower),
        erasures=ErasureReceipts(database, SERVICE, HOLDINGS),
    )
