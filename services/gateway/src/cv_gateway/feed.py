"""The change feed's own routes: not methods of the seeds, but admitted, forwarded and answered like method 9."""

from collections.abc import Iterable

from cv_contracts.methods import METHOD_BY_NUMBER, Method
from cv_gateway.forwarding import Header
from servicekit.web.compression import takes_gzip

__all__ = ["FEED", "FEED_ROUTES", "compression"]

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


def compression(method: Method, headers: Iterable[Header]) -> bytes:
    """Give the header line by which a caller of the feed takes compressed answers; other owners compress none."""
    if method not in FEED_ROUTES:
        return b""
    takes = any(name == b"accept-encoding" and takes_gzip(value.decode("latin-1")) for name, value in headers)
    return b"accept-encoding: gzip\r\n" if takes else b""
