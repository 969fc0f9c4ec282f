"""Passwords that can be read aloud, and their argon2id hashes, made beside the event loop."""

import asyncio
import secrets
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

__all__ = ["Passwords", "random_password"]

ALPHABET: Final = "abcdefghjkmnprtuxy3478"
"""No two of these are taken for each other, on paper or by ear: no l 1 i, o 0, s 5, z 2, q g 9, v u w, 6 b."""
GROUPS: Final = 4
GROUP: Final = 4
AT_ONCE: Final = 2
"""Each hash takes 64 MB."""


def random_password() -> str:
    """Give a password of the operating system's randomness: 16 characters of 22, which is 71 bits, in groups of four."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))


class Passwords:
    """Hashes passwords (argon2id, RFC 9106's second choice), and tells whether one is right."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._nobodys: str | None = None

    async def hash(self, password: str) -> str:
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def is_right(self, password: str, hashed: str | None) -> bool:
        """Tell whether this is the password; it takes as long where there is none."""
        if self._nobodys is None:
            self._nobodys = await self.hash(random_password())
        async with self._turn:
            right = await asyncio.to_thread(self._verify, hashed or self._nobodys, password)
        return right and hashed is not None

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False
