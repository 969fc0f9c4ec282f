"""Following: the snapshot first, then every page, each applied by the caller's own transaction together with its place."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from cvhub_feedclient.place import Copy, Place
from cvhub_feedclient.reader import Away, Began, Reader, Restored

__all__ = ["Follower", "Waiting"]

LONG_POLL: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long to wait when the feed does not answer: doubling from the first to the longest, with some chance in it."""

    first: timedelta = timedelta(milliseconds=250)
    longest: timedelta = timedelta(seconds=30)

    def after(self, failures: int, asked: float | None = None) -> float:
        """Give the seconds to wait; at least what the feed asked for."""
        seconds = min(self.longest.total_seconds(), self.first.total_seconds() * 2.0 ** min(failures, 16))
        return max(asked or 0.0, seconds * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load only


class Follower:
    """Keeps a copy in step. Killed at any moment it goes on from the copy's own place: no effect is lost or done twice.

    It ends by FeedRefused or NotMyRange, and by whatever the copy raises, Overtaken among it; all else is waited for.
    """

    def __init__(
        self,
        reader: Reader,
        copy: Copy,
        *,
        poll: timedelta = LONG_POLL,
        waiting: Waiting | None = None,
        noticed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._reader = reader
        self._copy = copy
        self._poll = poll
        self._waiting = waiting or Waiting()
        self._noticed = noticed
        self._kept = Place()

    async def run(self, *, anew: bool = False) -> None:
        """Follow until cancelled; with `anew` from a new snapshot on, whatever place is kept."""
        await self._repeat(self._poll, lambda _: False, anew)

    async def catch_up(self, *, anew: bool = False) -> None:
        """Follow until the feed has no more: everything that the feed had when this began is then in the copy."""
        await self._repeat(timedelta(0), lambda more: not more, anew)

    async def _repeat(self, poll: timedelta, is_done: Callable[[bool], bool], anew: bool) -> None:
        self._kept, failures = await self._copy.place(), 0
        place = Place(repeats=self._kept.repeats) if anew else self._kept
        while True:
            try:
                place, more = await self._step(place, poll)
            except Away as away:
                self._noticed("away")
                await asyncio.sleep(self._waiting.after(failures, away.seconds))
                failures += 1
                continue
            failures = 0
            if is_done(more):
                return

    async def _step(self, place: Place, poll: timedelta) -> tuple[Place, bool]:
        """Take in one page; gives the new place, and whether there is more after it."""
        try:
            return await (self._snapshot(place) if place.building else self._follow(place, poll))
        except (Began, Restored) as anew:
            was_restored = isinstance(anew, Restored)
            self._noticed("restored" if was_restored else "began")
            # The copy stays what it was until there is something to put in its place; killed before that, one is told so again.
            return Place(repeats=was_restored), True

    async def _snapshot(self, place: Place) -> tuple[Place, bool]:
        page = await self._reader.snapshot(place.mark)
        if place.mark is None:
            await self._copy.begin(self._kept, place)
            self._kept = place
        place = replace(
            place, position=page.position, mark=page.following, building=page.following is not None
        )
        await self._copy.present(page.items, self._kept, place)
        self._kept = place
        return place, True

    async def _follow(self, place: Place, poll: timedelta) -> tuple[Place, bool]:
        page = await self._reader.page(place.position, poll)
        if page.end != place.position:
            place = place.at(page.end)
            await self._copy.happened(page.events, self._kept, place)
            self._kept = place
        return place, page.more
