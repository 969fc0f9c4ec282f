"""The gateway: finds the door a request is for, has it answered there, and says what became of it."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

import structlog

from cv_contracts.faults import Problem
from cv_contracts.methods import METHODS
from cv_gateway.caller import Admission
from cv_gateway.feed import FEED_ROUTES
from cv_gateway.forwarding import Departed, Header, Receive
from cv_gateway.jwks import KeySource, KeysUnavailable, KeyTimes
from cv_gateway.lanes import Busy, Lane, Shed
from cv_gateway.owners import Owners
from cv_gateway.pages import pages
from cv_gateway.rest import Reply, RestMethod, refusal
from cv_gateway.seal import TokenSeal
from cv_gateway.settings import SERVICE, Settings, TokenSettings
from cv_gateway.soap.description import Description
from cv_gateway.soap.door import SoapDoor
from cv_gateway.token import TokenRules, TokenVerifier
from servicekit.code_lists import CodeListWatch
from servicekit.observe import metrics
from servicekit.observe.telemetry import begin_request, current_traceparent, end_request, new_traceparent
from servicekit.web.connection import BODILESS
from servicekit.web.health import Health
from servicekit.web.http import HotHandler
from servicekit.web.identity import ServiceSigner, load_private_key
from servicekit.web.problems import Refused, problem_of
from servicekit.web.tls import trusting

log = structlog.get_logger(__name__)

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Scope = MutableMapping[str, Any]

HUNG_UP = 499
"""Counted in place of a status where nobody is left to be answered."""
NO_SUCH_PATH = "There is no such path; /docs has all there are, and capitals count"


class Door(Protocol):
    """A route at which calls are answered."""

    verb: str
    path: str
    name: str
    lane: Lane

    async def answer(self, scope: Scope, receive: Receive, traceparent: str) -> Reply:
        """Answer a call; raises whatever refuses it."""
        ...

    def refuse(self, problem: Problem, traceparent: str) -> Reply:
        """Tell a refusal as callers of this route are used to."""
        ...


class Probe:
    """A question about this process itself: answered while calls are turned away, and counted as they are."""

    verb = "GET"

    def __init__(self, path: str, ask: HotHandler) -> None:
        self.path = self.name = path
        self.lane = Lane(sys.maxsize)
        self._ask = ask

    async def answer(self, _scope: Scope, _receive: Receive, _traceparent: str) -> Reply:
        """Say how the process is."""
        return Reply(*await self._ask({}, b""))

    def refuse(self, problem: Problem, traceparent: str) -> Reply:
        """Tell what went wrong with the question."""
        return refusal(problem, traceparent)


class Gateway:
    """The ASGI application. Holds no state about citizens; what it remembers are tokens, callers and quotas."""

    def __init__(
        self, owners: Owners, keys: KeySource, code_lists: CodeListWatch, settings: Settings
    ) -> None:
        self.health = Health(on_draining=owners.leave)
        self.health.check("signing-keys", self._check_keys)
        self.health.check("code-lists", code_lists.standing)
        self._code_lists = code_lists
        self._keys = keys
        self._owners = owners
        probes = Probe("/health/live", self.health.live), Probe("/health/ready", self.health.ready)
        doors = *_doors(owners, settings), *probes
        self._doors = {(door.verb, door.path.encode()): door for door in doors}
        self._pages = pages()
        self._description = Description(settings.public_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        span = begin_request(_traceparent(scope["headers"]), from_outside=True)
        traceparent = current_traceparent() or new_traceparent()
        door = self._doors.get((scope["method"], scope["raw_path"]))
        if door is None:
            await _send(send, await self._other(scope, traceparent))
            return
        begun = time.perf_counter()
        try:
            reply = await self._guarded(door, scope, receive, traceparent)
        except Departed:
            outcome = HUNG_UP
        else:
            await _send(send, reply)
            outcome = reply.outcome or reply.status
        metrics.request_served(door.verb, door.path, outcome, time.perf_counter() - begun)
        if span is not None:
            end_request(span, door.verb, door.path, outcome)

    async def _guarded(self, door: Door, scope: Scope, receive: Receive, traceparent: str) -> Reply:
        try:
            with door.lane:
                return await door.answer(scope, receive, traceparent)
        except Departed:
            raise
        except Exception as error:  # noqa: BLE001 - the outermost place; nothing is swallowed, problem_of logs it
            return _refused(door, problem_of(error), traceparent)

    async def _other(self, scope: Scope, traceparent: str) -> Reply:
        path = scope["raw_path"]
        page = self._pages.get(path) or self._description.page(path, scope)
        allowed = {verb for verb, known in self._doors if known == path} | ({"GET"} if page else set())
        if page is not None and scope["method"] == "GET":
            return Reply(*page.response())
        if allowed:
            return refusal(Refused(405, {"allow": ", ".join(sorted(allowed))}), traceparent)
        return refusal(Refused(404, detail=NO_SUCH_PATH), traceparent)

    async def _check_keys(self) -> None:
        if not self._keys.loaded:
            await self._keys.refresh()
        if not self._keys.loaded:
            raise KeysUnavailable

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._keys.refresh()
        watching = asyncio.create_task(self._code_lists.run(), name="code-lists")
        self.health.watch(watching.get_name(), watching)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        watching.cancel()
        await self._keys.close()
        self._owners.close()
        await send({"type": "lifespan.shutdown.complete"})


def create_app(settings: Settings) -> Gateway:
    """Put the gateway together."""
    keys = _keys(settings.token)
    rules = TokenRules(settings.token.issuer, settings.token.audience, settings.token.leeway.total_seconds())
    verifier = TokenVerifier(rules, keys, settings.token.remembered)
    code_lists = CodeListWatch(settings.code_lists)
    admission = Admission(verifier, code_lists.lists, settings.token.remembered)
    code_lists.after_swap(admission.forget)
    key = load_private_key(settings.identity.key_file)
    owners = Owners(admission, ServiceSigner(SERVICE, key), TokenSeal(key), settings)
    return Gateway(owners, keys, code_lists, settings)


def _doors(owners: Owners, settings: Settings) -> list[Door]:
    limit, seconds = settings.http.body_limit, settings.limits.body_time.total_seconds()
    rest = [RestMethod(method, owners, limit, seconds) for method in (*METHODS, *FEED_ROUTES)]
    return [*rest, SoapDoor(owners, limit, seconds)]


def _keys(settings: TokenSettings) -> KeySource:
    times = KeyTimes(settings.keys_max_age.total_seconds(), settings.keys_min_interval.total_seconds())
    return KeySource(settings.jwks_url, times, trusting(settings.ca_file))


def _traceparent(headers: list[Header]) -> str | None:
    for name, value in headers:
        if name == b"traceparent":
            return value.decode("latin-1")
    return None


def _refused(door: Door, problem: Problem, traceparent: str) -> Reply:
    """Log and answer a problem.

    Passed as an argument on purpose: a local in the `except` frame would form a cycle (exception -> traceback -> frame) and
    keep the request in memory until the next garbage collection.
    """
    if problem.status >= 500 and not isinstance(problem, Busy | Shed):
        log.warning("call_failed", method=door.name, code=problem.code, trace_id=traceparent[3:35])
    return door.refuse(problem, traceparent)


async def _send(send: Send, reply: Reply) -> None:
    body = reply.body
    headers = reply.headers
    if reply.status not in BODILESS:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
