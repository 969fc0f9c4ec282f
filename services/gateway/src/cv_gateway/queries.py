"""What may stand in a query, and so in the URL to an owner."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated
from urllib.parse import parse_qsl

from pydantic import Field

from cv_contracts.faults import Fault, FieldError
from cv_contracts.methods import Method
from cv_contracts.wire.errors import NOT_VALID, QUERY, read_query
from cv_contracts.wire.query import PageNumber, Query
from cv_gateway.messages import messages_of

__all__ = ["FEED_QUERIES", "target_of"]

_TAKES_NONE = FieldError(QUERY, "is not empty; this method has no query parameters")

Position = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{40,200}$")]
"""What its owner signs, as long as that is: nothing shorter goes on to it, such as a person number."""


class FeedQuery(Query):
    """What may be asked of the feed, by its form; what it means is for its owner."""

    lastEventId: Annotated[  # noqa: N815 - named by http-feeds
        Position | None,
        Field(
            description="The position to go on from, at first the snapshot's; without it, from the beginning"
        ),
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


def target_of(method: Method, query: bytes) -> bytes:
    """Give what a call asks of its owner's server; raises Fault 1014 for a query that the owner would refuse.

    It stands in the owner's URL, where nothing personal may be.
    """
    target = method.path.encode("ascii")
    if not query:
        return target
    model = FEED_QUERIES.get(method.name, messages_of(method).query)
    if model is None:
        raise Fault(NOT_VALID, (_TAKES_NONE,))
    read_query(model, parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    return target + b"?" + query
