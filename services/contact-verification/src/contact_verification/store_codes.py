"""SQL of verification codes and of the messages that carry them."""

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from itertools import chain
from typing import Final
from uuid import UUID, uuid4

from contact_verification.domain import Limits, Sent, wait_for_code
from contact_verification.keys import Codes
from contact_verification.settings import CodeSettings
from contact_verification.store import Opened
from cv_contracts.codelists import CodeLists
from servicekit.data.postgres import Database, WriteTx, lock_number

NO_SALT: Final = bytes(16)
NO_PERIOD: Final = UUID(int=0)

# The guess is counted by the statement that looks whether the code bears it, so no number of guesses at once is too many.
# The row changes whether or not the code can still be used: what is wrong, expired or used up looks alike, and takes as long.
_GUESS: Final = """
update codes set attempts = least(attempts, $3) + 1
where person_id = $1 and type = $2
returning salt, period_id, attempts <= $3 and used_at is null and expires_at > clock_timestamp() as usable
"""
_USED: Final = "update codes set used_at = clock_timestamp() where person_id = $1 and type = $2"

_MAKE: Final = """
insert into codes (person_id, type, period_id, salt, made_at, expires_at)
values ($1, $2, $3, $4, clock_timestamp(), clock_timestamp() + $5)
on conflict (person_id, type) do update set
    period_id = excluded.period_id, salt = excluded.salt, made_at = excluded.made_at,
    expires_at = excluded.expires_at, attempts = 0, used_at = null
"""
_SEND: Final = f"""
with made as ({_MAKE}), counted as (
    insert into code_sends (person_id, blind, made_at) values ($1, $6, clock_timestamp())
)
insert into messages (id, person_id, period_id, type, kind, salt, made_at, expires_at, next_try)
values ($7, $1, $3, $2, 'code', $4, clock_timestamp(), clock_timestamp() + $5, clock_timestamp())
"""
_LOCK: Final = "select pg_advisory_xact_lock(address) from unnest($1::bigint[]) as address"
_SENT: Final = """
select clock_timestamp() as now, made_at, person_id = $1 as to_person, blind = any($2) as to_address
from code_sends where (person_id = $1 or blind = any($2)) and made_at > clock_timestamp() - interval '24 hours'
"""
_FORGET: Final = "delete from code_sends where made_at < clock_timestamp() - interval '25 hours'"


def verifiable(opened: list[Opened], lists: CodeLists) -> list[Opened]:
    """Give the new values that a code is sent to."""
    return [value for value in opened if lists.contact_data_types[value.type].verifiable]


class CodeStore:
    """Codes and their sending; to be used under the person's lock."""

    def __init__(self, codes: Codes, settings: CodeSettings) -> None:
        self._codes = codes
        self._settings = settings
        self._limits = Limits(settings.interval, settings.per_day)

    async def guess(self, tx: WriteTx, person_id: UUID, contact_type: int, given: str) -> bool:
        """Count a guess, and tell whether it is right. The transaction must be committed either way."""
        row = await tx.conn.fetchrow(_GUESS, person_id, contact_type, self._settings.attempts)
        salt, period, usable = (NO_SALT, NO_PERIOD, False) if row is None else row
        return self._codes.matches(given, salt, period) and usable

    async def use_up(self, tx: WriteTx, person_id: UUID, contact_type: int) -> None:
        await tx.conn.execute(_USED, person_id, contact_type)

    async def wait(
        self, tx: WriteTx, person_id: UUID, hashes: Collection[bytes], *, interval_of_person: bool
    ) -> timedelta | None:
        """Tell how long no code may be sent, and keep others from sending one to this address until the end of this.

        `hashes` are those of the address under all keys: an earlier one may have counted what was sent before.
        """
        await self._lock(tx, hashes)
        return await self._wait(tx, person_id, hashes, interval_of_person=interval_of_person)

    async def _lock(self, tx: WriteTx, hashes: Iterable[bytes]) -> None:
        """Lock these addresses in sorted order.

        Two calls in one transaction (a follower's batch of persons, a person with two changes) can deadlock with another;
        PostgreSQL aborts one, which passes: a follower tries again, a caller is answered 503.
        """
        await tx.conn.execute(_LOCK, [lock_number(f"address {blind.hex()}") for blind in sorted(set(hashes))])

    async def _wait(
        self, tx: WriteTx, person_id: UUID, hashes: Collection[bytes], *, interval_of_person: bool
    ) -> timedelta | None:
        rows = await tx.conn.fetch(_SENT, person_id, hashes)
        if not rows:
            return None
        sent = [Sent(row["made_at"], row["to_person"], row["to_address"]) for row in rows]
        return wait_for_code(sent, rows[-1]["now"], self._limits, interval_of_person=interval_of_person)

    async def send(self, tx: WriteTx, person_id: UUID, contact_type: int, period: UUID, blind: bytes) -> None:
        """Make a new code, which voids the one before, and let it be sent."""
        salt, lifetime = self._codes.new_salt(), self._settings.lifetime
        await tx.conn.execute(_SEND, person_id, contact_type, period, salt, lifetime, blind, uuid4())

    async def send_new(self, tx: WriteTx, person_id: UUID, opened: Sequence[Opened]) -> None:
        """Send a code for each new value. Where a limit forbids sending, store an already expired code."""
        if not opened:
            return
        await self._lock(tx, chain.from_iterable(value.hashes for value in opened))
        for value in opened:
            if await self._wait(tx, person_id, value.hashes, interval_of_person=False) is None:
                await self.send(tx, person_id, value.type, value.period, value.blind)
            else:
                salt = self._codes.new_salt()
                await tx.conn.execute(_MAKE, person_id, value.type, value.period, salt, timedelta(0))

    async def forget(self, database: Database) -> None:
        """Delete what no limit counts any more."""
        await database.execute(_FORGET)
