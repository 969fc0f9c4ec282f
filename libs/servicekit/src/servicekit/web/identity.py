"""Services know each other: short tokens that each service signs with a key of its own.

A token names the service that signed it, the one service it is for, and the caller the first one acts for.
"""

import base64
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cv_contracts.faults import Fault
from servicekit.caller import Caller, Organisation, User
from servicekit.settings import IdentitySettings

ALGORITHM = "EdDSA"
NO_VALID_TOKEN = 1012
NOT_ALLOWED = 1013
LIFE = timedelta(seconds=30)
REUSE = timedelta(seconds=20)
LEEWAY = timedelta(seconds=5)
LONGEST_TOKEN = 8192
CACHE_SIZE = 10_000

Clock = Callable[[], float]


K = TypeVar("K")
V = TypeVar("V")


class _Expiring(Generic[K, V]):
    """A bounded cache; when full, the least recently used entry leaves.

    An entry is good from when it was put until it expires. The lower bound drops entries that were put while the clock was
    ahead, once it has been set back.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[K, tuple[V, float, float]] = OrderedDict()

    def get(self, key: K, now: float) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, since, expires = entry
        if not since <= now < expires:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V, now: float, expires: float) -> None:
        self._entries[key] = (value, now, expires)
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)


@dataclass(frozen=True, slots=True)
class ServiceIdentity:
    """A verified service, and the caller it acts for; no caller when it acts on its own."""

    service: str
    caller: Caller | None = None


class ServiceSigner:
    """Signs as one service. A token lives 30 s and is given again for 20 s to the same audience and caller."""

    def __init__(
        self,
        service: str,
        private_key: Ed25519PrivateKey,
        *,
        clock: Clock = time.time,
        cache_size: int = CACHE_SIZE,
    ) -> None:
        self.service = service
        self._key = private_key
        self._clock = clock
        self._signed: _Expiring[tuple[str, Caller | None], str] = _Expiring(cache_size)

    @classmethod
    def from_settings(cls, service: str, settings: IdentitySettings) -> "ServiceSigner":
        return cls(service, load_private_key(settings.key_file))

    def token(self, audience: str, caller: Caller | None = None) -> str:
        now = self._clock()
        wanted = (audience, caller)
        signed = self._signed.get(wanted, now)
        if signed is None:
            signed = self._sign(audience, caller, int(now))
            self._signed.put(wanted, signed, now, now + REUSE.total_seconds())
        return signed

    def _sign(self, audience: str, caller: Caller | None, now: int) -> str:
        claims: dict[str, Any] = {
            "iss": self.service,
            "aud": audience,
            "iat": now,
            "exp": now + int(LIFE.total_seconds()),
        }
        if caller is not None:
            claims["caller"] = _to_claims(caller)
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self.service})


class ServiceVerifier:
    """Verifies tokens meant for one service. A verified token is remembered, whole, until it expires."""

    def __init__(
        self,
        service: str,
        trusted: Mapping[str, Ed25519PublicKey],
        *,
        clock: Clock = time.time,
        cache_size: int = CACHE_SIZE,
    ) -> None:
        self.service = service
        self._trusted = dict(trusted)
        self._clock = clock
        self._verified: _Expiring[str, ServiceIdentity] = _Expiring(cache_size)

    @classmethod
    def from_settings(cls, service: str, settings: IdentitySettings) -> "ServiceVerifier":
        return cls(service, load_trusted(settings.trusted_file))

    def verify(self, token: str) -> ServiceIdentity:
        """Give who signed the token; every reason to doubt it is the same Fault 1012."""
        now = self._clock()
        known = self._verified.get(token, now)
        if known is not None:
            return known
        try:
            identity, expires = self._check(token, now)
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            raise Fault(NO_VALID_TOKEN) from None
        self._verified.put(token, identity, now, expires)
        return identity

    def authenticate(self, authorization: str | bytes | None) -> ServiceIdentity:
        """Verify what stands in an `authorization` header."""
        if isinstance(authorization, bytes):
            authorization = authorization.decode("latin-1")
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise Fault(NO_VALID_TOKEN)
        return self.verify(token)

    def _check(self, token: str, now: float) -> tuple[ServiceIdentity, float]:
        if len(token) > LONGEST_TOKEN:
            raise ValueError("too long")
        service = jwt.get_unverified_header(token)["kid"]
        claims = jwt.decode(
            token,
            self._trusted[service],
            algorithms=[ALGORITHM],
            audience=self.service,
            issuer=service,
            options={"require": ["exp", "iat", "aud", "iss"], "verify_exp": False, "verify_iat": False},
        )
        issued, expires = float(claims["iat"]), float(claims["exp"])
        leeway = LEEWAY.total_seconds()
        if not issued - leeway <= now < expires + leeway or expires - issued > LIFE.total_seconds():
            raise ValueError("not now")
        caller = claims.get("caller")
        return ServiceIdentity(service, None if caller is None else _from_claims(caller)), expires + leeway


def require_service(identity: ServiceIdentity, allowed: Collection[str]) -> ServiceIdentity:
    """Refuse (1013) a service that is not listed at the route."""
    if identity.service not in allowed:
        raise Fault(NOT_ALLOWED)
    return identity


def generate_key() -> tuple[bytes, str]:
    """Make a key pair: the private key as PEM, the public key as the base64 of its 32 raw bytes."""
    private_key = Ed25519PrivateKey.generate()
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    raw = private_key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return pem, base64.b64encode(raw).decode("ascii")


def load_private_key(path: Path) -> Ed25519PrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{path.name} holds no Ed25519 key")
    return key


def public_key(raw: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(raw, validate=True))


def load_trusted(path: Path) -> dict[str, Ed25519PublicKey]:
    """Read the services that are trusted: JSON of service name to base64 public key."""
    trusted: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return {service: public_key(raw) for service, raw in trusted.items()}


def _to_claims(caller: Caller) -> dict[str, Any]:
    return {
        "client": caller.client,
        "own": [caller.own.type, caller.own.code],
        "active": [caller.active.type, caller.active.code],
        "request": [caller.request_organisation.type, caller.request_organisation.code],
        "user": [caller.user.name, caller.user.type, caller.user.identifier],
        # Nobody reads them, but verifiers of other releases want them to be there.
        "scopes": [],
    }


def _from_claims(claims: Mapping[str, Any]) -> Caller:
    return Caller(
        client=claims["client"],
        own=Organisation(*claims["own"]),
        active=Organisation(*claims["active"]),
        request_organisation=Organisation(*claims["request"]),
        user=User(*claims["user"]),
    )
