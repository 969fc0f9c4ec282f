"""Passwords that can be read aloud, and their argon2id hashes, made beside the event loop."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from cv_contracts.faults import Unavailable
from servicekit.observe import metrics

__all__ = ["Passwords", "random_password"]

ALPHABET: Final = "abcdefghjkmnprtuxy3478"
"""No two of these are taken for each other, on paper or by ear: no l 1 i, o 0, s 5, z 2, q g 9, v u w, 6 b."""
GROUPS: Final = 4
GROUP: Final = 4
AT_ONCE: Final = 2
"""Hashes at the same time, one of them for letters; each takes 64 MB."""
LOGINS_MOST: Final = 20
"""Logins that are compared or wait for it; who comes then is told to come back."""


def random_password() -> str:
    """Give a password of the operating system's randomness: 16 characters of 22, which is 71 bits, in groups of four."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))


class Passwords:
    """Hashes passwords (argon2id, RFC 9106's second choice), and tells whether one is right. Letters never wait for logins.

    The threads are the bound: a call that is cut off in mid-run leaves its run in its thread, where the next one waits for it.
    """

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._letters = ThreadPoolExecutor(1, "letters")
        self._logins = ThreadPoolExecutor(AT_ONCE - 1, "logins")
        self._logins_asked = 0
        self._nobodys: str | None = None

    async def hash(self, password: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._letters, self._hasher.hash, password)

    async def is_right(self, password: str, find: Callable[[], Awaitable[str | None]]) -> bool:
        """Tell whether this is the password of the hash that `find` gives; where it gives none, that takes as long.

        Raises Unavailable where too many ask, before it looks for a hash.
        """
        if self._logins_asked == LOGINS_MOST:
            metrics.count("requests.shed")
            raise Unavailable(retry_after=1, detail="Too many logins are waiting")
        self._logins_asked += 1
        try:
            hashed = await find()
            return await asyncio.get_running_loop().run_in_executor(
                self._logins, self._verify, password, hashed
            )
        finally:
            self._logins_asked -= 1

    def close(self) -> None:
        """Give the threads up; a run that nobody waits for any more is ended first."""
        for threads in (self._letters, self._logins):
            threads.shutdown(cancel_futures=True)

    def _verify(self, password: str, hashed: str | None) -> bool:
        if self._nobodys is None:
            self._nobodys = self._hasher.hash(random_password())
        try:
            right = self._hasher.verify(hashed or self._nobodys, password)
        except (VerificationError, InvalidHashError):
            return False
        return right and hashed is not None
