"""What may be asked of the feed and its snapshot."""

from typing import Annotated

from pydantic import Field

from change_feed.feed import KINDS
from change_feed.settings import LONGEST_POLL
from change_feed.snapshot import MOST
from cv_contracts.faults import Fault, FieldError
from cv_contracts.wire.query import PageNumber, Query

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
