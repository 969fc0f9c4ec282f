"""How many searches wait: a burst does, but where the processes are never free nobody does."""

import pickle
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest

from cv_contracts.faults import Unavailable
from cv_search.indexes import Place
from cv_search.port import Query
from cv_search.readers import Readers
from cv_search.searcher import Answered
from cv_search.writing import Serving
from servicekit.workers import Workers

FOUND = Answered(0, b"", b"", 1)
SERVING = Serving(Place(Path("index"), uuid4()), 1, "digest")


class Busy:
    """Answers everything; says whether a process was free before."""

    idle = True

    async def work(self, asked: bytes) -> bytes:
        return pickle.dumps(FOUND)


async def answered(readers: Readers, busy: Busy, *, idle: bool) -> bool:
    busy.idle = idle
    try:
        return await readers.search(SERVING, Query(), 10) == FOUND
    except Unavailable:
        return False


@pytest.fixture
def busy() -> Busy:
    return Busy()


@pytest.fixture
def readers(busy: Busy) -> Readers:
    return Readers(cast(Workers, cast(Any, busy)))


async def test_a_burst_waits(readers: Readers, busy: Busy) -> None:
    for _ in range(20):
        assert all([await answered(readers, busy, idle=False) for _ in range(20)])
        assert all([await answered(readers, busy, idle=True) for _ in range(100)])


async def test_where_no_process_is_ever_free_nobody_waits_until_they_are_again(
    readers: Readers, busy: Busy
) -> None:
    first = [await answered(readers, busy, idle=False) for _ in range(46)]
    assert first == [True] * 25 + [False] * 21
    assert await answered(readers, busy, idle=True)
    assert not await answered(readers, busy, idle=False)
    for _ in range(40):
        assert await answered(readers, busy, idle=True)
    assert await answered(readers, busy, idle=False)
