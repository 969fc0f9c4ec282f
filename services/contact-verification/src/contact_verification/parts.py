"""The parts of a running contact-verification, put together once, in its lifespan."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request

from contact_verification.admission import Admission
from contact_verification.circuit import Circuit
from contact_verification.domain import NOT_VERIFIED, role_ids
from contact_verification.followers import projections
from contact_verification.holdings import HOLDINGS
from contact_verification.keys import Keys
from contact_verification.looking_up import LookingUp
from contact_verification.mail import SmtpMail
from contact_verification.messages import Provider
from contact_verification.preparing import Prepares
from contact_verification.reconfirming import Reconfirming
from contact_verification.saving import SavePersonContactData
from contact_verification.sending import Channel, Sender
from contact_verification.settings import SERVICE, Settings
from contact_verification.settling import Settling
from contact_verification.sms import HttpSms
from contact_verification.states import ContactStates
from contact_verification.statuses import ContactStatuses
from contact_verification.store import ContactStore
from contact_verification.store_codes import CodeStore
from contact_verification.store_messages import MessageStore
from contact_verification.subscriptions import Subscriptions
from contact_verification.verifying import Verifying
from cv_citizens.danish_time import Clock
from cv_citizens.replica import Replica
from cv_citizens.replica_source import HttpRegistry
from cv_contracts.codelists import CodeLists
from servicekit.code_lists import CodeListWatch
from servicekit.data.access_log import AccessLog
from servicekit.data.idempotency import RequestLog
from servicekit.data.postgres import Database
from servicekit.follow.erasing import ErasureReceipts, receipted
from servicekit.follow.follower import Follower
from servicekit.follow.operations import Operations
from servicekit.follow.state_client import HttpStates
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
    states: ContactStates
    codes: CodeStore
    saving: SavePersonContactData
    verifying: Verifying
    looking_up: LookingUp
    contact_statuses: ContactStatuses
    subscriptions: Subscriptions
    prepares: Prepares
    settling: Settling
    messages: MessageStore
    sender: Sender
    reconfirming: Reconfirming
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
    timeout = settings.sending.timeout.total_seconds()
    database = await Database.connect(settings.postgres, SERVICE)
    try:
        async with aclosing(HttpSms(settings.sms, timeout)) as sms:
            mail = SmtpMail(settings.mail, timeout)
            yield _parts(settings, clock=clock, database=database, registry=registry, mail=mail, sms=sms)
    finally:
        await database.close()
        registry.close()


def _parts(
    settings: Settings,
    *,
    clock: Clock,
    database: Database,
    registry: ServiceClient,
    mail: Provider,
    sms: Provider,
) -> Parts:
    code_lists = CodeListWatch(settings.code_lists)
    lists, keys, outbox = code_lists.lists, Keys.from_settings(settings), Outbox()
    statuses = role_ids(lists)
    access_log, citizens = AccessLog(database), HttpRegistry(registry.post_json)
    request_log = RequestLog(settings.request_secret.get_secret_value().encode())
    store = ContactStore(database, outbox, keys, statuses[NOT_VERIFIED])
    codes = CodeStore(keys.codes, settings.codes)
    prepares = Prepares(store, codes, keys.vault, lists, settings.settle_after)
    cvs = HttpStates(registry.post_json, "/internal/cv-contacts")
    followed = receipted(projections(citizens, cvs, prepares, outbox), HOLDINGS)
    follower = Follower(database, settings.kafka, SERVICE, followed)
    admission = Admission(store, Replica(database, citizens), follower.applied, clock)
    contact_statuses = ContactStatuses(
        store=store,
        admission=admission,
        request_log=request_log,
        blind=keys.blind,
        lists=lists,
        statuses=statuses,
    )
    messages = MessageStore(database, lists)
    sender = Sender(
        messages=messages,
        keys=keys,
        statuses=contact_statuses,
        channels=[
            _channel(settings, lists, mail, ("EMAIL",)),
            _channel(settings, lists, sms, ("MOBILE", "LANDLINE")),
        ],
        settings=settings.sending,
        codes=settings.codes,
    )
    outbox.on_commit(sender.wake)
    return Parts(
        database=database,
        code_lists=code_lists,
        request_log=request_log,
        relay=Relay(database, settings.kafka, SERVICE, outbox),
        follower=follower,
        states=ContactStates(database, keys.vault),
        codes=codes,
        saving=SavePersonContactData(store, codes, admission, request_log, lists),
        verifying=Verifying(
            store=store,
            codes=codes,
            admission=admission,
            request_log=request_log,
            lists=lists,
            statuses=statuses,
        ),
        looking_up=LookingUp(
            database=database,
            admission=admission,
            registry=citizens,
            applied=follower.applied,
            access_log=access_log,
            blind=keys.blind,
            lists=lists,
            clock=clock,
        ),
        contact_statuses=contact_statuses,
        subscriptions=Subscriptions(store, prepares),
        prepares=prepares,
        settling=Settling(prepares, registry.post_json),
        messages=messages,
        sender=sender,
        reconfirming=Reconfirming(store, lists, settings.reconfirm_after, settings.remind_before),
        operations=Operations(database, follower),
        erasures=ErasureReceipts(database, SERVICE, HOLDINGS),
    )


def _channel(settings: Settings, lists: CodeLists, provider: Provider, roles: tuple[str, ...]) -> Channel:
    sending = settings.sending
    return Channel(
        provider=provider,
        contact_types=[lists.contact_type_id(role) for role in roles],
        mail="EMAIL" in roles,
        circuit=Circuit(sending.circuit_failures, sending.circuit_rest),
    )
