"""Leaves a provider alone that has failed again and again, and tries it with one message before the rest goes there."""

import time
from collections.abc import Callable, Hashable
from datetime import timedelta


class Circuit:
    """Closed: all may go. Open: nothing may. After the rest one message may try; its outcome decides."""

    def __init__(self, failures: int, rest: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = failures
        self._rest = rest.total_seconds()
        self._clock = clock
        self._failures = 0
        self._held = set[Hashable]()
        self._rests_until = 0.0

    @property
    def away(self) -> bool:
        """Whether the provider counts as away: it has failed so often, or put off so many recipients, and nothing went through since."""
        return self._failing or len(self._held) >= self._most

    @property
    def open(self) -> bool:
        return self._failing and self._clock() < self._rests_until

    def room(self, most: int) -> int:
        """Give how many messages may be sent now."""
        if not self._failing:
            return most
        return 0 if self.open else 1

    def worked(self) -> None:
        """Note that something went through."""
        self.answered()
        self._held.clear()

    def answered(self) -> None:
        """Note that the provider is there, whatever it said to the message."""
        self._failures = 0

    def held(self, recipient: Hashable) -> None:
        """Note that the provider is there, and takes nothing for this recipient now. One that says so of everybody sends nothing.

        Of whom it has said so before, as of a mailbox that is full for days, it says nothing new: that is just an answer.
        """
        self.answered()
        if len(self._held) < self._most:
            self._held.add(recipient)

    def failed(self) -> None:
        self._failures += 1
        if self._failing:
            self._rests_until = self._clock() + self._rest

    @property
    def _failing(self) -> bool:
        return self._failures >= self._most
