"""Stops the work for a caller who has hung up, so that it does not hold a place at an owner."""

import asyncio

from cv_gateway.forwarding import Receive

LOOK_AFTER_SECONDS = 0.1
"""Most answers are there sooner; for them nobody need look."""


class Departure:
    """Cancels the task it was made in when the caller hangs up; `gone` tells that cancellation from any other."""

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._watch: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(LOOK_AFTER_SECONDS, self._look)

    def stop(self) -> None:
        """End the watch; from here on the task is not cancelled."""
        self._timer.cancel()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()

    def _look(self) -> None:
        self._watch = self._loop.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._task is not None:
            self.gone = True
            self._task.cancel()
