"""Routes that the gateway forwards: the change list, the feed and its snapshot."""

from fastapi import APIRouter, Request, Response

from change_feed.calls import (
    BATCH,
    FeedQuery,
    SnapshotQuery,
    answer,
    note,
    subscriber_of,
)
from change_feed.cursors import FEED_PATH, SNAPSHOT_PATH
from change_feed.parts import PartsDep
from cv_contracts.wire.changes import GetCVUpdateListQuery
from cv_contracts.wire.errors import read_query
from servicekit.data.consistency import CONSISTENCY_HEADER, parse
from servicekit.web.calls import CallerDep
from servicekit.web.http import remaining_seconds

router = APIRouter()

ANSWER_SECONDS = 1.0
"""What is left of the time of a request for answering, once waiting has ended."""


@router.get("/v6/Cv/changes")
async def get_cv_update_list(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    seen = parse(request.headers.get(CONSISTENCY_HEADER))
    query = read_query(GetCVUpdateListQuery, request.query_params.multi_items())
    await parts.change_list.check(query)
    subscriber = await subscriber_of(caller, parts, seen)
    page = await parts.change_list.page(subscriber, query, await parts.feed.edge())
    period = (page.answer.CVChangeStartTime.isoformat(), page.answer.CVChangeEndTime.isoformat())
    detail = {
        "from": period[0],
        "to": period[1],
        "page": page.number,
        "items": len(page.answer.CVUpdateList or ()),
    }
    await note(parts, caller, "GetCVUpdateList", detail)
    return Response(
        page.answer.json_bytes(), media_type="application/json", headers={"cache-control": "no-store"}
    )


@router.get(FEED_PATH)
async def feed(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    query = read_query(FeedQuery, request.query_params.multi_items())
    kinds = query.kinds()
    subscriber = await subscriber_of(caller, parts)
    wait = min(query.timeout / 1000, max(0.0, (remaining_seconds() or 0.0) - ANSWER_SECONDS))
    limit = min(query.limit or parts.page_size, parts.page_size)
    page = await parts.feed.page(subscriber, query.lastEventId, limit, kinds, wait)
    if page.events:
        detail = {"from": page.first, "to": page.last, "events": len(page.events)}
        await note(parts, caller, "Feed", detail)
    more = "false" if page.to_the_edge else "true"
    headers = {"x-feed-from": page.start, "x-feed-to": page.end, "x-feed-more": more}
    return answer(request, page.events, BATCH, headers)


@router.get(SNAPSHOT_PATH)
async def snapshot(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    query = read_query(SnapshotQuery, request.query_params.multi_items())
    subscriber = await subscriber_of(caller, parts)
    page = await parts.snapshot.page(subscriber, query.after, query.limit)
    await note(parts, caller, "FeedSnapshot", {"at": page.at, "items": len(page.items)})
    return answer(request, page.to_json(), "application/json")
