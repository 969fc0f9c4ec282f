"""Makes all documents anew where what they are made of has become another: a rebuilt projection, new code lists, a new day.

Only those that come out different get a new number, so the index takes a rebuild as it takes any other change.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from hashlib import blake2b
from importlib.resources import files
from time import monotonic
from typing import Final
from uuid import UUID

import orjson
import structlog

from cv_contracts.codelists import CodeLists
from cv_search.store import PARTS, SearchDocuments, form_of_documents, live_parts
from servicekit.follow.projection import Connection

__all__ = ["Refresh", "maker_of"]

log = structlog.get_logger(__name__)

AT_ONCE: Final = 200
LOOK_EVERY: Final = timedelta(seconds=0.5)
LOOK_FOR_DAYS_EVERY: Final = 60.0
STANDS_STILL: Final = 10.0
"""Seconds after which what another instance has begun is taken for given up."""
OVERRULED_REST: Final = 300.0
"""Seconds that an instance with other code or code lists is left its documents: in a rolling update one of the two leaves."""
MADE_BY: Final = (
    ("cv_search", "document.py"),
    ("cv_search", "showing.py"),
    ("cv_citizens", "citizen.py"),
)
"""The code that decides what a document says, and how a result shows its person."""
_KEY: Final = "documents"

_STATE: Final = "select made_from, making, making_after from search_state"
_BEGIN: Final = "update search_state set making = $1, making_after = null"
_MOVE: Final = "update search_state set making_after = $2 where making = $1"
_END: Final = (
    "update search_state set made_from = making, making = null, making_after = null where making = $1"
)
_NEXT: Final = """
select cv_id from (
    (select cv_id from cv_parts where generation = $1 and ($2::uuid is null or cv_id > $2) order by cv_id limit $3)
    union
    (select cv_id from search_documents where ($2::uuid is null or cv_id > $2) order by cv_id limit $3)
) as both_of order by cv_id limit $3
"""


def maker_of(lists: CodeLists) -> str:
    """Give what tells the maker of documents from any other: its code, its code lists, the form of its documents."""
    code = [files(package).joinpath(name).read_bytes() for package, name in MADE_BY]
    parts = (*code, repr(lists).encode(), form_of_documents().encode())
    return blake2b(b"".join(parts), digest_size=8).hexdigest()


class Refresh:
    """Brings the documents up to what they are to be made from. Killed at any point, the next one goes on."""

    def __init__(self, documents: SearchDocuments, maker: Callable[[], str]) -> None:
        self._documents = documents
        self._maker = maker
        self._next_days = 0.0
        self._had: str | None = None
        """What documents were made from when they were as this instance wants them."""
        self._overruled_until: float | None = None
        self._others: tuple[str, UUID | None] | None = None
        """How far another instance, which wants other documents, was seen to be, and since when."""
        self._others_since = 0.0

    async def step(self) -> None:
        """Do all that there is to do now."""
        while await self._some():
            pass
        now = asyncio.get_running_loop().time()
        if now >= self._next_days and await self.wanted() is not None:
            await self._days()
            self._next_days = now + LOOK_FOR_DAYS_EVERY

    async def wanted(self) -> str | None:
        """Say what documents are to be made from now; None while a kind of part is still missing."""
        live = await live_parts(self._documents.database)
        if len(live) < len(PARTS):
            return None
        return orjson.dumps({"maker": self._maker(), **live}, option=orjson.OPT_SORT_KEYS).decode()

    async def _some(self) -> bool:
        """Make the next documents; False when there are none left."""
        wanted = await self.wanted()
        row = await self._documents.database.fetchrow(_STATE)
        if wanted is None or row is None or not self._is_mine_to_make(wanted, *row):
            return False
        async with self._documents.database.write(_KEY) as tx:
            made_from, making, after = await tx.conn.fetchrow(_STATE) or (None, None, None)
            if made_from == wanted:
                return False
            if making != wanted:
                await tx.conn.execute(_BEGIN, wanted)
                log.info("documents_made_anew")
                after = None
            cvs = await self._next(tx.conn, after, orjson.loads(wanted))
            await self._documents.make(tx.conn, cvs, leave_out_bad=True)
            if len(cvs) == AT_ONCE:
                await tx.conn.execute(_MOVE, wanted, cvs[-1])
                return True
            await tx.conn.execute(_END, wanted)
            log.info("documents_made")
            return False

    def _is_mine_to_make(
        self, wanted: str, made_from: str | None, making: str | None, after: UUID | None
    ) -> bool:
        """Tell whether documents are to be made here now: two instances that want different ones do not undo each other's."""
        now = monotonic()
        if made_from == wanted:
            self._had, self._overruled_until = wanted, None
            return False
        if making not in (None, wanted):
            others = (making, after)
            if others != self._others:
                self._others, self._others_since = others, now
            return now >= self._others_since + STANDS_STILL
        if making is None and self._had == wanted:
            self._overruled_until = self._overruled_until or now + OVERRULED_REST
            return now >= self._overruled_until
        return True

    async def _next(self, conn: Connection, after: UUID | None, live: dict[str, int]) -> list[UUID]:
        rows = await conn.fetch(_NEXT, live["cvs"], after, AT_ONCE)
        return [row["cv_id"] for row in rows]

    async def _days(self) -> None:
        """Make those anew that a new day changes: a relation begins or has ended."""
        while cvs := await self._documents.due(AT_ONCE):
            async with self._documents.database.write(_KEY) as tx:
                await self._documents.make(tx.conn, cvs, leave_out_bad=True)
