"""Searches in processes of their own: off the event loop, several at once, each within its budget or not at all."""

import os
import pickle
from collections.abc import Mapping
from typing import Final

from cv_contracts.faults import Unavailable
from cv_search.port import Query
from cv_search.searcher import BEHIND, CLUSTER, CLUSTER_CA, COSTLY, Answered, Asked
from cv_search.settings import IndexSettings, Settings
from cv_search.writing import Serving
from servicekit.worker_pool import TooSlow, WorkCrowded, Workers, WorkersPlan, WorkFailed, WorkRefused

__all__ = ["IndexDoubted", "IndexGone", "Readers", "plan_of"]

PROTOCOL: Final = pickle.HIGHEST_PROTOCOL
WALL_FACTOR: Final = 4
"""By the clock a search may take so many times its budget: the machine may be busy with others."""
SHARE: Final = 0.02
"""Weight of the newest search in the moving average of searches that had to wait: the 26th in a row passes `OVERRUN`."""
OVERRUN: Final = 0.4
"""Where more than this share of the searches would wait it is no burst, and waiting only makes all of them late."""


def plan_of(settings: Settings) -> WorkersPlan:
    """Say how the processes are started; a service that only writes has none."""
    readers = settings.readers
    budget = readers.budget.total_seconds()
    return WorkersPlan(
        program=("-m", "cv_search.reader", str(budget), str(readers.memory_mb)),
        processes=readers.processes if settings.role.searches else 0,
        timeout=WALL_FACTOR * budget,
        pieces=readers.searches,
        waiting=readers.waiting * readers.processes,
        environment={"RAYON_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", **_reaching(settings.index)},
    )


def _reaching(index: IndexSettings) -> Mapping[str, str]:
    """Give what a process needs to reach the cluster. Its URL may hold a password, and arguments are there for all to see."""
    if index.opensearch_url is None:
        return {}
    trusted = {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
    if index.opensearch_ca_file is not None:
        trusted[CLUSTER_CA] = str(index.opensearch_ca_file)
    return {CLUSTER: index.opensearch_url, **trusted}


class IndexDoubted(Unavailable):
    """The search failed as it would in a torn index: it may be one, or another may have taken its place already."""

    def __init__(self, detail: str = "The search failed") -> None:
        super().__init__(retry_after=1, detail=detail)


class IndexGone(IndexDoubted):
    """There is no whole index where it was; another takes its place soon, or has already."""

    def __init__(self) -> None:
        super().__init__("The index is being built anew")


class Readers:
    """Answers searches; whatever keeps one from its answer is Unavailable (503), and nothing of it is left running."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._waited = 0.0

    async def search(self, serving: Serving, query: Query, persons: int) -> Answered:
        """Search in the index that is served, at its position or later, and name the first so many persons."""
        self._admit()
        asked = Asked(serving.place.path, serving.position, query, persons)
        try:
            answer = await self._workers.work(pickle.dumps(asked, PROTOCOL))
        except WorkRefused as refused:
            raise _unavailable(refused) from None
        except TooSlow:
            raise _too_costly() from None
        except WorkCrowded:
            raise _too_many() from None
        except WorkFailed:
            raise IndexDoubted from None
        answered: Answered = pickle.loads(answer)  # noqa: S301 - our own
        return answered

    def _admit(self) -> None:
        waits = not self._workers.idle
        self._waited += SHARE * (waits - self._waited)
        if waits and self._waited > OVERRUN:
            raise _too_many()


def _unavailable(refused: WorkRefused) -> Unavailable:
    if refused.kind == COSTLY:
        return _too_costly()
    return IndexDoubted() if refused.kind == BEHIND else IndexGone()


def _too_many() -> Unavailable:
    return Unavailable(retry_after=1, detail="Too many searches are waiting")


def _too_costly() -> Unavailable:
    return Unavailable(retry_after=5, detail="The search would take too much work: narrow it down")
