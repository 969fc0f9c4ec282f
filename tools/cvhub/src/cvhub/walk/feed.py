"""The walk's steps about the feed: a CV is replaced while somebody follows, and the event arrives; then the change list."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cvhub.walk.journey import JOBNET, Journey, NotAsItShould, Seen, Step, expect

FEED, SNAPSHOT, LIST = "/v1/feed/cv", "/v1/feed/cv/snapshot", "/v6/Cv/changes"
WAIT_MS = 10_000
BEFORE = timedelta(minutes=5)


async def follow(journey: Journey) -> Seen:
    """Wait at the feed's end as the citizen's jobcenter, and replace the CV meanwhile."""
    organisation = journey.person.jobcenter
    snapshot = expect(await journey.call("GET", f"{SNAPSHOT}?limit=1", organisation, headers={}), 200)
    path = f"{FEED}?lastEventId={snapshot['position']}&timeout={WAIT_MS}"
    poll = asyncio.create_task(journey.call("GET", path, organisation, headers={}))
    await asyncio.sleep(0)
    begun = time.monotonic()
    message_id = await _replace(journey)
    while True:
        answer = await poll
        events = expect(answer, 200)
        took = (time.monotonic() - begun) * 1000
        arrived = next((event for event in events if event["eventid"] == message_id), None)
        if arrived is not None:
            break
        if not events:
            raise NotAsItShould("the feed does not tell of the CV just replaced")
        path = f"{FEED}?lastEventId={answer.headers['x-feed-to']}&timeout={WAIT_MS}"
        poll = asyncio.create_task(journey.call("GET", path, organisation, headers={}))
    command = journey.curl("GET", f"{FEED}?timeout={WAIT_MS}", organisation, "cv.changes", {})
    change = arrived["data"]["change"]
    return Seen(f"{change}, {took:.0f} ms after the write was sent, under the id of its receipt", command)


async def change_list(journey: Journey) -> Seen:
    organisation = journey.person.jobcenter
    start = (datetime.now(UTC) - BEFORE).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    path = f"{LIST}?CVChangeStartTime={start}"
    body = expect(await journey.call("GET", path, organisation, headers={}), 200)
    pages, number = body["LastPageNumber"], journey.person.cv_number
    end = body["CVChangeEndTime"]
    last = expect(
        await journey.call(
            "GET", f"{path}&CVChangeEndTime={end}&CVListPage={pages}", organisation, headers={}
        ),
        200,
    )
    if last["CVUpdateList"][-1]["CVNumber"] != number:
        raise NotAsItShould("the CV just replaced is not the newest of the change list")
    command = journey.curl("GET", path, organisation, "cv.changes", {})
    return Seen(f"{pages} pages up to {end}, the newest is CV {number}", command)


STEPS: Mapping[str, Step] = {
    "Feed: the jobcenter waits, a CV is replaced, and the event arrives": follow,
    "GetCVUpdateList: the same change in the classic list": change_list,
}


async def _replace(journey: Journey) -> str:
    body = {**journey.person.cv}
    body["CV"] = {**body["CV"], "ProfessionalSummaryText": {"HTMLText": journey.summary}}
    headers = {"x-civilregistrationidentifier": journey.person.person_number}
    answer = await journey.call("PUT", "/v6/Cv", JOBNET, headers=headers, body=body)
    return str(expect(answer, 200)["ServiceReceipt"]["MessageIdentifier"])
