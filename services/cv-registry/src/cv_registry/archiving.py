"""Archives CVs that nobody has touched for long, if the settings say how long."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from cv_citizens.danish_time import Clock
from cv_contracts.faults import Fault
from cv_contracts.ids import CvId
from cv_registry.domain import CvState
from cv_registry.life_cycle import Moving
from cv_registry.settings import SERVICE
from servicekit.data.postgres import Database

__all__ = ["Archiving"]

PAGE: Final = 1_000
REASON: Final = "nobody has changed it for {days} days"

# By key order, so that no index is needed which every replace would have to keep up. A CV that was restored begins anew.
_PAGE: Final = """
SELECT cv_id, version, state = 'ACTIVE' AND revised_at < $2 AND NOT EXISTS (
    SELECT FROM cv_state_moves m WHERE m.cv_id = v.cv_id AND m.moved_at >= $2
) AS idle
FROM cvs v WHERE cv_id > $1 ORDER BY cv_id LIMIT $3
"""


class Archiving:
    """Moves idle CVs to ARCHIVED, each as an administrative move with its reason. Several instances do no harm."""

    def __init__(self, database: Database, moving: Moving, after: timedelta, clock: Clock) -> None:
        self._database = database
        self._moving = moving
        self._after = after
        self._clock = clock

    async def archive_idle(self) -> int:
        """Go through all CVs once; gives how many were archived."""
        before, after, archived = self._clock() - self._after, UUID(int=0), 0
        while page := await self._page(after, before):
            for cv_id, version in page[1]:
                archived += await self._archive(cv_id, version)
            after = page[0]
        return archived

    async def _page(self, after: UUID, before: datetime) -> tuple[UUID, list[tuple[CvId, int]]] | None:
        """Give the last id of a page, and those on it that are idle; None when there are no more."""
        rows = await self._database.fetch(_PAGE, after, before, PAGE)
        if not rows:
            return None
        return rows[-1]["cv_id"], [(CvId(row["cv_id"]), row["version"]) for row in rows if row["idle"]]

    async def _archive(self, cv_id: CvId, version: int) -> bool:
        reason = REASON.format(days=self._after.days)
        try:
            moved = await self._moving.move(cv_id, CvState.ARCHIVED, reason, SERVICE, only=version)
        except Fault:
            # Erased or moved elsewhere since the page was read.
            return False
        return moved.outcome == "applied"
