"""What every measurement is given and gives: servers of its own, and rows of the one table."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil

from cvhub.servers.kafka import KafkaServer
from cvhub.servers.postgres import PostgresServer

Better = Literal[">=", "<="]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `goal` is about `ratio`, or about `ours` where there is no peer; None: just shown."""

    name: str
    ours: float
    peer: float | None
    ratio: float | None
    goal: str | None
    met: bool | None

    @classmethod
    def against(
        cls, name: str, ours: Sequence[float], peer: Sequence[float], at_least: float | None = None
    ) -> Self:
        """Compare rounds that were measured in turns: the ratio is the median of the rounds' ratios."""
        ratio = median(a / b for a, b in zip(ours, peer, strict=True))
        goal = None if at_least is None else f">= {at_least:g}x"
        met = None if at_least is None else ratio >= at_least
        return cls(name, shown(median(ours)), shown(median(peer)), shown(ratio), goal, met)

    @classmethod
    def alone(cls, name: str, ours: float, goal: tuple[Better, float] | None = None) -> Self:
        """Give a figure without a peer, judged by itself."""
        if goal is None:
            return cls(name, shown(ours), None, None, None, None)
        better, limit = goal
        met = ours >= limit if better == ">=" else ours <= limit
        return cls(name, shown(ours), None, None, f"{better} {limit:g}", met)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def shown(value: float) -> float:
    """Round to what the measurement can tell."""
    return round(value) if value >= 100 else round(value, 1 if value >= 10 else 2)


@dataclass(slots=True)
class Servers:
    """A PostgreSQL and a Kafka that nobody else uses, and what to tell the user while measuring."""

    folder: Path
    postgres: PostgresServer
    kafka: KafkaServer
    say: Callable[[str], None]
    note: Callable[[str], None]
    million: bool = False
    """Whether to import 1,000,000 citizens, and to page through 10,000,000 events."""
    cvs: int = 500_000
    """How many CVs to search."""
    kept: Path | None = None
    """Where P5 and P6 find what they built before, each in its folder, or build it for the next time."""

    async def database(self) -> str:
        """Make an empty database; give its DSN."""
        name = f"bench_{secrets.token_hex(4)}"
        connection = await asyncpg.connect(self.postgres.dsn)
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return urlunsplit(urlsplit(self.postgres.dsn)._replace(path=f"/{name}"))


def megabytes(pid: int) -> int:
    """Memory of a process and its children, shared parts counted once where the system tells them to this user."""
    process = psutil.Process(pid)
    return round(sum(_own(one) for one in (process, *process.children(recursive=True))) / 1_000_000)


def _own(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        try:
            full = process.memory_full_info()
        except psutil.AccessDenied:
            # A service lets nobody but root look into it; its size it cannot hide.
            return int(process.memory_info().rss)
        return int(getattr(full, "pss", full.rss))
    return 0
