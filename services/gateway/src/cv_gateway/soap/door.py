"""`POST /soap/v6`: one envelope in, one out. Between them the call goes the way that REST's goes."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import orjson

from cv_contracts.faults import Fault, Problem
from cv_contracts.methods import Method
from cv_gateway.caller import AUTHORIZATION
from cv_gateway.forwarding import Header, Receive, answer_headers, read_body, split
from cv_gateway.lanes import Lane
from cv_gateway.owners import Owners, unreadable_answer
from cv_gateway.queries import target_of
from cv_gateway.rest import Reply, of_every_answer
from cv_gateway.soap.description import PATH
from cv_gateway.soap.envelope import EnvelopeReader, Request
from cv_gateway.soap.faults import CONTENT_TYPE, INVALID, EnvelopeFault, envelope, fault_of, fault_of_members
from cv_gateway.soap.mapping import mapped
from cv_gateway.soap.tables import NAMESPACE
from cv_gateway.soap.writing import DoesNotFit, escape, write
from servicekit.web.connection import Answer

READ_ASIDE = 64 * 1024
"""From so many bytes on an envelope is read in a thread, so that nobody waits for it meanwhile."""
BIG_AT_ONCE = 32
"""So many of these may wait for each other; more are 503."""
FAULT = 500
"""SOAP 1.1 over HTTP gives every fault this status; the outcome that is counted is the problem's."""

_OVER_HTTP = frozenset({b"if-match"})
_DROPPED = frozenset({b"content-type", b"content-encoding", b"vary"})
_MEDIA = ("text/xml", "application/xml", "application/soap+xml", "")
_CHARSETS = ("", "utf-8", "utf8", "us-ascii")


class SoapDoor:
    """Answers the thirteen methods of CVService as SOAP."""

    verb = "POST"
    path = PATH
    name = "SOAP"

    def __init__(self, owners: Owners, body_limit: int, body_seconds: float) -> None:
        self.lane = owners.lane
        self._owners = owners
        self._body_limit = body_limit
        self._body_seconds = body_seconds
        self._reader = EnvelopeReader()
        self._aside = EnvelopeReader()
        self._thread = ThreadPoolExecutor(1, "soap")
        self._big = Lane(BIG_AT_ONCE)

    async def answer(self, scope: Any, receive: Receive, traceparent: str) -> Reply:
        """Answer an envelope; raises what refuses it. Without a token nothing of it is read."""
        headers = scope["headers"]
        identity, forwarded = split(headers)
        token = tuple(header for header in identity if header[0] == AUTHORIZATION)
        await self._owners.check_token(token)
        _check_media(headers)
        content = await read_body(receive, headers, self._body_limit, self._body_seconds)
        request = await self._read(content)
        self._owners.demand_room(request.method)
        caller = await self._owners.admit(request.method, (*token, *request.identity))
        if request.message is None:
            raise Fault(INVALID, request.errors)
        rest = mapped(request.method, request.message)
        target = target_of(request.method, rest.query.encode("ascii"))
        sent = [*(one for one in forwarded if one[0] in _OVER_HTTP), *request.forwarded, *rest.headers]
        way = self._owners.way(request.method, caller, sent, traceparent)
        answer = await self._owners.ask(way, target, rest.body, receive)
        return _reply(request.method, answer, traceparent)

    def refuse(self, problem: Problem, traceparent: str) -> Reply:
        """Give a refusal as a fault."""
        told = {name: value for name, value in problem.headers().items() if name != "content-type"}
        headers = [(name.encode(), value.encode("latin-1")) for name, value in told.items()]
        body = fault_of(problem, traceparent[3:35])
        return Reply(FAULT, [CONTENT_TYPE, *headers, *of_every_answer(traceparent)], body, problem.status)

    async def _read(self, content: bytes) -> Request:
        if len(content) < READ_ASIDE:
            return self._reader.read(content)
        with self._big:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._aside.read, content)


def _reply(method: Method, answer: Answer, traceparent: str) -> Reply:
    kept = [header for header in answer_headers(answer.headers) if header[0] not in _DROPPED]
    headers = [CONTENT_TYPE, *kept, *of_every_answer(traceparent)]
    try:
        content = orjson.loads(answer.body)
        if answer.status != 200:
            return Reply(FAULT, headers, fault_of_members(content), answer.status)
        return Reply(200, headers, envelope(write(f"{method.name}Response", content), _blocks(kept)))
    except (DoesNotFit, ValueError, KeyError, TypeError):
        # Nothing of the error is kept: it could quote the answer.
        raise unreadable_answer(method) from None


def _blocks(headers: list[Header]) -> str:
    """Give the header blocks of an answer to those who cannot read headers of HTTP."""
    blocks = ""
    for name, value in headers:
        if name == b"x-consistency-token":
            text = escape(value.decode("latin-1"))
            blocks += f'<ConsistencyTokenHeader xmlns="{NAMESPACE}">{text}</ConsistencyTokenHeader>'
        elif name == b"x-idempotent-replay":
            blocks += f'<IdempotentReplayHeader xmlns="{NAMESPACE}">true</IdempotentReplayHeader>'
    return blocks


def _check_media(headers: list[Header]) -> None:
    """Refuse another SOAP, attachments and other encodings by what HTTP says of them; without a word it may be XML."""
    given = next((value for name, value in headers if name == b"content-type"), b"")
    if reason := _media_refused(given):
        raise EnvelopeFault("Content-Type", reason)


@lru_cache(64)
def _media_refused(given: bytes) -> str | None:
    media, *parameters = (part.strip().lower() for part in given.decode("latin-1").split(";"))
    charset = next(
        (one.partition("=")[2].strip("\"' ") for one in parameters if one.startswith("charset")), ""
    )
    if media not in _MEDIA:
        return "is not text/xml"
    return None if charset in _CHARSETS else "names an encoding that is not UTF-8"
