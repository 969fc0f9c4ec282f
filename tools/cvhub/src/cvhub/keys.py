"""Service keys of the local stack: each service signs with its own, and all know each other's public half."""

import base64
import json
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cvhub.servers.process import CannotStart
from cvhub.state import START_OVER

TRUSTED = "trusted.json"


DEVELOPMENT = b"Made by cvhub for one machine; not for production.\n"
"""Stands before the private keys of the local stack, where readers of PEM take no notice of it."""
PUT_BACK = f"put the right one back, or delete it for a new pair, of which all must then be told by {TRUSTED}"


def ensure_keys(folder: Path, services: Iterable[str], *, development: bool = False) -> None:
    """Make the keys that are missing, and the file of trusted public keys.

    Raises CannotStart where a key is damaged; those of `development` may go with everything else on this machine.
    """
    trusted = {}
    folder.mkdir(parents=True, exist_ok=True)
    for service in services:
        file = key_file(folder, service)
        if not file.exists():
            _make(file, DEVELOPMENT if development else b"")
        try:
            trusted[service] = _public(file)
        except (ValueError, TypeError) as error:
            instead = f"delete it, or {START_OVER}" if development else PUT_BACK
            raise CannotStart(f"{file} is damaged: {instead}.") from error
    (folder / TRUSTED).write_text(json.dumps(trusted, indent=1))


def key_file(folder: Path, service: str) -> Path:
    return folder / f"{service}.pem"


def _make(file: Path, mark: bytes) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.touch(mode=0o600)
    file.write_bytes(mark + pem)


def _public(file: Path) -> str:
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()
