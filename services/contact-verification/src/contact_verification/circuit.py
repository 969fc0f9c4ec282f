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
        self._recipients_put_off = set[Hashable]()
        self._rests_until = 0.0

    @property
    def away(self) -> bool:
        """Whether the provider counts as away: it has failed so often, or put off so many recipients, and nothing went through since."""
        return self._failing or len(self._recipients_put_off) >= self._most

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
        self._recipients_put_off.clear()

    def answered(self) -> None:
        """Note that the provider is there, whatever it said to the message."""
        self._failures = 0

    def put_off(self, recipient: Hashable) -> None:
        """Count a recipient put off for the first time. So many different ones with nothing sent in between make the provider `away`.

        It is an answer too, so the provider is there. One put off again, as with a mailbox full for days, is only that: `answered`.
        """
        self.answered()
        if len(self._recipients_put_off) < self._most:
            self._recipients_put_off.add(recipient)

    def failed(self) -> None:
        self._failures += 1
        if self._failing:
            self._rests_until = self._clock() + self._rest

    @property
    def _failing(self) -> bool:
        return self._failures >= self._most
