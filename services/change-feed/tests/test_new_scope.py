"""The first entry of an organisation that had none may be written while it reads: it is in the answer or comes after it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from fastapi import Request

from change_feed import api
from change_feed.arrivals import Arrivals
from change_feed.change_list import ChangeList
from change_feed.cursors import Cursors
from change_feed.feed import Feed
from change_feed.snapshot import Snapshot
from change_feed.store import Edge, Item
from change_feed.writing import moment, position_of
from cv_citizens.testing import MUNICIPALITY, a_caller

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BEFORE, FIRST, EDGE = (position_of(NOW) + after for after in (0, 1, 1_000))
SCOPE, NUMBER = 7, "12345678"


class Store:
    """A database to which the scope's first entry is written just before the edge is read."""

    def __init__(self) -> None:
        self.written = False

    async def edge(self) -> Edge:
        self.written = True
        return Edge(UUID(int=1), EDGE, 0, seeded=True)

    async def scope_id(self, _: str) -> int:
        return SCOPE if self.written else 0

    async def snapshot(self, scope: int, *_: Any) -> tuple[Sequence[Item], None]:
        return [Item(UUID(int=2), NUMBER, 1, "created")] if scope == SCOPE else [], None

    async def pages(self, scope: int, after: int, until: int, _: int) -> list[int]:
        return [FIRST] if scope == SCOPE and after < FIRST <= until else []

    async def listed(self, scope: int, *_: Any) -> list[dict[str, Any]]:
        return [{"cv_number": NUMBER, "time": NOW, "deleted": False}] if scope == SCOPE else []


class Log:
    async def record(self, _: Any) -> None:
        """Write nothing."""


@pytest.fixture
def parts() -> Any:
    store: Any = Store()
    cursors = Cursors(b"a secret of the tests")
    feed = Feed(store, Arrivals(store), cursors)
    changes = ChangeList(store, 1_000, lambda: NOW)
    return SimpleNamespace(
        store=store,
        feed=feed,
        snapshot=Snapshot(store, feed, cursors),
        change_list=changes,
        access_log=Log(),
    )


def asked(query: bytes = b"") -> Request:
    return Request({"type": "http", "headers": [], "query_string": query})


async def test_a_snapshot_has_what_is_not_after_its_position(parts: Any) -> None:
    answer = await api.snapshot(asked(), a_caller(MUNICIPALITY), parts)
    assert NUMBER in bytes(answer.body).decode()


async def test_a_change_list_has_what_is_not_after_its_end(parts: Any) -> None:
    start = moment(BEFORE).isoformat().replace("+00:00", "Z")
    query = f"CVChangeStartTime={start}".encode()
    answer = await api.get_cv_update_list(asked(query), a_caller(MUNICIPALITY), parts)
    assert NUMBER in bytes(answer.body).decode()
