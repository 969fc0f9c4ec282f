"""What a process that searches answers when the moment it has kept open fails it."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest

from cv_search.port import BUDGET_SECONDS, EngineError, Found, Query
from cv_search.searcher import GONE, Answered, Asked, Searcher
from servicekit.worker_process import WORKED

ASKED = pickle.dumps(Asked(Path("index"), 1, Query(), 10))


class Moment:
    """A moment that a test lets go."""

    generation = position = 1
    gone = False

    def search(self, query: Query, first: int, budget: float = BUDGET_SECONDS) -> Found:
        if self.gone:
            raise EngineError("not found")
        return Found(7, b"", {})

    def count(self) -> int:
        return 7

    def release(self) -> None:
        if self.gone:
            raise EngineError("refused")


@dataclass
class Index:
    """A reader of an index, of which a test may say that it is gone."""

    moment: Moment
    gone: bool = False

    def snapshot(self) -> Moment:
        if self.gone:
            raise EngineError("not found")
        self.moment = Moment()
        return self.moment

    def close(self) -> None:
        pass


@pytest.fixture
def index() -> Index:
    return Index(Moment())


def searched(searcher: Searcher) -> int:
    kind, answer = searcher.work(ASKED)
    assert kind == WORKED
    found: Answered = pickle.loads(answer)  # noqa: S301 - made here
    return found.total


def test_a_moment_that_was_let_go_is_opened_again(index: Index) -> None:
    searcher = Searcher(lambda _path: index, BUDGET_SECONDS)
    assert searched(searcher) == 7
    index.moment.gone = True
    assert searched(searcher) == 7


def test_an_index_that_is_gone_is_told_and_searched_when_it_is_back(index: Index) -> None:
    searcher = Searcher(lambda _path: index, BUDGET_SECONDS)
    assert searched(searcher) == 7
    index.gone = index.moment.gone = True
    assert searcher.work(ASKED) == (GONE, b"")
    assert searcher.work(ASKED) == (GONE, b"")
    index.gone = False
    assert searched(searcher) == 7
