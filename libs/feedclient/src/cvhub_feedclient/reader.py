"""The feed over HTTP: one page at a time, each checked to be what it says it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import httpx

from cvhub_feedclient.errors import FeedRefused, NotMyRange
from cvhub_feedclient.messages import Event, Page, Present, SnapshotPage

__all__ = ["Away", "Began", "Reader", "Restored"]

FEED: Final = "/v1/feed/cv"
SNAPSHOT: Final = "/v1/feed/cv/snapshot"
SNAPSHOT_AT_MOST: Final = 5_000
"""The feed gives a page of a snapshot no more CVs, and refuses who asks for more; a page of events it cuts by itself."""
ANSWER_SECONDS: Final = 10.0


class Away(Exception):  # noqa: N818 - what is the matter
    """No answer that can be used now; `seconds` is how long the feed asks to wait, if it does."""

    def __init__(self, seconds: float | None = None) -> None:
        super().__init__("the feed does not answer now")
        self.seconds = seconds


class Began(Exception):  # noqa: N818 - what has happened
    """The feed has begun a new epoch: what you have must be built anew from its snapshot."""


class Restored(Exception):  # noqa: N818 - what has happened
    """The feed was restored from a back-up: what you have must be built anew too, and events may come that you have had."""


class Reader:
    """Reads pages. The client given has the gateway's address and, in its `auth` or headers, who you are."""

    def __init__(
        self, client: httpx.AsyncClient, *, kinds: str | None = None, limit: int | None = None
    ) -> None:
        self._client = client
        self._fixed = {"kind": kinds, "limit": None if limit is None else str(limit)}
        self._most = None if limit is None else str(min(limit, SNAPSHOT_AT_MOST))

    async def page(self, position: str | None, wait: timedelta) -> Page:
        """Give the page after a position, as soon as there is something on it or the time is over."""
        query = {**self._fixed, "lastEventId": position, "timeout": str(round(wait.total_seconds() * 1000))}
        answer = await self._get(FEED, query, wait.total_seconds())
        with _of_the_feed():
            start, end = answer.headers["x-feed-from"], answer.headers["x-feed-to"]
            events = [Event.of(raw) for raw in answer.json()]
        more = answer.headers.get("x-feed-more", "true" if events else "false") == "true"
        if position is not None and start != position:
            raise NotMyRange
        return Page(events, start, end, more)

    async def snapshot(self, mark: str | None) -> SnapshotPage:
        """Give the page of a snapshot after a mark, the first page of a new one without."""
        answer = await self._get(SNAPSHOT, {"after": mark, "limit": self._most}, 0)
        with _of_the_feed():
            body = answer.json()
            items = [
                Present(one["cvId"], one["cvNumber"], one["version"], one["change"]) for one in body["items"]
            ]
            return SnapshotPage(items, body["position"], body["next"])

    async def _get(self, path: str, query: dict[str, str | None], wait: float) -> httpx.Response:
        params = {name: value for name, value in query.items() if value is not None}
        try:
            answer = await self._client.get(path, params=params, timeout=wait + ANSWER_SECONDS)
        except httpx.RequestError as error:
            raise Away from error
        if answer.status_code == httpx.codes.OK:
            return answer
        if answer.status_code in (httpx.codes.GONE, httpx.codes.CONFLICT):
            # The feed's own says where it is, and only to who asked from a position; any other is a proxy's.
            if not params.keys() & {"lastEventId", "after"}:
                raise Away
            with _of_the_feed():
                _ = answer.json()["lastEventId"]
            raise Began if answer.status_code == httpx.codes.GONE else Restored
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise Away(_seconds(answer))
        raise _refusal(answer)


@contextmanager
def _of_the_feed() -> Iterator[None]:
    """Make Away of an answer that is not as the feed's are: a proxy's own, or one that was cut short."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Away from error


def _seconds(answer: httpx.Response) -> float | None:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdigit() else None


def _refusal(answer: httpx.Response) -> FeedRefused:
    try:
        problem = answer.json()
        code, elements = problem.get("code"), [str(one["element"]) for one in problem.get("errors") or ()]
    except (ValueError, KeyError, TypeError, AttributeError):
        code, elements = None, []
    return FeedRefused(answer.status_code, code if isinstance(code, int) else None, elements)
