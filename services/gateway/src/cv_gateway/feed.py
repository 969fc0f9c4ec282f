"""The change feed's own routes: not methods of the seeds, but admitted, forwarded and answered like method 9."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from cv_contracts.methods import METHOD_BY_NUMBER, Method
from cv_contracts.wire.query import PageNumber, Query
from cv_gateway.forwarding import Header
from servicekit.web.compression import takes_gzip

__all__ = ["FEED", "FEED_QUERIES", "FEED_ROUTES", "compression"]

_LIST = METHOD_BY_NUMBER[9]


def _route(name: str, path: str, note: str) -> Method:
    return Method(
        number=_LIST.number,
        name=name,
        verb="GET",
        path=path,
        owner=_LIST.owner,
        scope=_LIST.scope,
        citizen="none",
        listed=_LIST.listed,
        note=note,
    )


FEED = _route(
    "Feed",
    "/v1/feed/cv",
    "A batch of CloudEvents after `lastEventId`; waits for `timeout` ms while there is none.",
)
FEED_ROUTES = (
    FEED,
    _route("FeedSnapshot", "/v1/feed/cv/snapshot", "The CVs that may be seen, and where to follow from."),
)

Position = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{40,200}$")]
"""What its owner signs, as long as that is: nothing shorter goes on to it, such as a person number."""


class FeedQuery(Query):
    """What may be asked of the feed, by its form; what it means is for its owner."""

    lastEventId: Annotated[  # noqa: N815 - named by http-feeds
        Position | None, Field(description="The position to go on from; without it, from the beginning")
    ] = None
    timeout: Annotated[
        int, Field(strict=False, ge=0, le=60_000, description="Milliseconds to wait while there is nothing")
    ] = 0
    limit: Annotated[
        PageNumber | None,
        Field(description="Most events on the page; 1000, however many are asked for"),
    ] = None
    kind: Annotated[
        Annotated[str, Field(pattern="^[a-z.,-]+$")] | None,
        Field(
            description="Kinds of events wanted, separated by commas, as in `cv-changed,citizen-handed-over`"
        ),
    ] = None


class SnapshotQuery(Query):
    """What may be asked of the snapshot."""

    after: Annotated[Position | None, Field(description="The `next` of the page before")] = None
    limit: Annotated[int, Field(strict=False, ge=1, le=5_000, description="Most CVs on the page")] = 5_000


FEED_QUERIES: Mapping[str, type[Query]] = MappingProxyType({"Feed": FeedQuery, "FeedSnapshot": SnapshotQuery})


def compression(method: Method, headers: Iterable[Header]) -> bytes:
    """Give the header line by which a caller of the feed takes compressed answers; other owners compress none."""
    if method not in FEED_ROUTES:
        return b""
    takes = any(name == b"accept-encoding" and takes_gzip(value.decode("latin-1")) for name, value in headers)
    return b"accept-encoding: gzip\r\n" if takes else b""
