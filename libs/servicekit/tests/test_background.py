import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from servicekit.background import repeat
from servicekit.testing import in_skipped_time

HOUR = timedelta(hours=1)


class Work:
    """Fails in these ways when it is to be done, and is over then; notes when it was done."""

    def __init__(self, *fails: Exception | None) -> None:
        self.fails = list(fails)
        self.done: list[float] = []

    async def __call__(self) -> None:
        self.done.append(asyncio.get_running_loop().time())
        if not self.fails:
            raise asyncio.CancelledError
        if (error := self.fails.pop(0)) is not None:
            raise error


@in_skipped_time
async def test_work_is_done_every_hour_also_after_the_database_was_away() -> None:
    work = Work(None, ConnectionRefusedError(), None)
    with capture_logs() as logs, suppress(asyncio.CancelledError):
        await repeat("cleaning", HOUR, work)
    assert work.done == [0, 3600, 7200, 10800]
    assert [(one["event"], one["task"], one["error_type"]) for one in logs] == [
        ("background_work_waits", "cleaning", "ConnectionRefusedError")
    ]


async def test_what_is_no_trouble_of_the_database_ends_the_work() -> None:
    with pytest.raises(LookupError):
        await repeat("cleaning", HOUR, Work(LookupError()))
