"""The clock by which Danish days begin and end."""

from zoneinfo import ZoneInfo

__all__ = ["DANISH"]

DANISH = ZoneInfo("Europe/Copenhagen")
