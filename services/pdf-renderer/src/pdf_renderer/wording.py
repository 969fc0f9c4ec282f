"""How a Danish reader expects dates, periods and names."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

__all__ = ["Words", "day", "experience", "joined", "moment", "period"]

Words = Mapping[str, Any]
"""The words of one template version, from its words.json."""

_ZONE: Final = ZoneInfo("Europe/Copenhagen")
_DASH: Final = "\N{EN DASH}"
_TOGETHER: Final = "\xa0"


def day(time: datetime, words: Words) -> str:
    """Give the Danish date of a moment: 3. november 2026."""
    local = time.astimezone(_ZONE)
    return f"{local.day}. {words['months'][local.month - 1]} {local.year}"


def moment(time: datetime, words: Words) -> str:
    """Give date and time of day: 3. november 2026 kl. 14.05."""
    local = time.astimezone(_ZONE)
    return f"{day(time, words)} {words['clock']} {local.hour:02}.{local.minute:02}"


def period(start: Mapping[str, str] | None, end: Mapping[str, str] | None, words: Words) -> str:
    """Give a period of PartialDates; without an end it goes on, without a start only the end is known."""
    if start is None:
        return "" if end is None else _partial(end, words)
    first = _partial(start, words)
    last = words["now"] if end is None else _partial(end, words)
    return first if first == last else f"{first} {_DASH} {last}"


def _partial(date: Mapping[str, str], words: Words) -> str:
    month = date.get("Month")
    year = date["Year"].lstrip("0") or "0"
    return year if month is None else f"{words['months'][int(month[2:]) - 1]}{_TOGETHER}{year}"


def experience(months: int, words: Words) -> str:
    """Give a length of experience in years and months; nothing for none."""
    years, rest = divmod(months, 12)
    parts = [f"{years} {words['years']}"] if years else []
    if rest:
        parts.append(f"{rest} {words['month_units'][rest > 1]}")
    return f"{' og '.join(parts)} {words['experience']}" if parts else ""


def joined(parts: list[str], by: str = " ") -> str:
    """Join what there is."""
    return by.join(part for part in parts if part)
