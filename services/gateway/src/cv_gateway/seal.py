"""Consistency tokens leave with a MAC, and are taken only with it and from the client that was given them.

Owners wait for what a token names before they know whom a call is about. Tokens that anybody could make would tell when
a stranger's CV was changed last.
"""

import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from datetime import timedelta
from hashlib import blake2b
from hmac import compare_digest

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cv_contracts.faults import Fault, FieldError
from cv_gateway.forwarding import INVALID, Header
from servicekit.data import consistency

HEADER = consistency.CONSISTENCY_HEADER.encode("ascii")
LONG_APPLIED = timedelta(minutes=15)
"""What was written so long ago is applied by all who follow it, but for those about whom there are alarms."""

_PURPOSE = b"cvhub gateway: consistency tokens"
_MAC_BYTES = 16


class TokenSeal:
    """Makes and checks the MACs, with a key derived from the gateway's own: all of its processes have the same one."""

    def __init__(self, key: Ed25519PrivateKey, clock: Callable[[], float] = time.time) -> None:
        derived = HKDF(SHA256(), 32, salt=None, info=_PURPOSE).derive(key.private_bytes_raw())
        self._keyed = blake2b(key=derived, digest_size=_MAC_BYTES)
        self._clock = clock

    def sealed(self, headers: Iterable[Header], client: str) -> list[Header]:
        """Give the headers of an answer, its consistency token with the MAC that makes it this client's."""
        return [
            (name, value + b"." + self._mac(value, client) if name == HEADER else value)
            for name, value in headers
        ]

    def opened(self, headers: list[Header], client: str) -> list[Header]:
        """Give the headers of a request, its consistency tokens without their MACs; raises Fault 1014 for any other.

        Left out are those without the right MAC that name nothing but what was written long ago: a token may be kept
        for longer than the gateway keeps its key.
        """
        lines = [value for name, value in headers if name == HEADER]
        if not lines:
            return headers
        given = b",".join(lines)
        if len(given) > consistency.LONGEST_HEADER:
            raise _refused("is too long")
        parts = given.split(b",") if given.strip() else ()
        tokens = [token for part in parts if (token := self._opened(part.strip(), client))]
        others = [header for header in headers if header[0] != HEADER]
        return [*others, (HEADER, b", ".join(tokens))] if tokens else others

    def _opened(self, sealed: bytes, client: str) -> bytes | None:
        token, _, mac = sealed.partition(b".")
        if compare_digest(mac, self._mac(token, client)):
            return token
        versions = consistency.parse(token.decode("latin-1")).entries.values()
        # A version is the time of the write in microseconds.
        long_ago = (self._clock() - LONG_APPLIED.total_seconds()) * 1_000_000
        if versions and max(versions) < long_ago:
            return None
        raise _refused("is not a token that this client was given; leave it out")

    def _mac(self, token: bytes, client: str) -> bytes:
        mac = self._keyed.copy()
        # No token holds a NUL: where the client's id ends is beyond doubt.
        mac.update(client.encode("utf-8", "surrogatepass") + b"\0" + token)
        return urlsafe_b64encode(mac.digest()).rstrip(b"=")


def _refused(reason: str) -> Fault:
    return Fault(INVALID, (FieldError(consistency.CONSISTENCY_HEADER, reason),))
