"""What runs beside the requests: the follower, the refreshing of documents, the writer of the index, room for new searches."""

from contextlib import AbstractAsyncContextManager

from cv_search import purging, refreshing
from cv_search.parts import Parts
from cv_search.pins import TIDY_EVERY
from cv_search.settings import Role
from servicekit.background import repeat, running
from servicekit.web.health import Health


def background(parts: Parts, role: Role, health: Health) -> AbstractAsyncContextManager[None]:
    """Run what the role asks for while requests are served."""
    health.check("database", lambda: parts.database.fetchval("select 1"))
    health.check("index", parts.indexer.ready)
    health.check("code-lists", parts.code_lists.standing)
    work = {"code-lists": parts.code_lists.run(), "indexer": parts.indexer.run()}
    if role.searches:
        health.check("readers", parts.workers.ready)
        work["kept searches"] = repeat("kept searches", TIDY_EVERY, parts.pins.tidy)
    if role.writes:
        health.check("follower", parts.follower.health.ready)
        work |= {
            "follower": parts.follower.run(),
            "refresh": repeat("refresh", refreshing.LOOK_EVERY, parts.refresh.step),
            "purging": repeat("purging", purging.LOOK_EVERY, parts.purging.step),
        }
    return running(health, work)
