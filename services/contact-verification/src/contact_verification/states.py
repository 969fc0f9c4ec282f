"""Contact data as their followers ask for them: values in the clear, to services that are trusted with them."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from contact_verification.keys import Sealed, Vault
from servicekit.data.postgres import Database
from servicekit.follow.state_routes import Versions
from servicekit.follow.states import Known

FOLLOWERS: Final = ("cv-registry",)

_PERSONS: Final = "select person_id, version, replaced from saved_persons where person_id = any($1::uuid[])"
_PAGE: Final = (
    "select person_id, version, replaced from saved_persons where person_id > $1 order by person_id limit $2"
)
_CONTACTS: Final = """
select c.person_id, c.type, c.version, c.status, c.period_id, p.key_id, p.box
from contacts c left join periods p on p.id = c.period_id where c.person_id = any($1::uuid[]) order by c.type
"""


class ContactStates:
    """The state of a person's contact data: each type that there is or was, with the version of its change.

    `replaced` is the highest version of a ReplaceCV whose contact data are dealt with: what it set is in the state, or was
    overtaken by what is there.
    """

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self.versions = Versions(database, "saved_persons", "person_id", erased="true")

    async def states(self, subjects: Sequence[UUID]) -> list[Known]:
        return await self._known(await self._database.fetch(_PERSONS, subjects))

    async def page(self, after: UUID, limit: int) -> list[Known]:
        return await self._known(await self._database.fetch(_PAGE, after, limit))

    async def _known(self, persons: Sequence[asyncpg.Record]) -> list[Known]:
        contacts: dict[UUID, list[dict[str, Any]]] = {row["person_id"]: [] for row in persons}
        for row in await self._database.fetch(_CONTACTS, list(contacts)):
            contact = {"type": row["type"], "version": row["version"]}
            if row["period_id"] is not None:
                sealed = Sealed(row["key_id"], row["box"])
                contact |= {"value": self._vault.open(sealed, row["period_id"]), "status": row["status"]}
            contacts[row["person_id"]].append(contact)
        return [
            Known(person, version, {"contacts": contacts[person], "replaced": replaced})
            for person, version, replaced in persons
        ]
