"""SQL of contact data: what a person has now, what was before, and the one way to change it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID, uuid4

from contact_verification.domain import Contact, fault_of_removals, removed_types
from contact_verification.keys import Keys, Sealed
from contact_verification.values import Value, Wanted
from cv_citizens.replica import Found, citizen_sql, found
from cv_contracts.codelists import CodeLists
from cv_contracts.events.contact_verification import (
    ContactSaved,
    ContactStatusSaved,
    ContactVerified,
    VerificationCodeRequested,
)
from cv_contracts.faults import Fault
from cv_contracts.ids import PersonId
from servicekit.data.postgres import Database, WriteTx
from servicekit.publish.outbox import Outbox, outbox_insert

ContactEvent = TypeVar(
    "ContactEvent", ContactSaved, ContactStatusSaved, ContactVerified, VerificationCodeRequested
)

# What decides about a write: the citizen, held until the end of the transaction, whether it was erased, the versions given.
_STANDING: Final = f"""
with held as ({citizen_sql("person_id", lock=True)})
select held.*, p.reserved, exists (
    select from projected_versions v
    join projection_generations g using (projection, generation)
    where v.projection = 'citizens' and g.status = 'live' and v.subject = $1 and v.erased
) as erased
from (values (1)) as always left join held on true left join persons p on p.person_id = $1
"""

_RESERVED: Final = "select reserved from persons where person_id = $1"
_RESERVE: Final = """
insert into persons (person_id, reserved)
select $1, $2 where not exists (select from erasure_receipts where subject = $1)
on conflict (person_id) do update set reserved = excluded.reserved
"""

_PUBLISH: Final = f"""
with person as (
    insert into persons (person_id, version, reserved) values ($1, $2, $2)
    on conflict (person_id) do update set version = excluded.version, reserved = excluded.reserved
)
{outbox_insert(3)}
"""

_CONTACT_COLUMNS: Final = "c.type, c.version, c.status, c.period_id, p.blind, c.confirmed_at"
_CONTACTS: Final = f"""
select {_CONTACT_COLUMNS}
from contacts c left join periods p on p.id = c.period_id where c.person_id = $1
"""
_SETTLED: Final = f"""
select {_CONTACT_COLUMNS}, coalesce(s.version, 0) as standing
from (values (1)) as always left join persons s on s.person_id = $1
left join contacts c on c.person_id = $1 left join periods p on p.id = c.period_id
where not exists (select from prepares where person_id = $1)
"""

_SEALED: Final = "select key_id, box from periods where id = $1"

_KEEP: Final = """
update contacts set version = $3, confirmed_at = case when $4 and confirmed_at is not null then now() else confirmed_at end,
    reminded_at = case when $4 then null else reminded_at end
where person_id = $1 and type = $2
"""

_CLOSE: Final = """
with code as (delete from codes where person_id = $1 and type = $2)
update periods set ends = $3 where person_id = $1 and type = $2 and ends is null
"""

_REMOVE: Final = """
insert into contacts (person_id, type, version, status) values ($1, $2, $3, $4)
on conflict (person_id, type) do update set
    version = excluded.version, period_id = null, status = excluded.status, confirmed_at = null, reminded_at = null
"""

_OPEN: Final = """
with period as (
    insert into periods (id, person_id, type, blind, key_id, box, starts) values ($5, $1, $2, $6, $7, $8, $9)
)
insert into contacts (person_id, type, version, period_id, status) values ($1, $2, $3, $5, $4)
on conflict (person_id, type) do update set
    version = excluded.version, period_id = excluded.period_id, status = excluded.status,
    confirmed_at = null, reminded_at = null
"""

_SET_STATUS: Final = """
update contacts set status = $3, reminded_at = null, confirmed_at = case when $4 then now() end
where person_id = $1 and type = $2 and period_id is not null
"""

_SUBSCRIBED: Final = "select distinct type from subscriptions where person_id = $1"


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides about a write, read and held in its transaction."""

    loaded: Found | None
    erased: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """The contact data of a person of whom no change is under way, and their version; 0 for one who never had any."""

    version: int
    contacts: Mapping[int, Contact]


@dataclass(frozen=True, slots=True)
class Opened:
    """A value that was not there before: its type, its period, and its hash under each key, the present one's first."""

    type: int
    period: UUID
    hashes: Sequence[bytes]

    @property
    def blind(self) -> bytes:
        return self.hashes[0]


