"""Which positions a batch gets, and how far the feed is afterwards: later is always higher, whatever the clock says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from change_feed.placing import Entry
from change_feed.scopes import ALL
from change_feed.writing import MILLISECOND, Changes, Writer, now_position

AHEAD = 60_000_000
"""A minute in microseconds: how far the clock that wrote last was ahead of the one that writes now."""


class Feed:
    """A connection to a feed whose edge is known; keeps the positions that entries are given."""

    def __init__(self, edge: int) -> None:
        self.edge = edge
        self.positions: list[int] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

    async def fetchval(self, _query: str) -> int:
        return self.edge

    async def fetch(self, _query: str, *_args: object) -> list[Any]:
        return []

    async def execute(self, query: str, *args: Any) -> None:
        if "insert into entries" in query:
            self.positions += args[0]
        elif "set edge" in query:
            [self.edge] = args


def entries(count: int) -> list[Entry]:
    now = datetime.now(UTC)
    return [
        Entry(uuid4(), "a.b.c.d", None, uuid4(), 1, now, None, None, None, {ALL: "seen"})
        for _ in range(count)
    ]


@pytest.mark.parametrize("ahead", [-AHEAD, AHEAD])
async def test_each_entry_comes_after_all_that_were_written_and_lies_before_the_edge(ahead: int) -> None:
    begun = now_position()
    feed: Any = Feed((begun + ahead) // MILLISECOND * MILLISECOND)
    writer = Writer(feed, timedelta(days=1))
    for count in (1, 999, 1000, 1001, 0, 2500):
        before, written = feed.edge, len(feed.positions)
        edge = await writer.write(Changes(entries(count)))
        given = feed.positions[written:]
        assert len(given) == len(set(given)) == count
        assert all(before < position < edge and begun <= position for position in given)
        assert edge == feed.edge > before
        assert edge % MILLISECOND == 0
