"""The gateway's neighbours over real TCP, for tests and measurements: an identity provider and an owner that misbehaves."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from uvicorn.server import ServerState

from servicekit.settings import HttpSettings
from servicekit.web.heads import BoundedHeads

ISSUER = "https://provider.test"
AUDIENCE = "cvhub"

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(slots=True)
class Received:
    """A request as the owner got it; header names in lower case, repeated ones kept."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known == name), None)


Answering = Callable[[Received, asyncio.StreamWriter], Awaitable[bool]]
"""Writes an answer; True keeps the connection open for the next request."""


def plain(body: bytes = b"{}", status: str = "200 OK", *headers: str) -> Answering:
    """Answer as an owner should."""
    media = "application/json" if status.startswith("2") else "application/problem+json"
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", f"content-type: {media}", *headers]
    answer = "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def write(_request: Received, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer)
        return True

    return write


def raw(answer: bytes, *, keep: bool = True) -> Answering:
    """Answer with exactly these bytes, then keep the connection or end it."""

    async def write(_request: Received, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer)
        return keep

    return write


async def hang(_request: Received, _writer: asyncio.StreamWriter) -> bool:
    """Never answer."""
    await asyncio.Event().wait()
    return False


async def cut(_request: Received, _writer: asyncio.StreamWriter) -> bool:
    """End the connection without a byte."""
    return False


@dataclass(slots=True)
class ScriptedOwner:
    """A small real HTTP server. `script` answers the next requests one by one, `answering` all later ones."""

    answering: Answering = field(default_factory=plain)
    script: list[Answering] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    url: str = ""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop_connections(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open += 1
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                request = await _read(reader)
                self.received.append(request)
                answering = self.script.pop(0) if self.script else self.answering
                gone = asyncio.ensure_future(reader.read(1)) if answering is hang else None
                keep = await _until(answering(request, writer), gone)
                await writer.drain()
                if not keep:
                    break
        self.open -= 1
        self._writers.discard(writer)
        writer.close()


async def _until(answering: Awaitable[bool], gone: asyncio.Future[bytes] | None) -> bool:
    if gone is None:
        return await answering
    answer = asyncio.ensure_future(answering)
    either: set[asyncio.Future[Any]] = {answer, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        answer.cancel()
        gone.cancel()
    return False


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = [
        (name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:-2])
    ]
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    return Received(head[0], headers, await reader.readexactly(length))


@dataclass(slots=True)
class Provider:
    """An identity provider: keys, tokens signed with them, and a server that publishes the public ones."""

    keys: dict[str, SigningKey] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    owner: ScriptedOwner = field(default_factory=ScriptedOwner)

    async def start(self) -> None:
        self.owner.answering = self._publish
        await self.owner.start()

    @property
    def jwks_url(self) -> str:
        return f"{self.owner.url}/jwks"

    @property
    def asked(self) -> int:
        return len(self.owner.received)

    def add_key(self, key_id: str, key: SigningKey) -> None:
        self.keys[key_id] = key
        public = key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            entry = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
        else:
            entry = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
        self.published.append({**entry, "kid": key_id, "use": "sig"})

    def withdraw_key(self, key_id: str) -> None:
        self.published = [entry for entry in self.published if entry["kid"] != key_id]

    def token(self, key_id: str = "rsa", /, **claims: Any) -> str:
        """Sign a good token with these claims in place of the usual ones; a claim of None is left out."""
        key = self.keys[key_id]
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(good_claims(**claims), key, algorithm=algorithm, headers={"kid": key_id})

    async def _publish(self, request: Received, writer: asyncio.StreamWriter) -> bool:
        return await plain(json.dumps({"keys": self.published}).encode())(request, writer)


def good_claims(**changed: Any) -> dict[str, Any]:
    """Give the claims of a jobcenter's client that may do everything, changed as asked."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "client_id": "client-1",
        "scope": "cv.read cv.write cv.account cv.status cv.search cv.changes contact.write contact.verify contact.lookup",
        "organisation": {"type": 8, "code": "10100"},
        "may_act_as": [{"type": 8, "code": "10100"}],
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def call_headers(token: str, **changed: str | None) -> dict[str, str]:
    """Give the headers of a good call, changed as asked (`_` for `-`); a header of None is left out."""
    headers: dict[str, str | None] = {
        "authorization": f"Bearer {token}",
        "x-activeorganisation-type": "8",
        "x-activeorganisation-code": "10100",
        "x-requestuser-name": "S%C3%B8ren%20Test",
        "x-requestuser-type": "2",
        "x-requestuser-identifier": "CVR:12345678-FID:87654321",
        "x-civilregistrationidentifier": "0101010000",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    return {name: value for name, value in headers.items() if value is not None}


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Serve an ASGI app in this loop as a service is served, without signal handlers; gives the base URL."""
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", access_log=False, log_config=None
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan"}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    await from_app.get()
    server = await loop.create_server(
        lambda: BoundedHeads(config=config, server_state=state, app_state={}, settings=HttpSettings()),
        "127.0.0.1",
        0,
    )
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        await asyncio.gather(*state.tasks, return_exceptions=True)
        await to_app.put({"type": "lifespan.shutdown"})
        await life
