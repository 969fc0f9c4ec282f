"""Searches in processes of their own: off the event loop, several at once, each within its budget or not at all."""

import asyncio
import pickle
from dataclasses import dataclass
from typing import Any, Final

from cv_contracts.faults import Unavailable
from cv_search.port import Query
from cv_search.searcher import BEHIND, COSTLY, Answered, Asked, Rest
from cv_search.settings import ReaderSettings, Settings
from cv_search.writing import Serving
from servicekit.workers import Crowded, Refused, TooSlow, Workers, WorkersPlan, WorkFailed

__all__ = ["IndexGone", "Readers", "Result", "longest_search", "plan_of"]

PROTOCOL: Final = pickle.HIGHEST_PROTOCOL
TRIES: Final = 2
"""A process may have been killed for no fault of the search's."""
WALL_FACTOR: Final = 4
"""By the clock a search may take so many times its budget: the machine may be busy with others."""


def longest_search(settings: ReaderSettings) -> float:
    """Give how many seconds one search may take by the clock."""
    return WALL_FACTOR * settings.budget.total_seconds()


def plan_of(settings: Settings) -> WorkersPlan:
    """Say how the processes are started; a service that only writes has none."""
    readers = settings.readers
    budget = readers.budget.total_seconds()
    cluster = settings.index.opensearch_url or ""
    return WorkersPlan(
        program=("-m", "cv_search.reader", str(budget), str(readers.memory_mb), cluster),
        processes=readers.processes if settings.role.searches else 0,
        timeout=longest_search(readers),
        pieces=readers.searches,
        waiting=readers.waiting * readers.processes,
        environment={"RAYON_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
    )


class IndexGone(Unavailable):
    """There is no whole index where it was; another takes its place soon, or has already."""

    def __init__(self) -> None:
        super().__init__(retry_after=1, detail="The index is being built anew")


@dataclass(frozen=True, slots=True)
class Result:
    """What was found. The first persons are there; the others come a little later, of the same moment."""

    answered: Answered
    others: "asyncio.Task[bytes]"


class Readers:
    """Answers searches; whatever keeps one from its answer is Unavailable (503), and nothing of it is left running."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def search(self, serving: Serving, query: Query, first: int, most: int) -> Result:
        """Search in the index that is served, at its position or later: the `first` persons now, `most` in the end."""
        asked = Asked(serving.place.path, serving.digest, serving.position, query, first)
        tries = 0
        while True:
            begun: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
            others = asyncio.create_task(self._both(asked, most, begun), name="search")
            others.add_done_callback(_looked_at)
            try:
                waited_for: list[asyncio.Future[Any]] = [begun, others]
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
                if begun.done():
                    return Result(begun.result(), others)
                others.result()
            except Refused as refused:
                raise _unavailable(refused) from None
            except TooSlow:
                raise _too_costly() from None
            except Crowded:
                raise Unavailable(retry_after=1, detail="Too many searches are waiting") from None
            except WorkFailed:
                tries += 1
                if tries == TRIES:
                    raise Unavailable(retry_after=1) from None
            except BaseException:
                others.cancel()
                raise

    async def _both(self, asked: Asked, most: int, begun: "asyncio.Future[Answered]") -> bytes:
        """Search, and once that is answered, let the same process name the others: it holds the moment."""
        async with self._workers.lent() as work:
            answered: Answered = pickle.loads(await work(pickle.dumps(asked, PROTOCOL)))  # noqa: S301 - our own
            begun.set_result(answered)
            if asked.persons >= min(answered.total, most):
                return b""
            return await work(pickle.dumps(Rest(asked.query, asked.persons, most), PROTOCOL))


def _looked_at(others: "asyncio.Task[bytes]") -> None:
    """Let whatever happened be told to whoever asks for these persons, and to nobody else."""
    if not others.cancelled():
        others.exception()


def _unavailable(refused: Refused) -> Unavailable:
    if refused.kind == COSTLY:
        return _too_costly()
    return Unavailable(retry_after=1) if refused.kind == BEHIND else IndexGone()


def _too_costly() -> Unavailable:
    return Unavailable(retry_after=5, detail="The search would take too much work: narrow it down")
