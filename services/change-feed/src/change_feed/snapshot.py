"""The current set of CVs that a subscriber may see, by key order, as of one position: read it, then follow from there."""

from dataclasses import dataclass
from typing import Any, Final

from change_feed.cursors import Cursors, SnapshotMark, Subscriber
from change_feed.feed import Feed
from change_feed.store import Edge, FeedStore, Item
from cv_contracts.faults import Unavailable

__all__ = ["MOST", "Snapshot", "SnapshotPage"]

ELEMENT: Final = "after"
MOST: Final = 5_000


@dataclass(frozen=True, slots=True)
class SnapshotPage:
    """A page; `following` is where to go on, None after the last. Each page of one snapshot has the same position."""

    position: str
    following: str | None
    items: list[Item]
    at: int

    def to_json(self) -> dict[str, Any]:
        return {
            "position": self.position,
            "next": self.following,
            "items": [
                {"cvId": str(i.cv_id), "cvNumber": i.cv_number, "version": i.version, "change": i.change}
                for i in self.items
            ],
        }


class Snapshot:
    """Pages of snapshots. Where a snapshot is as of is in the mark of its pages, so any process can go on with it."""

    def __init__(self, store: FeedStore, feed: Feed, cursors: Cursors) -> None:
        self._store = store
        self._feed = feed
        self._cursors = cursors

    async def page(self, subscriber: Subscriber, after: str | None, limit: int) -> SnapshotPage:
        """Give a page; raises as the feed does for a mark of a feed that was lost or restored."""
        edge = await self._feed.edge()
        if not edge.seeded:
            raise Unavailable(retry_after=1)
        mark = None if after is None else self._mark(subscriber, edge, after)
        position = edge.edge if mark is None else mark.position
        scope = await self._store.scope_id(subscriber.scope)
        items, last = await self._store.snapshot(scope, None if mark is None else mark.after, position, limit)
        following = None
        if last is not None:
            following = self._cursors.of_mark(subscriber, edge.epoch, SnapshotMark(position, last))
        return SnapshotPage(self._cursors.of(subscriber, edge.epoch, position), following, items, position)

    def _mark(self, subscriber: Subscriber, edge: Edge, after: str) -> SnapshotMark:
        epoch, mark = self._cursors.read_mark(subscriber, after, ELEMENT)
        self._feed.check(subscriber, edge, epoch, mark.position)
        return mark
