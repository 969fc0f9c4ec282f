"""SQL of account letters and the logins that they bring."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import orjson

from cv_citizens.citizen import Citizen
from cv_contracts.events.cv_registry import AccountLetterSent
from cv_contracts.ids import CvId, PersonId
from cv_registry.store_citizens import citizen_of
from servicekit.data.idempotency import RequestName
from servicekit.data.postgres import Database, WriteTx
from servicekit.publish.outbox import Outbox

# The living have an account unless the intake said otherwise.
_HAS_ACCOUNT: Final = """
(c.state ->> 'jobnetAccount') IS DISTINCT FROM 'false' AND (c.state ->> 'dead') IS DISTINCT FROM 'true'
"""

# The citizen as the letter addresses one.
_ADDRESSEE: Final = f"""
SELECT person_id, version, state, personal, {_HAS_ACCOUNT} AS has_account FROM citizens c WHERE person_number = $1
"""

# A letter may go out only while the citizen still has the CV number that is on it.
_BEGIN: Final = """
INSERT INTO account_letters (letter_id, person_id, cv_id, user_name, password_hash, state, request, body_hash, ordered_at)
SELECT $1, person_id, cv_id, cv_number, $4, 'sending', $5, $6, $7 FROM citizens WHERE cv_id = $2 AND cv_number = $3
"""

_SENDING_COLUMNS: Final = """
SELECT letter_id, person_id, cv_id, request, body_hash FROM account_letters WHERE state = 'sending'
"""
_SENDING: Final = f"{_SENDING_COLUMNS} AND cv_id = $1"
_ALL_SENDING: Final = f"{_SENDING_COLUMNS} ORDER BY ordered_at LIMIT $1"

# Whoever settles it otherwise waits for this, or has done so already.
_STILL_SENDING: Final = "SELECT 1 FROM account_letters WHERE letter_id = $1 AND state = 'sending' FOR UPDATE"
_PREVIOUS: Final = "SELECT max(version) FROM account_letters WHERE cv_id = $1"
_REPLACE: Final = """
UPDATE account_letters SET state = 'replaced', password_hash = NULL WHERE cv_id = $1 AND state = 'valid'
"""
_MAKE_VALID: Final = """
UPDATE account_letters SET state = 'valid', version = $2, settled_at = $3 WHERE letter_id = $1
"""
_FAIL: Final = """
UPDATE account_letters SET state = 'failed', password_hash = NULL, settled_at = now()
WHERE letter_id = $1 AND state = 'sending'
"""
_LOGIN: Final = f"""
SELECT l.password_hash FROM account_letters l JOIN citizens c USING (cv_id)
WHERE l.user_name = $1 AND l.state = 'valid' AND c.cv_number = $1 AND {_HAS_ACCOUNT}
"""


@dataclass(frozen=True, slots=True)
class Addressee:
    """A citizen with name and address as they stand on the letter: it goes to the citizen, protected or not."""

    citizen: Citizen
    has_account: bool
    personal: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter that is being handed over; `request` is the call that ordered it, if it had a request id."""

    id: UUID
    person_id: PersonId
    cv_id: CvId
    request: RequestName | None


class LetterStore:
    """Account letters in the registry's own database. Whoever sends or settles a citizen's letter does so in `only_one`."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self.database = database
        self._outbox = outbox

    @staticmethod
    def lock(cv_id: CvId) -> str:
        """Key of all writes about one account."""
        return f"account {cv_id}"

    def only_one(self, cv_id: CvId, *, wait: bool = True) -> AbstractAsyncContextManager[bool]:
        """Let nobody else send or settle a letter of this CV meanwhile, at any instance; whoever dies lets go.

        Without `wait` it gives False, and holds nothing, where somebody does so now.
        """
        return self.database.hold(f"letter {cv_id}", tries=1 if wait else 0)

    async def addressee(self, person_number: str) -> Addressee | None:
        row = await self.database.fetchrow(_ADDRESSEE, person_number)
        if row is None:
            return None
        return Addressee(citizen_of(row), row["has_account"], orjson.loads(row["personal"] + b"{}}"))

    async def begin(self, letter: Letter, user_name: str, password_hash: str) -> bool:
        """Note that a letter is being handed over; False if the citizen has another CV number by now."""
        request = letter.request
        async with self.database.write(self.lock(letter.cv_id)) as tx:
            done = await tx.conn.execute(
                _BEGIN,
                letter.id,
                letter.cv_id,
                user_name,
                password_hash,
                request and request.request,
                request and request.body_hash,
                tx.now,
            )
        return done == "INSERT 0 1"

    async def sending(self, cv_id: CvId) -> Letter | None:
        """Give the letter of which nobody knows yet whether it was taken."""
        row = await self.database.fetchrow(_SENDING, cv_id)
        return None if row is None else _letter(*row)

    async def all_sending(self, most: int) -> list[Letter]:
        return [_letter(*row) for row in await self.database.fetch(_ALL_SENDING, most)]

    async def previous_version(self, tx: WriteTx, cv_id: CvId) -> int | None:
        version: int | None = await tx.conn.fetchval(_PREVIOUS, cv_id)
        return version

    async def make_valid(self, tx: WriteTx, letter: Letter, event: AccountLetterSent) -> bool:
        """Make the login of the letter the valid one, and publish; False if the letter is gone or settled."""
        if await tx.conn.fetchval(_STILL_SENDING, letter.id) is None:
            return False
        await tx.conn.execute(_REPLACE, letter.cv_id)
        await tx.conn.execute(_MAKE_VALID, letter.id, event.version, event.time)
        await self._outbox.add(tx, event)
        return True

    async def fail(self, letter: Letter) -> None:
        await self.database.execute(_FAIL, letter.id)

    async def password_hash(self, user_name: str) -> str | None:
        """Give the hash of the login that is valid now."""
        hashed: str | None = await self.database.fetchval(_LOGIN, user_name)
        return hashed


def _letter(
    letter_id: UUID, person_id: UUID, cv_id: UUID, request: bytes | None, body_hash: bytes | None
) -> Letter:
    name = None if request is None or body_hash is None else RequestName(request, body_hash, person_id)
    return Letter(letter_id, PersonId(person_id), CvId(cv_id), name)
