"""How the erased leave the index: engines only mark what is removed, so it is built anew.

An operator's order to build it anew is obeyed in the same way: by every instance, whichever was asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Final
from uuid import UUID

import structlog

from cv_contracts.faults import Unavailable
from cv_search.indexing import Indexer
from cv_search.store import SearchDocuments
from servicekit.data.postgres import WriteTx

__all__ = ["Purging", "Standing"]

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = timedelta(seconds=1)
SAY_EVERY: Final = 60.0
REST: Final = 30.0
"""Seconds between two builds, so that many erasures cost one."""
IN_INDEX: Final = "files of the index"

# Look-ups for each receipt: joined, all documents would be read every second.
_WANTED: Final = """
select greatest(max(greatest(
    (select d.change from search_documents d where d.cv_id = r.subject and d.document is null),
    (select max(d.change) from search_documents d where d.person_id = r.subject and d.document is null)
)), (select ordered from search_state)) from erasure_receipts r
"""
# A change of its own, above all that any index holds, so that none that was begun before is taken for the new one.
_ORDER: Final = """
update search_state s set last_change = n.change, ordered = n.change
from (select greatest(last_change, (extract(epoch from clock_timestamp()) * 1000000)::bigint) + 1 as change
    from search_state for update) n
"""
_STANDING: Final = """
select count(*) filter (where p.since >= s.ordered) as built, count(*) filter (where p.since < s.ordered) as older
from search_state s join index_places p on p.seen_at > now() - interval '3 minutes'
"""
_SAY: Final = """
insert into index_places as p (place, since) values ($1, $2)
on conflict (place) do update set since = greatest(p.since, excluded.since), seen_at = now()
returning since
"""
_GONE: Final = "delete from index_places where place = $1 or seen_at < now() - interval '10 minutes'"
_LEFT: Final = """
select count(*) from search_documents d
where (d.cv_id = any($1) or d.person_id = any($1)) and d.document is null
and ($2 or exists (
    select from index_places p where p.since < d.change and p.seen_at > now() - interval '10 minutes'
))
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """Of the indexes that are searched now: how many were begun after an operator's last order, and how many before."""

    built: int
    older: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """A build that was asked for: at which change, and how many builds there had been."""

    change: int
    rebuilds: int


class Purging:
    """Has the index built anew after erasures and orders, and tells whether anything of the erased still lies in an index."""

    def __init__(self, documents: SearchDocuments, indexer: Indexer) -> None:
        self._documents = documents
        self._database = documents.database
        self._indexer = indexer
        self._place: str | None = None
        self._since = 0
        self._said = 0.0
        self._next = 0.0
        self._asked: _Asked | None = None

    async def step(self) -> None:
        """Say which index is searched here, and ask for another one where it is written here and from before an erasure or an order."""
        if self._indexer.watches:
            self._asked = None
        try:
            serving = self._indexer.serving
        except Unavailable:
            return
        await self._say(serving.place.path.name)
        wanted = int(await self._database.fetchval(_WANTED))
        if wanted <= self._since or monotonic() < self._next:
            return
        edge = await self._documents.edge()
        if not self._indexer.building and not self._indexer.watches:
            self._asked = _Asked(edge.change, self._indexer.progress.rebuilds)
            self._next = monotonic() + REST
            self._indexer.rebuild()
            log.info("index_purge_begun")

    async def order(self, tx: WriteTx) -> None:
        """Let every instance build its index anew, this one among them."""
        await tx.conn.execute(_ORDER)

    async def standing(self) -> Standing:
        """Tell how far the instances are that were heard of lately."""
        row = await self._database.fetchrow(_STANDING)
        return Standing(0, 0) if row is None else Standing(*row)

    async def left(self, subjects: Sequence[UUID]) -> Mapping[str, int]:
        """Count the documents of the erased that may still lie in the files of an index.

        An instance that is down is not waited for: it has its index built anew when it is back.
        """
        unknown = self._place is None
        return {IN_INDEX: int(await self._database.fetchval(_LEFT, subjects, unknown))}

    async def _say(self, place: str) -> None:
        if place == self._place and monotonic() < self._said + SAY_EVERY:
            return
        asked = self._asked
        built = asked is not None and self._indexer.progress.rebuilds > asked.rebuilds
        if place != self._place and asked is not None and not built:
            # The new index is searched a moment before its build counts as done.
            return
        since = asked.change if asked is not None and built else 0
        self._since = int(await self._database.fetchval(_SAY, place, since))
        if place != self._place:
            await self._database.execute(_GONE, self._place)
            self._place = place
        self._said = monotonic()
