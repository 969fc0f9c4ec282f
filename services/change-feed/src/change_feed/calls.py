"""What the calls have in common: who subscribes, what the query says, the access row before the answer."""

import gzip
from collections.abc import Mapping
from typing import Annotated, Any, Final

import orjson
from fastapi import Request, Response
from pydantic import Field

from change_feed.cursors import Subscriber
from change_feed.feed import KINDS
from change_feed.parts import Parts
from change_feed.scopes import scope_of
from change_feed.settings import LONGEST_POLL
from change_feed.snapshot import MOST
from cv_citizens.policy import Actor
from cv_contracts.faults import Fault, FieldError
from cv_contracts.wire.query import PageNumber, Query
from servicekit.caller import Caller
from servicekit.data.access_log import AccessRow
from servicekit.web.compression import takes_gzip

BATCH: Final = "application/cloudevents-batch+json"
WORTH_ZIPPING: Final = 1_024

Milliseconds = Annotated[int, Field(strict=False, ge=0, le=round(LONGEST_POLL.total_seconds() * 1000))]


class FeedQuery(Query):
    """A position to go on from, how long to wait in milliseconds, and which kinds of events are wanted."""

    lastEventId: str | None = None  # noqa: N815 - named by http-feeds
    timeout: Milliseconds = 0
    limit: PageNumber | None = None
    kind: str | None = None
    """Names of events, separated by commas, each perhaps with a change: `cv-changed,cv-changed.replaced`."""

    def kinds(self) -> frozenset[str]:
        """Give the kinds asked for, none for all of them; raises fault 1014 for one that there is not."""
        kinds = frozenset(self.kind.split(",")) if self.kind is not None else frozenset[str]()
        if not kinds <= KINDS:
            raise Fault(1014, (FieldError("kind", "is not a kind of event"),))
        return kinds


class SnapshotQuery(Query):
    """Where to go on in a snapshot, and how many CVs a page may have."""

    after: str | None = None
    limit: Annotated[int, Field(strict=False, ge=1, le=MOST)] = MOST


async def subscriber_of(caller: Caller, parts: Parts) -> Subscriber:
    """Give what the caller may read; raises the fault of one who may read nothing."""
    scope = scope_of(Actor.of(caller))
    return Subscriber(caller.client, scope, await parts.store.scope_id(scope))


async def note(parts: Parts, caller: Caller, method: str, detail: Mapping[str, Any]) -> None:
    """Write the access row of a page: the caller and the range."""
    await parts.access_log.record(AccessRow(None, method, caller, detail=detail))


def answer(
    request: Request, body: Any, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Make an answer, compressed where the caller takes that and it is worth it."""
    raw = orjson.dumps(body, str, orjson.OPT_UTC_Z)
    given = {"cache-control": "no-store", "vary": "accept-encoding", **(headers or {})}
    if len(raw) >= WORTH_ZIPPING and takes_gzip(request.headers.get("accept-encoding", "")):
        raw, given["content-encoding"] = gzip.compress(raw, 1), "gzip"
    return Response(raw, media_type=media_type, headers=given)
