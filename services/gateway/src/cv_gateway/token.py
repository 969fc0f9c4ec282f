"""Bearer tokens: verified once against the provider's keys, then remembered until they expire."""

import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import orjson

from cv_contracts.faults import Fault
from cv_gateway.bounded import Bounded
from cv_gateway.jwks import KeySource
from servicekit.caller import Organisation

LOGON_FAILED = 1012
LONGEST_TOKEN = 32 * 1024
"""Bytes; enough for as many organisations as may be named."""
SMALL_TOKEN = 2048
"""Bytes of a token that takes one place among those that are remembered."""
LONGEST_SCOPES = 8192
LONGEST_CLIENT = 255
LONGEST_CODE = 20
MOST_ORGANISATIONS = 500
REQUIRED = ["iss", "aud", "exp", "iat"]


class BadToken(Fault):
    """No token, or none that can be accepted; the caller never learns which of the two, nor why."""

    def __init__(self) -> None:
        super().__init__(LOGON_FAILED)

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "www-authenticate": 'Bearer realm="cvhub", error="invalid_token"'}


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What an accepted token says; `expires` is in seconds since 1970, leeway included.

    `weight` is how many small tokens take as much memory.
    """

    client: str
    scopes: frozenset[str]
    own: Organisation
    may_act_as: frozenset[Organisation]
    expires: float
    weight: int = 1


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Which tokens are accepted; leeway in seconds for clocks that differ."""

    issuer: str
    audience: str
    leeway: float = 10.0


class TokenVerifier:
    """Accepts RS256 and ES256 tokens of one issuer for one audience. `generation` rises when accepted ones may not be."""

    def __init__(
        self,
        rules: TokenRules,
        keys: KeySource,
        remembered: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._rules = rules
        self._keys = keys
        self._verified: Bounded[bytes, VerifiedToken] = Bounded(remembered)
        self._generation = 0

    def generation(self) -> int:
        """Give a number that rises once a signing key has been withdrawn."""
        return self._keys.generation()

    async def verify(self, authorization: bytes) -> VerifiedToken:
        """Judge the value of an authorization header; raises BadToken, or KeysUnavailable when it cannot be judged now."""
        if self._generation != (generation := self._keys.generation()):
            self._generation = generation
            self._verified.clear()
        known = self._verified.get(authorization)
        if known is not None and known.expires > self._clock():
            return known
        token = await self._check(authorization)
        self._verified.put(authorization, token, token.weight)
        return token

    async def _check(self, authorization: bytes) -> VerifiedToken:
        scheme, _, raw = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not raw or len(raw) > LONGEST_TOKEN:
            raise BadToken
        try:
            key = await self._keys.find(_key_id(raw))
            if key is None:
                raise BadToken
            claims = jwt.decode(
                raw,
                key.public_key,
                algorithms=[key.algorithm],
                issuer=self._rules.issuer,
                audience=self._rules.audience,
                leeway=self._rules.leeway,
                options={"require": REQUIRED},
            )
            return self._read(claims, -(-len(raw) // SMALL_TOKEN))
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise BadToken from None

    def _read(self, claims: Mapping[str, Any], weight: int) -> VerifiedToken:
        acting = claims.get("may_act_as", [])
        if not isinstance(acting, list) or len(acting) > MOST_ORGANISATIONS:
            raise TypeError("may_act_as")
        own = _organisation(claims.get("organisation"))
        return VerifiedToken(
            client=_text(claims.get("client_id"), LONGEST_CLIENT),
            scopes=_scopes(claims.get("scope")),
            own=own,
            may_act_as=frozenset({own, *map(_organisation, acting)}),
            expires=float(claims["exp"]) + self._rules.leeway,
            weight=weight,
        )


def _key_id(raw: bytes) -> str:
    """Read only what is needed to find the key; the whole token is checked with it."""
    head = raw.partition(b".")[0]
    header = orjson.loads(urlsafe_b64decode(head + b"=" * (-len(head) % 4)))
    key_id = header.get("kid") if isinstance(header, dict) else None
    if not isinstance(key_id, str):
        raise TypeError("kid")
    return key_id


def _organisation(claim: object) -> Organisation:
    if not isinstance(claim, dict):
        raise TypeError("organisation")
    kind = claim.get("type")
    if not isinstance(kind, int) or isinstance(kind, bool):
        raise TypeError("organisation type")
    return Organisation(kind, _text(claim.get("code"), LONGEST_CODE))


def _scopes(claim: object) -> frozenset[str]:
    """Read what the client may do: a token that names no scope is a good one, and grants nothing."""
    return frozenset() if claim in (None, "") else frozenset(_text(claim, LONGEST_SCOPES).split())


def _text(claim: object, longest: int) -> str:
    if not isinstance(claim, str) or not 0 < len(claim) <= longest:
        raise TypeError("text")
    return claim
