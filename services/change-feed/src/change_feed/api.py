"""Routes that the gateway forwards: the change list, the feed and its snapshot."""

import gzip
from collections.abc import Mapping
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response

from change_feed.change_list import ListPage
from change_feed.cursors import FEED_PATH, SNAPSHOT_PATH, Subscriber
from change_feed.parts import Parts, PartsDep
from change_feed.queries import FeedQuery, SnapshotQuery
from change_feed.scopes import scope_of
from cv_citizens.policy import Actor
from cv_contracts.wire.changes import GetCVUpdateListQuery
from cv_contracts.wire.errors import read_query
from servicekit.caller import Caller
from servicekit.data.access_log import AccessRow
from servicekit.data.consistency import CONSISTENCY_HEADER, ConsistencyToken, parse
from servicekit.web.calls import CallerDep
from servicekit.web.compression import takes_gzip
from servicekit.web.http import remaining_seconds

router = APIRouter()

BATCH: Final = "application/cloudevents-batch+json"
WORTH_ZIPPING: Final = 1_024
ANSWER_SECONDS = 1.0
"""What is left of the time of a request for answering, once waiting has ended."""


@router.get("/v6/Cv/changes")
async def get_cv_update_list(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    seen = parse(request.headers.get(CONSISTENCY_HEADER))
    query = read_query(GetCVUpdateListQuery, request.query_params.multi_items())
    await parts.change_list.check(query)
    page = await _list_page(caller, parts, query, seen)
    period = (page.answer.CVChangeStartTime.isoformat(), page.answer.CVChangeEndTime.isoformat())
    detail = {
        "from": period[0],
        "to": period[1],
        "page": page.number,
        "items": len(page.answer.CVUpdateList or ()),
    }
    await _note(parts, caller, "GetCVUpdateList", detail)
    return Response(
        page.answer.json_bytes(), media_type="application/json", headers={"cache-control": "no-store"}
    )


@router.get(FEED_PATH)
async def feed(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    query = read_query(FeedQuery, request.query_params.multi_items())
    kinds = query.kinds()
    subscriber = _subscriber_of(caller)
    wait = min(query.timeout / 1000, max(0.0, (remaining_seconds() or 0.0) - ANSWER_SECONDS))
    limit = min(query.limit or parts.page_size, parts.page_size)
    page = await parts.feed.page(subscriber, query.lastEventId, limit, kinds, wait)
    if page.events:
        detail = {"from": page.first, "to": page.last, "events": len(page.events)}
        await _note(parts, caller, "Feed", detail)
    more = "false" if page.to_the_edge else "true"
    headers = {"x-feed-from": page.start, "x-feed-to": page.end, "x-feed-more": more}
    return _answer(request, page.events, BATCH, headers)


@router.get(SNAPSHOT_PATH)
async def snapshot(request: Request, caller: CallerDep, parts: PartsDep) -> Response:
    query = read_query(SnapshotQuery, request.query_params.multi_items())
    subscriber = _subscriber_of(caller)
    page = await parts.snapshot.page(subscriber, query.after, query.limit)
    await _note(parts, caller, "FeedSnapshot", {"at": page.at, "items": len(page.items)})
    return _answer(request, page.to_json(), "application/json")


async def _list_page(
    caller: Caller, parts: Parts, query: GetCVUpdateListQuery, seen: ConsistencyToken
) -> ListPage:
    """Give a page of the list, once what has been seen is placed; a later one of a list that was begun shows nothing newer."""
    subscriber = _subscriber_of(caller)
    if seen.entries and not await parts.change_list.has_begun(subscriber, query, await parts.feed.edge()):
        await parts.applied.wait_for(seen)
    return await parts.change_list.page(subscriber, query, await parts.feed.edge())


def _subscriber_of(caller: Caller) -> Subscriber:
    """Give what the caller may read; raises the fault of one who may read nothing."""
    return Subscriber(caller.client, scope_of(Actor.of(caller)))


async def _note(parts: Parts, caller: Caller, method: str, detail: Mapping[str, Any]) -> None:
    """Write the access row of a page: the caller and the range."""
    await parts.access_log.record(AccessRow(None, method, caller, detail=detail))


def _answer(
    request: Request, body: Any, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Make an answer, compressed where the caller takes that and it is worth it."""
    raw = orjson.dumps(body, str, orjson.OPT_UTC_Z)
    given = {"cache-control": "no-store", "vary": "accept-encoding", **(headers or {})}
    if len(raw) >= WORTH_ZIPPING and takes_gzip(request.headers.get("accept-encoding", "")):
        raw, given["content-encoding"] = gzip.compress(raw, 1), "gzip"
    return Response(raw, media_type=media_type, headers=given)
