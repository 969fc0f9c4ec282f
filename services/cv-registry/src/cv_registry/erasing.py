"""Erases citizens: everything the registry has of one, in one transaction, and tells the followers so."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

from cv_contracts.events.cv_registry import CitizenChanged, CVChanged
from cv_contracts.ids import CvId
from cv_registry.holdings import HOLDINGS
from cv_registry.store_citizens import CitizenStore, forget
from cv_registry.store_cvs import CvStore
from cv_registry.store_letters import LetterStore
from servicekit.data.postgres import Database, WriteTx
from servicekit.follow.deciding import Why
from servicekit.follow.erasing import removing
from servicekit.publish.outbox import Outbox

__all__ = ["Erased", "Erasing", "Ids"]

_IDS: Final = "SELECT person_id, cv_id FROM citizens WHERE person_number = $1 OR person_id = $2"
_NUMBER: Final = "SELECT person_number FROM citizens WHERE person_id = $1 OR cv_id = $2"
_VERSIONS: Final = """
SELECT greatest(
    (SELECT version FROM citizens WHERE person_id = $1), (SELECT version FROM erasures WHERE subject = $1), 0
) AS person, greatest(
    (SELECT version FROM cvs WHERE cv_id = $2), (SELECT version FROM erasures WHERE subject = $2), 0
) AS cv, (SELECT count(*) = 2 FROM erasures WHERE subject IN ($1, $2)) AS told
"""
_PARTS: Final = ", ".join(
    f"of_{held.table} AS (DELETE FROM {held.table} WHERE {held.condition})" for held in HOLDINGS.rows
)
_ERASE: Final = f"""
WITH {_PARTS}
INSERT INTO erasures (subject, kind, version, erased_at) SELECT e.*, $4 FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS e
ON CONFLICT (subject) DO UPDATE SET version = excluded.version, kind = excluded.kind
"""


@dataclass(frozen=True, slots=True)
class Ids:
    """The random ids that stand for a citizen."""

    person_id: UUID
    cv_id: UUID


@dataclass(frozen=True, slots=True)
class Erased:
    """The versions at which a person and the person's CV are erased; followers have applied it when they reach them."""

    person_version: int
    cv_version: int


class Erasing:
    """Carries out orders of erasure. An order that comes again finds it done, or finishes it."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    async def find(self, person_number: str | None, person_id: UUID | None) -> Ids | None:
        """Give the ids of a citizen who is here."""
        row = await self._database.fetchrow(_IDS, person_number, person_id)
        return None if row is None else Ids(*row)

    async def erase(self, ids: Ids, why: Why, *, again: bool = False) -> Erased:
        """Remove all there is of a citizen and publish it, whether the citizen is here or not.

        `again` publishes a higher version even if nothing is here: followers may have been restored from a back-up.
        """
        while True:
            number = await self._number(ids)
            async with self._database.write(*_locks(ids, number)) as tx:
                # The person number may have changed meanwhile, and with it the key of the writes to be kept out.
                if await tx.conn.fetchval(_NUMBER, ids.person_id, ids.cv_id) == number:
                    return await self._erase(tx, ids, why, again=again)

    async def _number(self, ids: Ids) -> str | None:
        number: str | None = await self._database.fetchval(_NUMBER, ids.person_id, ids.cv_id)
        return number

    async def _erase(self, tx: WriteTx, ids: Ids, why: Why, *, again: bool) -> Erased:
        row = await tx.conn.fetchrow(_VERSIONS, ids.person_id, ids.cv_id)
        if row is None:
            raise LookupError
        left = await HOLDINGS.count(tx.conn, [ids.person_id, ids.cv_id])
        if row["told"] and not again and not any(left.values()):
            return Erased(row["person"], row["cv"])
        erased = Erased(tx.version_after(row["person"]), tx.version_after(row["cv"]))
        async with removing(tx.conn, HOLDINGS, ids.person_id, erased.person_version, ids.cv_id):
            versions = [erased.person_version, erased.cv_version]
            await tx.conn.execute(_ERASE, [ids.person_id, ids.cv_id], ["person", "cv"], versions, tx.now)
        await why.note(tx, "erase", str(ids.person_id))
        await self._outbox.add(tx, *_events(tx, ids, erased))
        tx.after_commit(lambda: forget(ids.person_id))
        return erased


def _locks(ids: Ids, number: str | None) -> tuple[str, ...]:
    """Give the keys of all writes about a citizen, so that none is under way beside the erasure."""
    own = f"erasure {ids.person_id}", LetterStore.lock(CvId(ids.cv_id))
    return own if number is None else (*own, CitizenStore.lock(number), CvStore.lock(number))


def _events(tx: WriteTx, ids: Ids, erased: Erased) -> list[CitizenChanged | CVChanged]:
    person, cv = (ids.person_id, erased.person_version), (ids.cv_id, erased.cv_version)
    return [
        CitizenChanged(id=uuid4(), subject=person[0], version=person[1], time=tx.now, change="erased"),
        CVChanged(id=uuid4(), subject=cv[0], version=cv[1], time=tx.now, change="erased"),
    ]
