"""The owners of methods, however a call is spelled: admits the caller, counts the quota, finds the owner and asks it."""

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from math import inf

import orjson
import structlog

from cv_contracts.faults import FAULTS, INTERNAL_ERROR, Fault, Problem, Unavailable
from cv_contracts.methods import METHODS, Method
from cv_gateway.caller import Admission, Identity
from cv_gateway.departure import Departure
from cv_gateway.feed import FEED, FEED_ROUTES
from cv_gateway.forwarding import Departed, Header, Receive, head_lines
from cv_gateway.jwks import KeysUnavailable
from cv_gateway.lanes import Busy, Lane
from cv_gateway.polls import Polls
from cv_gateway.quota import Quota
from cv_gateway.seal import HEADER, TokenSeal
from cv_gateway.settings import Settings
from servicekit.caller import Caller
from servicekit.data.consistency import DEFAULT_WAIT
from servicekit.web.connection import Answer, Crowded, Garbled, UpstreamError
from servicekit.web.identity import ServiceSigner
from servicekit.web.tls import trusting
from servicekit.web.upstream import Forward, Owner, OwnerLimits

log = structlog.get_logger(__name__)

BY_NUMBER = 10
LONGEST_TOKEN_WAIT = 2 * DEFAULT_WAIT.total_seconds()
"""Seconds that a consistency token may cost: a search waits for its copy of the CV, and then for its index."""
UNREADABLE_ANSWER = 1002
NOT_MODIFIED, NOT_NOW, PROBLEM = 304, 503, b"application/problem+json"
_POLLS = "polls of the feed"
"""The owner of the feed once more, with connections of their own for those who wait."""
POLLS_KEPT = 600.0
"""About so many seconds a connection for polls is kept: each poll may wait as long as another connection is kept at all."""
_DOCUMENTS = {method.owner: f"documents of {method.owner}" for method in METHODS if method.assistant}
"""Owners once more, with connections of their own for methods that wait for a rendering."""


@dataclass(frozen=True, slots=True)
class Way:
    """The way of one admitted call to its owner; `head` is its header lines, but for who calls.

    `waits`: so many seconds its owner may take on purpose, until the answer shows what a consistency token names.
    """

    method: Method
    caller: Caller
    owner: Owner
    head: bytes
    waits: float


class Owners:
    """What every door of the gateway shares: who may call, how often, how many at once, and how owners are asked."""

    def __init__(
        self, admission: Admission, signer: ServiceSigner, seal: TokenSeal, settings: Settings
    ) -> None:
        limits = settings.limits
        self.lane, self.polls = Lane(limits.in_flight), Lane(limits.polls)
        self._feed_polls = Polls()
        self._admission = admission
        self._signer = signer
        self._seal = seal
        self._by_name = _owners(settings)
        self._quota = Quota(limits.by_number, limits.by_number_period)
        self._seconds = {
            method.name: limits.deadlines.get(method.name, limits.deadline).total_seconds()
            for method in (*METHODS, *FEED_ROUTES)
        }
        self._swift = {
            name: limits.swift.get(name, limits.swift_answer).total_seconds()
            for name in self._seconds.keys() - limits.deadlines.keys()
        }

    def demand_room(self, method: Method) -> None:
        """Turn a call away (503) before its caller is judged, when its owner could not take it anyway."""
        owner = self._owner(method)
        if owner is not None and owner.crowded:
            raise Busy(method)

    async def check_token(self, identity: Identity) -> None:
        """Refuse a caller without an acceptable token (1012) before anything else of the call is read."""
        try:
            await self._admission.check_token(identity)
        except KeysUnavailable:
            raise Unavailable from None

    async def admit(self, method: Method, identity: Identity) -> Caller:
        """Give the caller, or the fault that comes first; counts the call where there is a quota."""
        try:
            caller = await self._admission.admit(method, identity)
        except KeysUnavailable:
            raise away(method, Unavailable()) from None
        if method.number == BY_NUMBER:
            self._quota.take(caller.client)
        return caller

    def way(
        self, method: Method, caller: Caller, forwarded: list[Header], traceparent: str, more: bytes = b""
    ) -> Way:
        """Find the owner and write the header lines for it; raises the fault for an owner that is not there.

        Raises Fault 1014 for headers that no owner may be given: a consistency token that is not the caller's own, for one.
        """
        owner = self._owner(method)
        if owner is None:
            raise Fault(method.unreachable_fault)
        opened = self._seal.opened(forwarded, caller.client)
        waits = LONGEST_TOKEN_WAIT if any(name == HEADER for name, _ in opened) else 0.0
        return Way(method, caller, owner, head_lines(opened, traceparent.encode("ascii")) + more, waits)

    async def ask(self, way: Way, target: bytes, body: bytes, receive: Receive) -> Answer:
        """Give the owner's answer, also one that refuses; raises Departed when the caller has hung up meanwhile."""
        method = way.method
        swift = self._swift.get(method.name, inf)
        request = Forward(
            method.verb,
            target,
            way.head,
            body,
            repeatable=method.verb == "GET",
            swift=swift,
            waits=way.waits,
            credentials=partial(self._authorization, method.owner, way.caller),
        )
        departure = Departure(receive)
        try:
            deadline = asyncio.get_running_loop().time() + self._seconds[method.name]
            send = self._feed_polls.send if method is FEED else Owner.send
            answer = await send(way.owner, request, deadline)
        except asyncio.CancelledError:
            if departure.gone:
                raise Departed from None
            raise
        except Crowded:
            raise Busy(method) from None
        except Garbled:
            raise unreadable_answer(method) from None
        except UpstreamError:
            raise Fault(method.unreachable_fault) from None
        finally:
            departure.stop()
        if answer.status == 401:
            # Callers' tokens are judged here: the owner did not accept the gateway's own.
            log.error("gateway_refused_by_owner", owner=method.owner)
            raise Fault(method.unreachable_fault)
        if answer.status >= 300 and not _is_for_callers(answer):
            raise Fault(method.unreachable_fault) if answer.status >= 500 else unreadable_answer(method)
        if answer.status == NOT_NOW and method.unreachable_fault != INTERNAL_ERROR:
            return _away(answer, method.unreachable_fault)
        return Answer(answer.status, self._seal.sealed(answer.headers, way.caller.client), answer.body)

    def _owner(self, method: Method) -> Owner | None:
        if method is FEED:
            return self._by_name.get(_POLLS)
        return self._by_name.get(_DOCUMENTS[method.owner] if method.assistant else method.owner)

    def _authorization(self, owner: str, caller: Caller) -> bytes:
        return b"authorization: Bearer %b\r\n" % self._signer.token(owner, caller).encode("ascii")

    def leave(self) -> None:
        """Let those who wait for something to happen be answered soon: the process is about to leave."""
        self._feed_polls.leave()

    def close(self) -> None:
        """Close the connections to the owners."""
        for owner in self._by_name.values():
            owner.close()


