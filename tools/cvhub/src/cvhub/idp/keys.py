"""The provider's signing keys: made at first start, rotated on command, kept in the state folder only."""

import json
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

Algorithm = Literal["ES256", "RS256"]
ALGORITHMS: tuple[Algorithm, ...] = ("ES256", "RS256")
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

PUBLISHED_AFTER_ROTATION = timedelta(hours=2)
"""Longer than any token lives, so that what an old key signed stays valid to its end."""


@dataclass(frozen=True)
class SigningKey:
    """One key; `made` is in seconds since 1970."""

    algorithm: Algorithm
    kid: str
    made: int
    private: PrivateKey

    def public_jwk(self) -> dict[str, Any]:
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            jwk = json.loads(RSAAlgorithm.to_jwk(public))
        else:
            jwk = json.loads(ECAlgorithm.to_jwk(public))
        return {**jwk, "kid": self.kid, "alg": self.algorithm, "use": "sig", "key_ops": ["verify"]}


class KeyFolder:
    """The keys as files `<made>-<algorithm>-<kid>.pem`. Read anew when the folder changes, so rotation needs no restart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read_at = -1
        self._keys: list[SigningKey] = []

    def prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for algorithm in ALGORITHMS:
            if not any(key.algorithm == algorithm for key in self.keys()):
                self._make(algorithm)

    def rotate(self) -> None:
        """Make new signing keys. The old ones stay published while their tokens live, and then go."""
        oldest = time.time() - PUBLISHED_AFTER_ROTATION.total_seconds()
        signing = {self.signing(algorithm).kid for algorithm in ALGORITHMS}
        for key in self.keys():
            if key.kid not in signing and key.made < oldest:
                self._path(key).unlink()
        for algorithm in ALGORITHMS:
            self._make(algorithm)

    def keys(self) -> list[SigningKey]:
        changed = self._folder.stat().st_mtime_ns
        if changed != self._read_at:
            self._keys = [_read(path) for path in sorted(self._folder.glob("*.pem"))]
            self._read_at = changed
        return self._keys

    def signing(self, algorithm: Algorithm) -> SigningKey:
        return [key for key in self.keys() if key.algorithm == algorithm][-1]

    def jwks(self) -> dict[str, Any]:
        return {"keys": [key.public_jwk() for key in self.keys()]}

    def _path(self, key: SigningKey) -> Path:
        return self._folder / f"{key.made}-{key.algorithm}-{key.kid}.pem"

    def _make(self, algorithm: Algorithm) -> None:
        made = max([time.time_ns() // 1_000_000_000, *(key.made + 1 for key in self.keys())])
        key = SigningKey(algorithm, secrets.token_hex(8), made, _generate(algorithm))
        pem = key.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        partial = self._folder / f".{key.kid}"
        partial.touch(mode=0o600)
        partial.write_bytes(pem)
        partial.rename(self._path(key))


def _generate(algorithm: Algorithm) -> PrivateKey:
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _read(path: Path) -> SigningKey:
    made, algorithm, kid = path.stem.split("-")
    private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if algorithm == "ES256" and isinstance(private, ec.EllipticCurvePrivateKey):
        return SigningKey("ES256", kid, int(made), private)
    if algorithm == "RS256" and isinstance(private, rsa.RSAPrivateKey):
        return SigningKey("RS256", kid, int(made), private)
    raise ValueError(f"{path.name} is not a key of its name")
