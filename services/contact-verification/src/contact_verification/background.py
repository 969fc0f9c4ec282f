"""What runs beside the requests: relay, follower, sender, settling, reconfirmation, and the forgetting of what is over."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Final

from contact_verification.parts import Parts
from contact_verification.settings import Settings
from servicekit.background import repeat, running
from servicekit.observe import metrics
from servicekit.web.health import Health

HOUR: Final = timedelta(hours=1)
MESSAGES_KEPT: Final = timedelta(days=30)
MOST_BETWEEN_SETTLING: Final = timedelta(seconds=5)


def background(parts: Parts, settings: Settings, health: Health) -> AbstractAsyncContextManager[None]:
    """Run everything while requests are served, then let the relay finish what it has begun."""
    health.check("database", lambda: parts.database.fetchval("select 1"))
    health.check("follower", parts.follower.health.ready)
    health.check("sender", lambda: sender_progress(parts))
    metrics.observe("providers.away", lambda: float(len(parts.sender.away())))
    settle_every = min(settings.settle_after / 2, MOST_BETWEEN_SETTLING)
    health.check("code-lists", parts.code_lists.standing)
    work = {
        "code-lists": parts.code_lists.run(),
        "follower": parts.follower.run(),
        "sender": parts.sender.run(),
        "settling": repeat("settling", settle_every, parts.settling.settle_due),
        "reconfirming": repeat("reconfirming", HOUR, parts.reconfirming.run_once),
        "forgetting": repeat("forgetting", HOUR, lambda: forget(parts)),
        "cleaning": repeat("cleaning", HOUR, lambda: parts.request_log.clean(parts.database)),
    }
    return running(health, work, parts.relay)


async def forget(parts: Parts) -> None:
    """Delete what nothing needs any more."""
    await parts.codes.forget(parts.database)
    await parts.messages.forget(MESSAGES_KEPT)


async def sender_progress(parts: Parts) -> Mapping[str, Any]:
    """Show how the providers do. One that is away is no reason to send nobody here: messages wait."""
    waiting, age = await parts.messages.waiting()
    shown = {"waiting": waiting, "age_seconds": round(age, 3), "away": parts.sender.away()}
    return {**shown, **parts.sender.health()}
