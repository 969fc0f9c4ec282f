"""What runs beside the requests: the writer of the feed, the replica's follower, the waking of those who wait."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

from change_feed.parts import Parts
from change_feed.writing import moment
from servicekit.background import running
from servicekit.observe import metrics
from servicekit.web.health import Health


class NotBegun(Exception):  # noqa: N818 - what is the matter
    """There is no feed yet: no process could begin it."""


def background(parts: Parts, health: Health) -> AbstractAsyncContextManager[None]:
    """Run everything while requests are served."""
    health.on_draining = parts.arrivals.leave
    health.check("database", lambda: parts.database.fetchval("select 1"))
    health.check("feed", lambda: feed_progress(parts))
    health.check("follower", parts.follower.health.ready)
    metrics.observe("feed.edge.age", lambda: parts.arrivals.edge_age)
    work = {
        "leader": parts.leader.run(),
        "follower": parts.follower.run(),
        "arrivals": parts.arrivals.run(),
    }
    return running(health, work)


async def feed_progress(parts: Parts) -> Mapping[str, Any]:
    """Show how far the feed is. One that waits is no reason to send nobody here: what has arrived can be read."""
    edge = await parts.store.edge()
    if edge is None:
        raise NotBegun
    behind = datetime.now(UTC) - moment(edge.edge)
    progress = parts.leader.progress
    return {
        "leading": progress.leading,
        "edge_age_seconds": round(behind.total_seconds(), 3),
        "seeded": edge.seeded,
        "trouble": progress.trouble,
        "unreadable": await parts.store.unreadable(),
    }
