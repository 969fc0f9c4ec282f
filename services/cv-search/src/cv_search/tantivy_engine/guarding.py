"""What tantivy raises, told as the port's errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import thread_time
from typing import Any, cast

from tantivy import DocAddress, Searcher

from cv_search.port import EngineError, TooCostly


@contextmanager
def guarded() -> Iterator[None]:
    """Turn whatever tantivy raises into EngineError. A panic is no Exception in Python, but it ends no process either."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(type(error).__name__) from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise EngineError("panic") from error
        raise


def total_of(result: Any) -> int:
    """Give how many a search found; tantivy's type stubs leave it out."""
    return int(result.count)


def integers(searcher: Searcher, name: str, addresses: list[DocAddress]) -> list[int]:
    """Give a number of each of these CVs; all have one, which tantivy's type stubs do not know."""
    return cast("list[int]", searcher.fast_field_values(name, addresses))


class Budget:
    """Seconds of one core that a search may still cost; tantivy works in the thread that calls it."""

    def __init__(self, seconds: float) -> None:
        self._end = thread_time() + seconds

    def check(self) -> None:
        """Raise TooCostly once it is spent."""
        if thread_time() > self._end:
            raise TooCostly
