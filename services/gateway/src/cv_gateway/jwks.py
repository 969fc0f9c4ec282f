"""The identity provider's public keys: fetched, kept while it is down, and asked for again without hammering it."""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from servicekit.web.connection import UpstreamError
from servicekit.web.upstream import Forward, Owner, OwnerLimits

log = structlog.get_logger(__name__)

ALGORITHM_OF = {"RSA": "RS256", "EC": "ES256"}
RSA_BITS = 2048
JWKS_LIMITS = OwnerLimits(connections=1, waiting=0, connect_timeout=3.0, answer_bytes=512 * 1024)
MOST_WAITING = 32
"""So many wait for keys that are not known, while others are: anybody can name one, and the provider may hang."""


class KeysUnavailable(Exception):  # noqa: N818 - a state of the provider, not a mistake
    """A token cannot be judged now: no key has been read since the start, or too many wait for keys that are not known."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key of the provider, bound to the one algorithm that its type allows."""

    key_id: str
    algorithm: str
    public_key: RSAPublicKey | EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """When the provider is asked, in seconds."""

    max_age: float = 300.0
    """Older keys are still used, and asked for again in the background."""
    min_interval: float = 5.0
    """However many unknown key ids arrive, the provider is asked at most this often."""
    timeout: float = 5.0


class KeySource:
    """The provider's signing keys by key id."""

    def __init__(
        self,
        url: str,
        times: KeyTimes | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url)
        self._target = ((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode("ascii")
        self._owner = Owner(f"{parts.scheme}://{parts.netloc}", JWKS_LIMITS, tls)
        self._times = times or KeyTimes()
        self._clock = clock
        self._keys: dict[str, SigningKey] = {}
        self._asked = float("-inf")
        self._read = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._generation = 0
        self._waiting = 0

    @property
    def loaded(self) -> bool:
        """Whether tokens can be judged."""
        return bool(self._keys)

    def generation(self) -> int:
        """Give a number that rises when a key that may have signed accepted tokens is gone.

        Old keys are asked for again in the background: whoever is remembered asks for none.
        """
        if self._clock() - self._read > self._times.max_age:
            self._ask()
        return self._generation

    async def find(self, key_id: str) -> SigningKey | None:
        """Give the key, asking the provider if it is unknown; raises KeysUnavailable."""
        key = self._keys.get(key_id)
        if key is None:
            await self._refreshed()
            key = self._keys.get(key_id)
            if not self._keys:
                raise KeysUnavailable
        return key

    async def _refreshed(self) -> None:
        if self._keys and self._waiting >= MOST_WAITING:
            raise KeysUnavailable
        self._waiting += 1
        try:
            await self.refresh()
        finally:
            self._waiting -= 1

    async def refresh(self) -> None:
        """Ask the provider, unless it was asked a moment ago; never raises for what the provider does."""
        asking = self._ask()
        if asking is not None:
            await asyncio.shield(asking)

    async def close(self) -> None:
        """End a question under way."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        self._owner.close()

    def _ask(self) -> asyncio.Task[None] | None:
        if self._asking is None or self._asking.done():
            now = self._clock()
            if now - self._asked < self._times.min_interval:
                return None
            self._asked = now
            self._asking = asyncio.create_task(self._fetch(), name="jwks")
        return self._asking

    async def _fetch(self) -> None:
        deadline = asyncio.get_running_loop().time() + self._times.timeout
        request = Forward("GET", self._target, b"accept: application/json\r\n", b"", repeatable=True)
        try:
            answer = await self._owner.send(request, deadline)
            keys = read_keys(orjson.loads(answer.body)) if answer.status == 200 else {}
        except (UpstreamError, ValueError) as error:
            log.warning("signing_keys_unreadable", reason=type(error).__name__)
            return
        if not keys:
            log.warning("signing_keys_unreadable", reason="no usable key")
            return
        self._take(keys)

    def _take(self, keys: dict[str, SigningKey]) -> None:
        if any(keys.get(key_id) != key for key_id, key in self._keys.items()):
            self._generation += 1
        self._keys = keys
        self._read = self._clock()


def read_keys(document: Any) -> dict[str, SigningKey]:
    """Give the usable signing keys of a JWK set; what is not one is left out."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a JWK set")  # noqa: TRY004 - a bad document, like unreadable JSON
    keys: dict[str, SigningKey] = {}
    for entry in entries:
        key = _read_key(entry) if isinstance(entry, dict) else None
        if key is not None:
            keys[key.key_id] = key
    return keys


def _read_key(entry: dict[str, Any]) -> SigningKey | None:
    algorithm = ALGORITHM_OF.get(str(entry.get("kty")))
    key_id, use = entry.get("kid"), entry.get("use", "sig")
    if algorithm is None or not isinstance(key_id, str) or use != "sig":
        return None
    if entry.get("alg", algorithm) != algorithm:
        return None
    try:
        public_key = jwt.PyJWK(entry, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return SigningKey(key_id, algorithm, public_key) if _strong(public_key) else None


def _strong(key: object) -> bool:
    match key:
        case RSAPublicKey():
            return key.key_size >= RSA_BITS
        case EllipticCurvePublicKey():
            return isinstance(key.curve, SECP256R1)
        case _:
            return False
