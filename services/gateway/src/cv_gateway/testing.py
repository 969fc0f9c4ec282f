"""What is around the gateway, over real TCP, for tests and measurements: an identity provider, its tokens, and calls."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from uvicorn.server import ServerState

from servicekit.settings import HttpSettings
from servicekit.web.heads import BoundedHeads
from servicekit.web.upstream_testing import Received, ScriptedOwner, plain

ISSUER = "https://provider.test"
AUDIENCE = "cvhub"

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


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
