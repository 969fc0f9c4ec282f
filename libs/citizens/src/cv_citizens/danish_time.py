"""Danish dates: every rule of the specification that speaks of a day means the day in Copenhagen."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

COPENHAGEN = ZoneInfo("Europe/Copenhagen")

Clock = Callable[[], datetime]
"""Gives the present moment, aware, in any zone."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def danish_date(moment: datetime) -> date:
    """Day in Denmark at an aware moment; a naive one has no day and is refused."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone has no Danish date")
    return moment.astimezone(COPENHAGEN).date()


def danish_today(clock: Clock = utc_now) -> date:
    return danish_date(clock())
