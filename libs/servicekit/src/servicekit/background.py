"""What a service does beside its requests: watched tasks, the relay's last rows at the end, work done again and again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import structlog

from servicekit.data.postgres import passing_trouble
from servicekit.publish.relay import Relay
from servicekit.web.health import Health

__all__ = ["relay_progress", "repeat", "running"]

log = structlog.get_logger(__name__)

LONGEST_DRAIN: Final = timedelta(seconds=5)


@asynccontextmanager
async def running(
    health: Health, work: Mapping[str, Coroutine[Any, Any, None]], relay: Relay | None = None
) -> AsyncIterator[None]:
    """Do all this work during the block; whatever of it ends by itself makes the process unhealthy.

    A `relay` runs along, and at the end it may finish what it has begun.
    """
    ended = asyncio.Event()
    tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
    if relay is not None:
        health.check("relay", lambda: relay_progress(relay))
        tasks.append(asyncio.create_task(relay.watch_forever(), name="relay backlog"))
        tasks.append(asyncio.create_task(_relay(relay, ended), name="relay"))
    for task in tasks:
        health.watch(task.get_name(), task)
    try:
        yield
    finally:
        if relay is not None:
            relay.stop()
            await _either(ended, tasks[-1])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def repeat(name: str, every: timedelta, work: Callable[[], Awaitable[object]]) -> None:
    """Do the work again and again; trouble with the database that passes by itself is waited out."""
    while True:
        try:
            await work()
        except Exception as error:
            if passing_trouble(error) is None:
                raise
            log.warning("background_work_waits", task=name, error_type=type(error).__name__)
        await asyncio.sleep(every.total_seconds())


async def relay_progress(relay: Relay) -> Mapping[str, Any]:
    """Show how far the relay is. Kafka away is no reason to send nobody here: writes wait in the outbox."""
    backlog = await relay.backlog()
    return {
        "active": relay.progress.active,
        "backlog": backlog.rows,
        "age_seconds": round(backlog.oldest.total_seconds(), 3),
        "refused": backlog.refused,
        "trouble": relay.progress.trouble,
    }


async def _relay(relay: Relay, ended: asyncio.Event) -> None:
    """Relay, and stay when told to stop: a watched task that ends by itself means that the process is broken."""
    await relay.run()
    ended.set()
    await asyncio.Event().wait()


async def _either(ended: asyncio.Event, task: "asyncio.Task[None]") -> None:
    drained = asyncio.create_task(ended.wait())
    await asyncio.wait(
        [drained, task], timeout=LONGEST_DRAIN.total_seconds(), return_when=asyncio.FIRST_COMPLETED
    )
    drained.cancel()
