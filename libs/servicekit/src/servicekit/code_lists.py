"""Code lists in use: read when a service starts, and swapped while it runs when the files of their folder change."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from cv_contracts.codelists import BadCodeList, CodeLists
from cv_contracts.codelists.live import LiveCodeLists
from servicekit.observe import metrics

__all__ = ["CodeListWatch"]

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = timedelta(seconds=2)
"""A look asks the disk for the time and size of each file, and reads none."""

Swapped = Callable[[], Awaitable[None]]


class CodeListWatch:
    """Keeps `lists` as their folder says. A list that is not valid is refused, and all of the old ones stay.

    Whoever keeps something made of the lists makes it anew in `after_swap`.
    """

    def __init__(self, folder: Path | None) -> None:
        self._live = LiveCodeLists(folder)
        self._after_swap: list[Swapped] = []
        self._refused = False
        metrics.observe("code_lists.refused", lambda: float(self._refused))

    @property
    def lists(self) -> CodeLists:
        """One object for the life of the process, whose lists change."""
        return self._live.lists

    def after_swap(self, call: Swapped) -> None:
        """Call this each time the lists have become others."""
        self._after_swap.append(call)

    async def run(self) -> None:
        """Look for other files again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY.total_seconds())
            await self.look()

    async def look(self) -> None:
        """Take up what the folder holds now, if that is something else and valid."""
        try:
            if not await asyncio.to_thread(self._live.is_changed):
                return
            new = await asyncio.to_thread(self._live.read)
        except (BadCodeList, OSError) as error:
            self._refused = True
            log.error("code_lists_refused", reason=str(error), version=self._live.version)  # noqa: TRY400 - the reason says it
            return
        self._refused = False
        if new.version != self._live.version:
            self._live.swap(new)
            for call in self._after_swap:
                await call()
            log.info("code_lists_swapped", version=new.version)

    async def standing(self) -> Mapping[str, Any]:
        """Show which lists are in use; that newer ones were refused is no reason to send nobody here."""
        return {"version": self._live.version, "refused": self._refused}
