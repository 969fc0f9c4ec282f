"""What runs beside the requests: the follower, rendering ahead, what was missed, the removal of old renderings."""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Final

from pdf_renderer.missed import ask_again
from pdf_renderer.parts import Parts
from servicekit.background import repeat, running
from servicekit.web.health import Health

CLEAN_EVERY: Final = timedelta(hours=1)
LOOK_FOR_GAPS_EVERY: Final = timedelta(seconds=30)


def background(parts: Parts, health: Health, keep_current: timedelta) -> AbstractAsyncContextManager[None]:
    """Run everything while requests are served."""
    health.check("database", lambda: parts.database.fetchval("select 1"))
    health.check("workers", parts.workers.ready)
    health.check("follower", parts.follower.health.ready)
    work = {
        "follower": parts.follower.run(),
        "ahead": parts.ahead.run(),
        "missed": repeat("missed", LOOK_FOR_GAPS_EVERY, lambda: ask_again(parts.database)),
        "cleaning": repeat("cleaning", CLEAN_EVERY, lambda: parts.store.remove_old(keep_current)),
    }
    return running(health, work)
