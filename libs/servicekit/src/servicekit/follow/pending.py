"""Subjects that cannot be fetched or applied now: rows with a next try, and the claim of those that are due."""

import random
from dataclasses import dataclass
from typing import Self

from servicekit.data.postgres import Database
from servicekit.follow.projection import Announced, PendingReason

__all__ = ["CLAIM_LIMIT", "Claimed", "Waiting", "back_off", "claim_due"]

FIRST_DELAY = 1.0
LONGEST_DELAY = 300.0
CLAIM_LIMIT = 500

# A claim is a lease: whoever dies with it leaves rows that come due again by themselves.
_CLAIM = """
update pending_subjects p set attempts = p.attempts + 1, next_try = now() + interval '60 seconds'
from (
    select subject from pending_subjects where projection = $1 and next_try <= now()
    order by next_try limit $2 for update skip locked
) due
where p.projection = $1 and p.subject = due.subject
returning p.subject, p.version, p.partition, p.attempts
"""


def back_off(attempts: int) -> float:
    """Give the seconds until the next try: 1 s, doubled by each attempt up to 5 min, with a quarter of jitter."""
    delay = min(LONGEST_DELAY, FIRST_DELAY * float(1 << min(max(attempts - 1, 0), 16)))
    return delay * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, protects nothing


@dataclass(frozen=True, slots=True)
class Waiting:
    """A subject that becomes, or stays, a pending row; the next try is `delay` seconds from now."""

    announced: Announced
    reason: PendingReason
    attempts: int = 0
    delay: float = 0.0

    @classmethod
    def after(cls, attempts: int, announced: Announced, reason: PendingReason) -> Self:
        """Wait after so many attempts, longer after each."""
        return cls(announced, reason, attempts, back_off(attempts))


@dataclass(frozen=True, slots=True)
class Claimed:
    """A pending row that this process may try now."""

    announced: Announced
    attempts: int


async def claim_due(database: Database, projection: str, limit: int = CLAIM_LIMIT) -> list[Claimed]:
    """Take the rows whose time has come; no other process gets them for a minute."""
    rows = await database.fetch(_CLAIM, projection, limit)
    return [Claimed(Announced(r["subject"], r["version"], r["partition"]), r["attempts"]) for r in rows]
