"""The walk through the main job, before the user's eyes and through the gateway as any caller goes."""

import asyncio
import time
from collections.abc import Mapping
from textwrap import indent

import httpx
from rich.console import Console
from rich.text import Text

from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.topics import topic_of
from cvhub.people import Person
from cvhub.state import State
from cvhub.walk import access, contact, cv, documents, erase, feed, search, status
from cvhub.walk.journey import Journey, NotAsItShould, Step
from servicekit.kafka import consumer
from servicekit.settings import KafkaSettings
from servicekit.web.tls import trusting

SUMMARY = "<p>Skrevet af gennemgangen {when}.</p>"
STEPS: Mapping[str, Step] = {
    **cv.STEPS,
    **status.STEPS,
    **contact.STEPS,
    **search.STEPS,
    **feed.STEPS,
    **documents.STEPS,
    **access.STEPS,
    **erase.STEPS,
}


def walk_through(state: State, console: Console, person: Person, stranger: str) -> bool:
    """Give whether each step did what it should; one that did not ends the walk."""
    return asyncio.run(_walk(state, console, person, stranger))


async def _walk(state: State, console: Console, person: Person, stranger: str) -> bool:
    run = state.running()
    kafka = KafkaSettings(bootstrap_servers=run.bootstrap_servers)
    events = consumer(kafka, topic_of(CVChanged).name, group_id=None, auto_offset_reset="latest")
    await events.start()
    await events.seek_to_end()
    summary = SUMMARY.format(when=time.strftime("%H:%M:%S"))
    try:
        async with httpx.AsyncClient(timeout=30, trust_env=False, verify=trusting()) as client:
            journey = Journey(state, run, client, events, person, stranger, summary)
            console.print("\n [bold]The main job, once[/]")
            for number, (title, step) in enumerate(STEPS.items(), 1):
                if not await _take(f"{number}. {title}", step, journey, console):
                    return False
    finally:
        await events.stop()
    return True


async def _take(title: str, step: Step, journey: Journey, console: Console) -> bool:
    started = time.monotonic()
    try:
        seen = await step(journey)
    except (NotAsItShould, httpx.HTTPError, TimeoutError, KeyError) as error:
        console.print(
            f" [red]✗[/] {title}\n     {type(error).__name__}: {error}", highlight=False, soft_wrap=True
        )
        return False
    took = (time.monotonic() - started) * 1000
    console.print(f" [green]✓[/] {title:68} {took:6.0f} ms", highlight=False, soft_wrap=True)
    console.print(Text(indent(seen.what, "     ")), soft_wrap=True)
    console.print(Text(indent(seen.command, "     "), style="dim"), soft_wrap=True)
    return True
