"""Notification subscriptions: as much of them as tells which address may not be removed."""

from typing import Final, Literal
from uuid import UUID

from contact_verification.preparing import Prepares
from contact_verification.store import ContactStore

Outcome = Literal["subscribed", "unsubscribed", "no-contact", "removal-under-way"]

_ADD: Final = """
insert into subscriptions (person_id, type, name, made_at) values ($1, $2, $3, now()) on conflict do nothing
"""
_DROP: Final = "delete from subscriptions where person_id = $1 and type = $2 and name = $3"


class Subscriptions:
    """Which notifications a person gets at which type of contact data."""

    def __init__(self, store: ContactStore, prepares: Prepares) -> None:
        self._store = store
        self._prepares = prepares

    async def subscribe(self, person: UUID, contact_type: int, name: str) -> Outcome:
        """Subscribe; refused without an address, and while a ReplaceCV that removes it is under way."""
        async with self._store.database.write(self._store.lock(person)) as tx:
            contact = (await self._store.contacts(tx, person)).get(contact_type)
            if contact is None or not contact.present:
                return "no-contact"
            if await self._prepares.removal_under_way(tx, person, contact_type):
                return "removal-under-way"
            await tx.conn.execute(_ADD, person, contact_type, name)
            return "subscribed"

    async def unsubscribe(self, person: UUID, contact_type: int, name: str) -> Outcome:
        async with self._store.database.write(self._store.lock(person)) as tx:
            await tx.conn.execute(_DROP, person, contact_type, name)
            return "unsubscribed"