def _owners(settings: Settings) -> dict[str, Owner]:
    limits = OwnerLimits(
        connections=settings.limits.connections,
        waiting=settings.limits.waiting,
        longest_wait=settings.limits.longest_wait.total_seconds(),
        hurried_wait=settings.limits.hurried_wait.total_seconds(),
        connect_timeout=settings.limits.connect_timeout.total_seconds(),
        answer_bytes=settings.limits.answer_bytes,
    )
    tls = trusting(settings.owners_ca_file)
    owners = {name: Owner(url, limits, tls) for name, url in settings.owners.items()}
    feed = settings.owners.get(FEED.owner)
    if feed is not None:
        polls = settings.limits.polls
        polling = replace(limits, connections=polls, least=polls, waiting=0, longest_kept=POLLS_KEPT)
        owners[_POLLS] = Owner(feed, polling, tls)
    for_documents = replace(limits, connections=settings.limits.documents)
    for name, documents in _DOCUMENTS.items():
        if name in settings.owners:
            owners[documents] = Owner(settings.owners[name], for_documents, tls)
    return owners


def _is_for_callers(answer: Answer) -> bool:
    """Tell what an owner itself refuses from what a server or a proxy before it says in its own way."""
    return answer.status == NOT_MODIFIED or (b"content-type", PROBLEM) in answer.headers


def away(method: Method, problem: Unavailable) -> Problem:
    """Give the method's own fault for what cannot be answered now, where it lists one."""
    code = method.unreachable_fault
    return problem if code == INTERNAL_ERROR else Fault(code, retry_after=problem.retry_after)


def _away(answer: Answer, code: int) -> Answer:
    """Let an owner that cannot answer now (1011) be told as one that is away; why, and for how long, stays its own."""
    try:
        members = orjson.loads(answer.body)
        if members["code"] != INTERNAL_ERROR:
            return answer
    except (ValueError, KeyError, TypeError):
        raise Fault(code) from None
    told = {**members, "type": f"urn:cvhub:fault:{code}", "title": FAULTS[code].title, "code": code}
    return replace(answer, body=orjson.dumps(told))


def unreadable_answer(method: Method) -> Fault:
    """Give the fault for an owner's answer that makes no sense: 1002 where the method lists it."""
    return Fault(UNREADABLE_ANSWER if UNREADABLE_ANSWER in method.faults else INTERNAL_ERROR)
