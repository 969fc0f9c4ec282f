"""Which users read far more than usual: one pure rule over how many looks each had on each day."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import Any, Self

__all__ = ["DailyReads", "Unusual", "UserKey", "unusual"]


@dataclass(frozen=True, slots=True)
class UserKey:
    """A user is known within the client that names it; the organisation is the client's own."""

    client: str
    kind: int
    identifier: str
    organisation: tuple[int, str]


@dataclass(frozen=True, slots=True)
class DailyReads:
    """How many looks a user had in one service on one Danish day."""

    user: UserKey
    day: date
    looks: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        key = UserKey(
            row["client"], row["user_type"], row["user_identifier"], (row["own_type"], row["own_code"])
        )
        return cls(key, date.fromisoformat(row["day"]), int(row["looks"]))


@dataclass(frozen=True, slots=True)
class Unusual:
    """A user, the looks of the day, and what is usual for this user and for the others of the organisation."""

    user: UserKey
    looks: int
    own_usual: float
    others_usual: float

    def to_json(self) -> dict[str, Any]:
        kind, code = self.user.organisation
        return {
            "client": self.user.client,
            "userType": self.user.kind,
            "userIdentifier": self.user.identifier,
            "organisation": f"{kind}:{code}",
            "looks": self.looks,
            "ownUsual": self.own_usual,
            "othersUsual": self.others_usual,
        }


def unusual(reads: Iterable[DailyReads], day: date, *, factor: float, least: int) -> list[Unusual]:
    """Give who had at least `least` looks on the day and more than `factor` times the usual, the most looks first.

    Usual is the median of the days before on which there were any, the user's own or the others' of the same organisation,
    whichever is higher; who has neither is measured by `least` alone.
    """
    counted: dict[UserKey, Counter[date]] = defaultdict(Counter)
    for one in reads:
        counted[one.user][one.day] += one.looks
    peers: dict[tuple[int, str], list[UserKey]] = defaultdict(list)
    for user in counted:
        peers[user.organisation].append(user)
    found = []
    for user, days in counted.items():
        if days[day] < least:
            continue
        own = _usual(count for when, count in days.items() if when < day)
        others = _usual(
            count
            for other in peers[user.organisation]
            if other != user
            for when, count in counted[other].items()
            if when <= day
        )
        if days[day] > factor * max(own, others):
            found.append(Unusual(user, days[day], own, others))
    return sorted(found, key=lambda one: (-one.looks, one.user.client, one.user.identifier))


def _usual(counts: Iterable[int]) -> float:
    return float(median(list(counts) or [0]))
