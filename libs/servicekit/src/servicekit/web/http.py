"""The edge of every service: trace, deadline, body limit and problem answers, alike for FastAPI and for hot routes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from time import perf_counter
from typing import Any, TypeVar

import structlog
from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cv_contracts.faults import Problem, Unavailable
from servicekit.observe.metrics import request_served
from servicekit.observe.telemetry import begin_request, end_request, trace_id
from servicekit.settings import HttpSettings
from servicekit.web.health import Health
from servicekit.web.identity import ServiceIdentity, ServiceVerifier, require_service
from servicekit.web.problems import BodyTooLarge, problem_body, problem_of, problem_response

__all__ = [
    "HotHandler",
    "HotResponse",
    "Routes",
    "at_once",
    "identity",
    "install",
    "internal_only",
    "problem_of",
    "problem_response",
    "remaining_seconds",
]

log = structlog.get_logger(__name__)

T = TypeVar("T")
HotResponse = tuple[int, list[tuple[bytes, bytes]], bytes]
HotHandler = Callable[[Mapping[bytes, bytes], bytes], Awaitable[HotResponse]]

_MOST_DIGITS = 12
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def remaining_seconds() -> float | None:
    """Say how much time the present request has left; pass it on to whoever is called."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())


class Routes:
    """The ASGI application of a service: health, hot routes by exact method and path, and all else by `app`.

    A hot handler gets the headers (lower-case names; of repeated ones the last) and the raw query of a GET, the body of any
    other method, and may raise any Problem. Trace, deadline, body limit and problems are the same for hot routes and for `app`.
    """

    def __init__(self, app: ASGIApp, settings: HttpSettings, health: Health) -> None:
        self._app = app
        self._limit = settings.body_limit
        self._longest = settings.request_timeout.total_seconds()
        self._hot: dict[tuple[str, str], HotHandler] = {}
        self.health = health
        self.add("GET", "/health/live", health.live)
        self.add("GET", "/health/ready", health.ready)

    def add(self, method: str, path: str, handler: HotHandler) -> None:
        self._hot[method, path] = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _live(self._app, scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        traceparent = headers.get(b"traceparent")
        span = begin_request(None if traceparent is None else traceparent.decode("latin-1"))
        begun = perf_counter()
        method, path = scope["method"], scope["path"]
        handler = self._hot.get((method, path))
        if handler is None:
            status = await self._serve_app(headers, scope, receive, send)
            path = getattr(scope.get("route"), "path", "(none)")
        else:
            query = scope["query_string"] if method == "GET" else None
            status, answer, body = await self._serve_hot(handler, headers, query, receive)
            await _send(send, status, answer, body)
        if method not in _METHODS:
            method = "_OTHER"
        if span is not None:
            end_request(span, method, path, status)
        request_served(method, path, status, perf_counter() - begun)

    async def _serve_hot(
        self, handler: HotHandler, headers: Mapping[bytes, bytes], query: bytes | None, receive: Receive
    ) -> HotResponse:
        try:
            async with self._time_limit(headers):
                asked = await self._body(headers, receive) if query is None else query
                return await handler(headers, asked)
        except Exception as error:  # noqa: BLE001 - the outermost place; nothing is swallowed, problem_of logs it
            return _as_hot(problem_of(error))

    async def _serve_app(
        self, headers: Mapping[bytes, bytes], scope: Scope, receive: Receive, send: Send
    ) -> int:
        outgoing = _Watched(send)
        try:
            self._check_length(headers)
            async with self._time_limit(headers):
                await self._app(scope, _limited(receive, self._limit), outgoing)
        except Exception as error:
            answer = _as_hot(problem_of(error))
            if outgoing.status:
                raise
            await _send(outgoing, *answer)
        return outgoing.status

    def _check_length(self, headers: Mapping[bytes, bytes]) -> None:
        length = headers.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > self._limit:
            raise BodyTooLarge(self._limit)

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        self._check_length(headers)
        limited, parts, more = _limited(receive, self._limit), [], True
        while more:
            message = await limited()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _time_limit(self, headers: Mapping[bytes, bytes]) -> asyncio.Timeout:
        seconds = self._longest
        asked = headers.get(b"x-deadline-ms")
        if asked is not None and asked.isdigit() and len(asked) < _MOST_DIGITS:
            seconds = min(seconds, int(asked) / 1000)
            if seconds <= 0:
                raise Unavailable
        deadline = asyncio.get_running_loop().time() + seconds
        _deadline.set(deadline)
        return asyncio.timeout_at(deadline)


class _Answering:
    """Answers what a FastAPI app raises before Starlette's own 500 page does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outgoing = _Watched(send)
        try:
            await self._app(scope, receive, outgoing)
        except Exception as error:
            if scope["type"] != "http":
                raise
            answer = _as_hot(problem_of(error))
            if outgoing.status:
                raise
            await _send(send, *answer)


class _Watched:
    """Remembers the status of an answer that has begun, after which no other can be given; 0 before."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def _limited(receive: Receive, limit: int) -> Receive:
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            if received > limit:
                raise BodyTooLarge(limit)
        return message

    return counted


def _as_hot(problem: Problem) -> HotResponse:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in problem.headers().items()]
    return problem.status, headers, problem_body(problem, trace_id())


async def _live(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass the lifespan on, and log what ends it: the server would write no more of a traceback than its first line."""
    starting = True

    async def outgoing(message: Message) -> None:
        nonlocal starting
        starting = starting and message["type"] != "lifespan.startup.complete"
        message.pop("message", None)
        await send(message)

    try:
        await app(scope, receive, outgoing)
    except Exception as error:
        if starting:
            log.error("startup_failed", exc_info=error)  # noqa: TRY400 - said once, here or below
        else:
            log.error("shutdown_failed", exc_info=error)  # noqa: TRY400
        raise


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def install(app: FastAPI, verifier: ServiceVerifier | None = None) -> None:
    """Let `app` answer problems in place of FastAPI's own errors, and verify service tokens with `verifier`.

    Trace, deadline and body limit come from Routes, which stands around the app.
    """
    if verifier is not None:
        app.state.verifier = verifier
    app.add_middleware(_Answering)
    for kind in (RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answer)


async def _answer(_request: Request, error: Exception) -> Response:
    return problem_response(problem_of(error))


def at_once(give: Callable[[Request], T]) -> Any:
    """Depend on what needs no waiting: FastAPI would run a plain function in another thread, and wait for its turn twice."""

    async def given(request: Request) -> T:
        return give(request)

    return Depends(given)


def identity(request: Request) -> ServiceIdentity:
    """Give the service that calls, verified (Fault 1012 if it cannot be)."""
    verifier: ServiceVerifier = request.app.state.verifier
    return verifier.authenticate(request.headers.get("authorization"))


def internal_only(*services: str) -> Any:
    """Dependency of an internal route: only the services listed may call it (Fault 1013)."""

    def listed(request: Request) -> ServiceIdentity:
        return require_service(identity(request), services)

    return at_once(listed)
