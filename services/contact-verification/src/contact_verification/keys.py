"""What is done with keys: contact data are sealed, found by a keyed hash, and codes follow from a salt. Keys never leave here."""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import Final, Self
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contact_verification.settings import Settings
from servicekit.settings import BadSetting

SALT_BYTES: Final = 16
CODE_DIGITS: Final = 6
LEAST_SECRET: Final = 16
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted text: which key, and nonce with ciphertext."""

    key_id: str
    box: bytes = field(repr=False)


class UnknownKey(LookupError):  # noqa: N818 - says what is wrong
    """Data are sealed with a key that the settings do not name."""


class Vault:
    """Seals and opens texts. Each is bound to the id of its row, so that a box moved to another row does not open."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise BadSetting("there must be one key at least")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.current = next(iter(keys))

    def seal(self, text: str, row: UUID) -> Sealed:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return Sealed(
            self.current, nonce + self._ciphers[self.current].encrypt(nonce, text.encode(), row.bytes)
        )

    def open(self, sealed: Sealed, row: UUID) -> str:
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            raise UnknownKey(f"no key with the id {sealed.key_id!r} in the settings")
        nonce, text = sealed.box[:_NONCE_BYTES], sealed.box[_NONCE_BYTES:]
        return cipher.decrypt(nonce, text, row.bytes).decode()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read `id:secret,id:secret`; the first key seals."""
        pairs = [part.strip().partition(":") for part in text.split(",")]
        keys = {key_id: _key(secret, b"contact-data") for key_id, _, secret in pairs}
        if len(keys) < len(pairs) or not all(
            key_id and len(secret) >= LEAST_SECRET for key_id, _, secret in pairs
        ):
            raise BadSetting("data keys are written id:secret, with 16 characters at least in each secret")
        return cls(keys)


class BlindIndex:
    """The keyed hash by which a normalised value is found without being stored readably.

    The first secret's key hashes; what those of the others have hashed is found, be they earlier ones or the next.
    """

    def __init__(self, *secrets: str) -> None:
        self._keys = [_key(secret, b"blind-index") for secret in secrets]

    @property
    def changes(self) -> bool:
        """Whether there may be values that another key than the present one has hashed."""
        return len(self._keys) > 1

    def of(self, contact_type: int, form: str) -> bytes:
        return self.all_of(contact_type, form)[0]

    def all_of(self, contact_type: int, form: str) -> list[bytes]:
        """Give the hash under each key, the present one's first."""
        text = f"{contact_type} {form}".encode()
        return [hmac.digest(key, text, sha256) for key in self._keys]

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read `secret,secret`, the present one first."""
        secrets = [part.strip() for part in text.split(",")]
        if min(map(len, secrets)) < LEAST_SECRET:
            raise BadSetting(f"each blind secret has {LEAST_SECRET} characters at least")
        return cls(*secrets)


class Codes:
    """Verification codes of six digits. The clear code exists in memory only, whenever it is made again from its salt."""

    def __init__(self, secret: str) -> None:
        self._key = _key(secret, b"codes")

    def code(self, salt: bytes, period: UUID) -> str:
        """Give the code of this salt, for this value of this person and no other."""
        number = int.from_bytes(hmac.digest(self._key, salt + period.bytes, sha256))
        return f"{number % 10**CODE_DIGITS:0{CODE_DIGITS}}"

    def matches(self, given: str, salt: bytes, period: UUID) -> bool:
        """Compare in a time that says nothing about the code."""
        return hmac.compare_digest(given.encode(), self.code(salt, period).encode())

    @staticmethod
    def new_salt() -> bytes:
        return secrets.token_bytes(SALT_BYTES)


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys of the service."""

    vault: Vault
    blind: BlindIndex
    codes: Codes

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(
            Vault.from_text(settings.data_keys.get_secret_value()),
            BlindIndex.from_text(settings.blind_secret.get_secret_value()),
            Codes(settings.code_secret.get_secret_value()),
        )


def _key(secret: str, purpose: bytes) -> bytes:
    """Make 32 bytes of a secret text, different for each purpose."""
    return blake2b(secret.encode(), digest_size=32, person=purpose).digest()
