"""Leaves a provider alone that has failed again and again, and tries it with one message before the rest goes there."""

import time
from collections.abc import Callable
from datetime import timedelta


class Circuit:
    """Closed: all may go. Open: nothing may. After the rest one message may try; its outcome decides."""

    def __init__(self, failures: int, rest: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = failures
        self._rest = rest.total_seconds()
        self._clock = clock
        self._failures = 0
        self._rests_until = 0.0

    @property
    def away(self) -> bool:
        """Whether the provider has failed so often that it counts as away, until something went through again."""
        return self._failures >= self._most

    @property
    def open(self) -> bool:
        return self.away and self._clock() < self._rests_until

    def room(self, most: int) -> int:
        """Give how many messages may be sent now."""
        if not self.away:
            return most
        return 0 if self.open else 1

    def worked(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self.away:
            self._rests_until = self._clock() + self._rest
