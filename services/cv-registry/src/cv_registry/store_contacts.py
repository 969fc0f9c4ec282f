"""SQL of the contact part of CVs as contact-verification asks for it: what was committed, and what never will be."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import asyncpg

from servicekit.data.postgres import Database
from servicekit.follow.state_routes import Versions
from servicekit.follow.states import Known

_COLUMNS: Final = (
    "SELECT v.cv_id, v.version, c.person_id, v.prepare_id FROM cvs v JOIN citizens c ON c.cv_id = v.cv_id"
)
_STATES: Final = f"{_COLUMNS} WHERE v.cv_id = ANY($1)"
_PAGE: Final = f"{_COLUMNS} WHERE v.cv_id > $1 ORDER BY v.cv_id LIMIT $2"

# A replace that is just committing this change is waited for: one of the two has the row.
_ABANDON: Final = """
INSERT INTO contact_decisions (prepare_id, committed, decided_at)
SELECT id, false, now() FROM unnest($1::uuid[]) AS id ORDER BY id ON CONFLICT (prepare_id) DO NOTHING
"""
_DECIDED: Final = "SELECT prepare_id, committed FROM contact_decisions WHERE prepare_id = ANY($1)"


class CvContacts:
    """Which prepared change each CV was last committed with."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.versions = Versions(database, "cvs", "cv_id", erased="kind is distinct from 'person'")

    async def states(self, subjects: Sequence[UUID]) -> list[Known]:
        return [_state(row) for row in await self._database.fetch(_STATES, subjects)]

    async def page(self, after: UUID, limit: int) -> list[Known]:
        return [_state(row) for row in await self._database.fetch(_PAGE, after, limit)]

    async def settle(self, prepares: Sequence[UUID]) -> dict[UUID, bool]:
        """Tell which changes are committed; the others are abandoned by this, and no replace can commit them any more."""
        await self._database.execute(_ABANDON, prepares)
        return dict(map(tuple, await self._database.fetch(_DECIDED, prepares)))


def _state(row: asyncpg.Record) -> Known:
    state = {"personId": str(row["person_id"])}
    if row["prepare_id"] is not None:
        state["prepareId"] = str(row["prepare_id"])
    return Known(row["cv_id"], row["version"], state)
