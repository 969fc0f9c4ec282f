"""What runs beside the requests."""

from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

from cv_registry.parts import Parts
from cv_registry.settings import Settings
from servicekit.background import repeat, running
from servicekit.web.health import Health

ARCHIVED_EVERY = timedelta(hours=6)
HEARTBEAT_EVERY = timedelta(seconds=5)
"""How often followers of the citizens are told that they are up to date; they may miss two before they count as stale."""


def background(parts: Parts, settings: Settings, health: Health) -> AbstractAsyncContextManager[None]:
    """Run everything while requests are served, then let the relay finish what it has begun."""
    health.check("database", lambda: parts.database.fetchval("SELECT 1"))
    health.check("code-lists", parts.code_lists.standing)
    work = {
        "code-lists": parts.code_lists.run(),
        "heartbeat": repeat("heartbeat", HEARTBEAT_EVERY, lambda: make_heartbeat(parts)),
        "letters": repeat("letters", settings.letters_settled_every, parts.letters.settle_left),
        "cleaning": repeat("cleaning", timedelta(hours=1), lambda: parts.request_log.clean(parts.database)),
    }
    if parts.archiving is not None:
        work["archiving"] = repeat("archiving", ARCHIVED_EVERY, parts.archiving.archive_idle)
    if parts.follower is not None:
        health.check("follower", parts.follower.health.standing)
        work["follower"] = parts.follower.run()
    return running(health, work, parts.relay)


async def make_heartbeat(parts: Parts) -> None:
    """Tell the followers of the citizens that they are up to date; one instance of several does it each time."""
    now = datetime.now(UTC)
    await parts.citizens.heartbeat(now, now - HEARTBEAT_EVERY * 0.9)
