"""Contact data that nobody has confirmed for long: first a reminder, then they are "not verified" again."""

from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

from contact_verification.domain import NOT_VERIFIED, VERIFIED, role_ids, verifiable_types
from contact_verification.store import ContactStore
from contact_verification.store_messages import CAN_CONFIRM, REMIND
from cv_contracts.codelists import CodeLists
from cv_contracts.events.contact_verification import ContactSaved

CHUNK: Final = 500

_LAPSED: Final = """
select person_id, type from contacts
where confirmed_at < now() - $1::interval and status = $2 order by confirmed_at limit $3
"""
_LAPSE: Final = """
update contacts set status = $4, confirmed_at = null, reminded_at = null
where person_id = $1 and type = $2 and confirmed_at < now() - $3::interval and status = $5 returning 1
"""
_TO_REMIND: Final = f"""
select o.person_id, o.type, o.period_id from contacts o
where o.confirmed_at < now() - $1::interval and o.confirmed_at >= now() - $2::interval and o.status = $3
    and o.reminded_at is null and o.type = any($4::int[]) and {CAN_CONFIRM}
order by o.confirmed_at limit $5
"""
_REMINDED: Final = """
update contacts set reminded_at = now()
where person_id = $1 and type = $2 and reminded_at is null and period_id = $3 returning 1
"""


class Reconfirming:
    """Looks for what has grown old. Several may run: each change is made under the person's lock, once."""

    def __init__(
        self, store: ContactStore, lists: CodeLists, lapses_after: timedelta, before: timedelta
    ) -> None:
        self._store = store
        self._lists = lists
        statuses = role_ids(lists)
        self._verified = statuses[VERIFIED]
        self._not_verified = statuses[NOT_VERIFIED]
        self._lapses_after = lapses_after
        self._remind_after = lapses_after - before
        self._before = before

    async def run_once(self) -> tuple[int, int]:
        """Remind and lapse all that is due; gives how many of each."""
        return await self._remind_all(), await self._lapse_all()

    async def _remind_all(self) -> int:
        types = verifiable_types(self._lists)
        args = (self._remind_after, self._lapses_after, self._verified, types, CHUNK)
        reminded, seen = 0, set[UUID]()
        # Whose reminder a sender takes back meanwhile, as by its lists nobody can confirm the value, is due again: not in this run.
        while rows := [
            row for row in await self._store.database.fetch(_TO_REMIND, *args) if row["period_id"] not in seen
        ]:
            for row in rows:
                seen.add(row["period_id"])
                reminded += await self._remind(row["person_id"], row["type"], row["period_id"])
        return reminded

    async def _remind(self, person: UUID, contact_type: int, period: UUID) -> bool:
        async with self._store.database.write(self._store.lock(person)) as tx:
            if await tx.conn.fetchval(_REMINDED, person, contact_type, period) is None:
                return False
            await tx.conn.execute(REMIND, uuid4(), person, period, contact_type, self._before)
            return True

    async def _lapse_all(self) -> int:
        args = (self._lapses_after, self._verified, CHUNK)
        lapsed = 0
        while rows := await self._store.database.fetch(_LAPSED, *args):
            for row in rows:
                lapsed += await self._lapse(row["person_id"], row["type"])
        return lapsed

    async def _lapse(self, person: UUID, contact_type: int) -> bool:
        async with self._store.database.write(self._store.lock(person)) as tx:
            args = (person, contact_type, self._lapses_after, self._not_verified, self._verified)
            if await tx.conn.fetchval(_LAPSE, *args) is None:
                return False
            version = await self._store.next_version(tx, person)
            await self._store.publish(tx, ContactSaved, person, version)
            return True