class ContactStore:
    """Contact data in the service's own database; every write is made under `lock` of the person."""

    def __init__(self, database: Database, outbox: Outbox, keys: Keys, not_verified: int) -> None:
        self.database = database
        self._outbox = outbox
        self._keys = keys
        self._not_verified = not_verified

    @staticmethod
    def lock(person_id: UUID) -> str:
        """Key of all writes about one person, the person's erasure among them."""
        return f"citizen {person_id}"

    async def standing(self, tx: WriteTx, person_id: PersonId) -> Standing:
        row = await tx.conn.fetchrow(_STANDING, person_id)
        if row is None:
            raise LookupError
        return Standing(None if row["person_id"] is None else found(row), row["erased"])

    async def contacts(self, tx: WriteTx, person_id: UUID) -> dict[int, Contact]:
        """Give all types that the person has or had."""
        return {row["type"]: Contact(*row) for row in await tx.conn.fetch(_CONTACTS, person_id)}

    async def hashes(self, tx: WriteTx, contact: Contact) -> list[bytes]:
        """Give the hash of a present value under each key, that under which it is stored first."""
        known = [] if contact.blind is None else [contact.blind]
        if self._keys.blind.changes and contact.period is not None:
            [row] = await tx.conn.fetch(_SEALED, contact.period)
            value = Value.of(self.text(row["key_id"], row["box"], contact.period))
            known += self._keys.blind.all_of(contact.type, value.form)
        return known

    async def settled(self, person_id: UUID) -> Settled | None:
        """Give what was true at one moment, nothing held; None where a change is under way."""
        rows = await self.database.fetch(_SETTLED, person_id)
        if not rows:
            return None
        contacts = {row["type"]: Contact(*row[:-1]) for row in rows if row["type"] is not None}
        return Settled(rows[0]["standing"], contacts)

    async def refuse_removals(
        self, tx: WriteTx, person_id: UUID, present: Mapping[int, Contact], wanted: Wanted, lists: CodeLists
    ) -> None:
        """Raise the fault (9154, 9155) of a change that removes what a notification subscription needs."""
        removed = [lists.contact_data_types[number] for number in removed_types(present, wanted)]
        if not removed:
            return
        subscribed = {row["type"] for row in await tx.conn.fetch(_SUBSCRIBED, person_id)}
        if code := fault_of_removals(removed, subscribed):
            raise Fault(code)

    async def next_version(self, tx: WriteTx, person_id: UUID) -> int:
        """Give a version above all that were given for this person, to somebody else as well."""
        return tx.version_after(await tx.conn.fetchval(_RESERVED, person_id))

    async def reserve(self, tx: WriteTx, person_id: UUID) -> int:
        """Give such a version for a change that is made later, if at all; fault 1010 for who was erased meanwhile."""
        version = await self.next_version(tx, person_id)
        if await tx.conn.execute(_RESERVE, person_id, version) == "INSERT 0 0":
            raise Fault(1010)
        return version

    def is_present(self, present: Mapping[int, Contact], wanted: Wanted) -> bool:
        """Tell whether these values are the present ones, so that there is nothing to change."""
        return all(self._is(present.get(kind), kind, value) for kind, value in wanted.items())

    def _is(self, before: Contact | None, contact_type: int, value: Value | None) -> bool:
        if before is None or not before.present:
            return value is None
        return value is not None and before.blind in self._keys.blind.all_of(contact_type, value.form)

    async def publish(
        self, tx: WriteTx, kind: type[ContactEvent], person_id: UUID, version: int
    ) -> ContactEvent:
        """Say that the person's contact data now have this version."""
        event = kind(id=uuid4(), subject=person_id, version=version, time=tx.now)
        await tx.conn.execute(_PUBLISH, person_id, version, *self._outbox.row(event))
        tx.after_commit(self._outbox.wake)
        return event

    async def change(
        self,
        tx: WriteTx,
        person_id: UUID,
        present: Mapping[int, Contact],
        wanted: Wanted,
        version: int,
        *,
        confirms: bool = False,
    ) -> list[Opened]:
        """Make these values the present ones; gives those that are new. An unchanged value keeps its state.

        `confirms` says that the citizen stands behind the values, so that unchanged ones count as confirmed now.
        """
        opened, rows = list[Opened](), list[tuple[object, ...]]()
        for contact_type, value in sorted(wanted.items()):
            before = present.get(contact_type)
            if value is not None and self._is(before, contact_type, value):
                await tx.conn.execute(_KEEP, person_id, contact_type, version, confirms)
                continue
            if before is not None and before.present:
                await tx.conn.execute(_CLOSE, person_id, contact_type, tx.now)
            if value is None:
                await tx.conn.execute(_REMOVE, person_id, contact_type, version, self._not_verified)
            else:
                new, sealed = self._opened(contact_type, value)
                opened.append(new)
                row = (person_id, contact_type, version, self._not_verified, new.period, new.blind)
                rows.append((*row, sealed.key_id, sealed.box, tx.now))
        if rows:
            await tx.conn.executemany(_OPEN, rows)
        return opened

    async def set_status(
        self, tx: WriteTx, person_id: UUID, contact_type: int, status: int, *, verified: bool
    ) -> None:
        """Set the status of a present value. That is no change of the value, so its version stays."""
        await tx.conn.execute(_SET_STATUS, person_id, contact_type, status, verified)

    def _opened(self, contact_type: int, value: Value) -> tuple[Opened, Sealed]:
        period = uuid4()
        new = Opened(contact_type, period, self._keys.blind.all_of(contact_type, value.form))
        return new, self._keys.vault.seal(value.text, period)

    def text(self, key_id: str, box: bytes, period: UUID) -> str:
        """Open a value of the table of periods."""
        return self._keys.vault.open(Sealed(key_id, box), period)
