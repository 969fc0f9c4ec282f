"""How often one client may call: a bucket of calls that fills again evenly."""

import math
import time
from datetime import timedelta

from cv_contracts.faults import TooMany

REMEMBERED_CLIENTS = 10_000


class Quota:
    """`calls` per client and `period`. Counted in this process: with several gateways each counts for itself."""

    def __init__(self, calls: int, period: timedelta) -> None:
        self._calls = calls
        self._per_second = calls / period.total_seconds()
        self._full_again: dict[str, float] = {}

    def take(self, client: str) -> None:
        """Count one call; raises TooMany, with the seconds until the next call, when none is left."""
        now = time.monotonic()
        full_again = max(now, self._full_again.pop(client, now)) + 1 / self._per_second
        missing = (full_again - now) * self._per_second - self._calls
        if missing > 1e-6:
            self._full_again[client] = full_again - 1 / self._per_second
            raise TooMany(retry_after=max(1, math.ceil(missing / self._per_second)))
        self._full_again[client] = full_again
        if len(self._full_again) > REMEMBERED_CLIENTS:
            del self._full_again[next(iter(self._full_again))]
