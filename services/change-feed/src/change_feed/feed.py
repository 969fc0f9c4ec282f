"""The modern feed, after http-feeds.org: batches of CloudEvents from a position on, with long polling."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, get_args

import asyncpg

from change_feed.arrivals import Arrivals
from change_feed.cursors import Beyond, Cursors, EpochOver, Subscriber
from change_feed.placing import HANDED_OVER, SEEN_BY_ALL, Handed
from change_feed.sharing import Shared
from change_feed.store import Edge, FeedStore
from change_feed.writing import moment
from cv_contracts.faults import Unavailable
from cv_contracts.topics import EVENT_TYPES, is_public

__all__ = ["KINDS", "Feed", "FeedPage", "kind_of"]

ELEMENT: Final = "lastEventId"
SCANNED_PER_EVENT: Final = 10
"""With a filter a page looks at so many entries for each one it may hold, so that it costs the same whatever is rare."""

_TYPES: Final = (*(name for name, event in EVENT_TYPES.items() if is_public(event)), HANDED_OVER)
_SOURCES: Final = {name: "/" + name.split(".")[2] for name in _TYPES}


def kind_of(type_: str) -> str:
    """Give the short name of a kind of event, as in `cv-changed`."""
    return type_.split(".")[3]


def _changes(type_: str) -> tuple[str, ...]:
    """Give what can have happened by an event of this type, none where the type says it all."""
    if type_ == HANDED_OVER:
        return (SEEN_BY_ALL, *get_args(Handed))
    change = EVENT_TYPES[type_].model_fields.get("change")
    return () if change is None else get_args(change.annotation)


KINDS: Final = frozenset(
    kind for name in _TYPES for kind in (kind_of(name), *(f"{kind_of(name)}.{one}" for one in _changes(name)))
)
"""What can be asked for: `cv-changed` for all of them, `cv-changed.deleted` for one change."""


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A page and the range `(start, end]` that it covers: nothing in it was left out that the subscriber may see."""

    events: Sequence[dict[str, Any]]
    start: str
    end: str
    first: int
    last: int
    to_the_edge: bool
    """Whether it reaches all that there was when it was read; a page that looked at enough others does not."""


class Feed:
    """Pages of the feed for one subscriber each; a page that would be empty waits for something to arrive."""

    def __init__(self, store: FeedStore, arrivals: Arrivals, cursors: Cursors) -> None:
        self._store = store
        self._arrivals = arrivals
        self._cursors = cursors
        self._edges: Shared[None, Edge | None] = Shared(lambda _: store.edge())
        self._pages: Shared[tuple[int, int, int, int], list[asyncpg.Record]] = Shared(
            lambda asked: store.page(*asked)
        )

    async def edge(self) -> Edge:
        edge = await self._edges.get(None)
        if edge is None:
            raise Unavailable(retry_after=1)
        return edge

    def check(self, subscriber: Subscriber, edge: Edge, epoch: Any, position: int) -> None:
        """Raise EpochOver or Beyond for a position of a feed that was lost or restored."""
        if epoch != edge.epoch:
            raise EpochOver(self._cursors.of(subscriber, edge.epoch, 0))
        instead = edge.instead_of(position)
        if instead is not None:
            raise Beyond(self._cursors.of(subscriber, edge.epoch, instead))

    async def page(
        self,
        subscriber: Subscriber,
        last_event_id: str | None,
        limit: int,
        kinds: frozenset[str],
        wait: float,
    ) -> FeedPage:
        """Give the page after a position, as soon as it is not empty, `wait` seconds have passed or the process is about to leave.

        Raises fault 1014, EpochOver or Beyond for a position that is not good, or is not any more once it has waited.
        """
        given = None if last_event_id is None else self._cursors.read(subscriber, last_event_id, ELEMENT)
        until = asyncio.get_running_loop().time() + wait
        while True:
            ticket = self._arrivals.ticket(await self._store.scope_id(subscriber.scope))
            edge = await self.edge()
            if given is not None:
                self.check(subscriber, edge, *given)
            page = await self._read(subscriber, edge, 0 if given is None else given[1], limit, kinds)
            left = until - asyncio.get_running_loop().time()
            if page.events or left <= 0 or not page.to_the_edge or self._arrivals.leaving:
                return page
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._arrivals.wait(ticket)

    async def _read(
        self, subscriber: Subscriber, edge: Edge, after: int, limit: int, kinds: frozenset[str]
    ) -> FeedPage:
        scope = await self._store.scope_id(subscriber.scope)
        scanned = limit * SCANNED_PER_EVENT if kinds else limit
        rows = await self._pages.get((scope, after, edge.edge, scanned))
        last = rows[-1]["position"] if len(rows) == scanned else max(after, edge.edge)
        wanted = [row for row in rows if _is_wanted(row, kinds)] if kinds else rows
        if len(wanted) > limit:
            wanted = wanted[:limit]
            last = wanted[-1]["position"]
        start, end, *ids = self._cursors.of_all(
            subscriber, edge.epoch, [after, last, *[row["position"] for row in wanted]]
        )
        return FeedPage(_events(ids, wanted), start, end, after, last, last >= edge.edge)


def _events(ids: Sequence[str], rows: Sequence[asyncpg.Record]) -> list[dict[str, Any]]:
    """Make CloudEvents of rows; there are a thousand on a page, so without a call or an object for each."""
    events = []
    for id_, row in zip(ids, rows, strict=True):
        position, event_id, type_, subject, version, time, cv_number, erased, change = row
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": id_,
            "source": _SOURCES[type_],
            "type": type_,
            "subject": subject,
            "time": time[1:-1] + "Z",
            "eventid": event_id,
            "arrived": moment(position),
        }
        if erased:
            event["method"] = "DELETE"
        else:
            event["datacontenttype"] = "application/json"
            data = event["data"] = {"version": version}
            if change is not None:
                data["change"] = change
            if cv_number is not None:
                data["cvNumber"] = cv_number
        events.append(event)
    return events


def _is_wanted(row: asyncpg.Record, kinds: frozenset[str]) -> bool:
    kind = kind_of(row["type"])
    return kind in kinds or f"{kind}.{row['change']}" in kinds
