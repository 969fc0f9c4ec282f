"""GetCVUpdateList (method 9): which CVs changed in a period of arrival, one item per CV, in stable pages."""

from dataclasses import dataclass

from change_feed.cursors import Subscriber
from change_feed.store import NO_END, Edge, FeedStore, Listed
from change_feed.writing import moment, position_of
from cv_citizens.danish_time import Clock
from cv_contracts.faults import Fault, FieldError
from cv_contracts.wire.changes import CVUpdateItemType, GetCVUpdateListQuery, GetCVUpdateListResponse

__all__ = ["ChangeList", "ListPage"]

_START, _END, _PAGE = "CVChangeStartTime", "CVChangeEndTime", "CVListPage"


@dataclass(frozen=True, slots=True)
class ListPage:
    """A page, and its number."""

    answer: GetCVUpdateListResponse
    number: int


class ChangeList:
    """Answers the list. The first page fixes the moment: the later ones show the same CVs, whatever arrives meanwhile."""

    def __init__(self, store: FeedStore, size: int, clock: Clock) -> None:
        self._store = store
        self._size = size
        self._clock = clock

    async def check(self, query: GetCVUpdateListQuery) -> None:
        """Refuse a period that there is not (1014). What the feed has is not in the future, whatever the clock says here."""
        if query.CVChangeStartTime > self._clock():
            edge = await self._store.edge()
            if edge is None or position_of(query.CVChangeStartTime) > edge.edge:
                raise _invalid(_START, "is in the future")
        if query.CVChangeEndTime is not None and query.CVChangeEndTime < query.CVChangeStartTime:
            raise _invalid(_END, "is before the start")

    async def has_begun(self, subscriber: Subscriber, query: GetCVUpdateListQuery, edge: Edge) -> bool:
        """Tell whether it is a later page of a list that was begun: that one stays as it is, whatever was seen since."""
        scope = await self._store.scope_id(subscriber.scope)
        return await self._begun(subscriber.client, scope, query, edge) is not None

    async def page(self, subscriber: Subscriber, query: GetCVUpdateListQuery, edge: Edge) -> ListPage:
        """Give a page of a period that was checked; raises fault 1014 for one after the last."""
        number = query.CVListPage or 1
        starts_at, asked_end = _period(query, edge)
        scope = await self._store.scope_id(subscriber.scope)
        listed = await self._begun(subscriber.client, scope, query, edge)
        if listed is None:
            listed = await self._begin(subscriber.client, scope, starts_at, asked_end, edge)
        last = max(1, len(listed.pages))
        if number > last:
            raise _invalid(_PAGE, "is after the last page")
        items = await self._items(scope, listed, number) if listed.pages else ()
        answer = GetCVUpdateListResponse(
            CVChangeStartTime=moment(starts_at),
            CVChangeEndTime=moment(listed.ends_at),
            CVChangeExtractTime=listed.made_at,
            LastPageNumber=last,
            CVUpdateList=items or None,
        )
        return ListPage(answer, number)

    async def _begun(self, client: str, scope: int, query: GetCVUpdateListQuery, edge: Edge) -> Listed | None:
        if (query.CVListPage or 1) == 1:
            return None
        return await self._store.begun(client, scope, *_period(query, edge))

    async def _begin(self, client: str, scope: int, starts_at: int, asked_end: int, edge: Edge) -> Listed:
        ends_at = max(starts_at, min(asked_end, edge.edge))
        pages = await self._store.pages(scope, starts_at, ends_at, self._size)
        listed = Listed(ends_at, self._clock(), pages)
        if len(pages) > 1:
            await self._store.remember(client, scope, starts_at, asked_end, listed)
        return listed

    async def _items(self, scope: int, listed: Listed, number: int) -> tuple[CVUpdateItemType, ...]:
        following = listed.pages[number] if number < len(listed.pages) else NO_END
        rows = await self._store.listed(scope, listed.pages[number - 1], following, listed.ends_at)
        return tuple(
            CVUpdateItemType(CVNumber=row["cv_number"], RevisionDate=row["time"], CVIsDeleted=row["deleted"])
            for row in rows
        )


def _period(query: GetCVUpdateListQuery, edge: Edge) -> tuple[int, int]:
    """Give the period as positions; the end is the one asked for, NO_END for none."""
    asked_end = NO_END if query.CVChangeEndTime is None else position_of(query.CVChangeEndTime)
    return min(position_of(query.CVChangeStartTime), edge.edge), asked_end


def _invalid(element: str, reason: str) -> Fault:
    return Fault(1014, (FieldError(element, reason),))
