"""What runs beside the requests."""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from cv_status.parts import Parts
from servicekit.background import repeat, running
from servicekit.web.health import Health


def background(parts: Parts, health: Health) -> AbstractAsyncContextManager[None]:
    """Run everything while requests are served, then let the relay finish what it has begun."""
    health.check("database", lambda: parts.database.fetchval("select 1"))
    health.check("follower", parts.follower.health.ready)
    health.check("code-lists", parts.code_lists.standing)
    work = {
        "code-lists": parts.code_lists.run(),
        "follower": parts.follower.run(),
        "cleaning": repeat("cleaning", timedelta(hours=1), lambda: parts.request_log.clean(parts.database)),
    }
    return running(health, work, parts.relay)
