"""The readers: each pins moments of the index; what was counted for a moment is remembered with it."""

import sys
from array import array
from pathlib import Path
from threading import Lock

from tantivy import Index, Schema, Searcher
from tantivy import Query as TQuery

from cv_search.port import BUDGET_SECONDS, ID_BYTES, EngineError, Found, Query
from cv_search.recent import Recent
from cv_search.tantivy_engine import fields as f
from cv_search.tantivy_engine.checkpoint import Checkpoint
from cv_search.tantivy_engine.counting import Groups, groups
from cv_search.tantivy_engine.guarding import Budget, guarded, integers, total_of
from cv_search.tantivy_engine.names import Names
from cv_search.tantivy_engine.ordering import Addresses, Ordering
from cv_search.tantivy_engine.planning import Plan, Planner
from cv_search.tantivy_engine.profiles import Profiles

Stamp = tuple[int, int, int]
REMEMBERED = 64
"""Queries of one moment whose groups are kept."""


class Moment:
    """One commit, open: a searcher that the index's going on does not touch."""

    def __init__(
        self, searcher: Searcher, schema: Schema, names: Names, profiles: Profiles, checkpoint: Checkpoint
    ) -> None:
        self.checkpoint = checkpoint
        self.searcher = searcher
        self._schema = schema
        self._names = names
        self._profiles = profiles
        self._planner = Planner(searcher, schema, names)
        self._plans: Recent[Query, Plan] = Recent(REMEMBERED)
        self._groups: Recent[tuple[Query, int], Groups] = Recent(REMEMBERED)

    def search(self, query: Query, first: int, budget: Budget) -> Found:
        with guarded():
            plan = self._plan(query, budget)
            total, addresses = Ordering(self.searcher, self._schema, plan, budget).first(first)
            budget.check()
            return Found(total, self._ids(addresses), self._grouped(query, plan, budget))

    def count(self) -> int:
        with guarded():
            return total_of(
                self.searcher.search(
                    TQuery.term_query(self._schema, f.TAG, f.tag(f.KIND, f.Kind.CV)), limit=1
                )
            )

    def _ids(self, addresses: Addresses) -> bytes:
        halves = array("q", bytes(ID_BYTES * len(addresses)))
        for first, name in enumerate((f.ID_HIGH, f.ID_LOW)):
            halves[first::2] = array("q", integers(self.searcher, name, addresses))
        if sys.byteorder == "little":
            halves.byteswap()
        return halves.tobytes()

    def _plan(self, query: Query, budget: Budget) -> Plan:
        return self._plans.get(query, lambda: self._planner.plan(query, budget))

    def _grouped(self, query: Query, plan: Plan, budget: Budget) -> Groups:
        budget.check()
        limit = query.group_limit
        counted = self._groups.get(
            (query, limit), lambda: groups(self.searcher, plan.query, self._names, self._profiles, limit)
        )
        budget.check()
        return counted


class TantivySnapshot:
    """A moment, held until it is released."""

    def __init__(self, moment: Moment) -> None:
        self._moment: Moment | None = moment
        self._checkpoint = moment.checkpoint

    @property
    def generation(self) -> int:
        return self._checkpoint.generation

    @property
    def position(self) -> int:
        return self._checkpoint.position

    def search(self, query: Query, first: int, budget: float = BUDGET_SECONDS) -> Found:
        return self._held().search(query, first, Budget(budget))

    def count(self) -> int:
        return self._held().count()

    def release(self) -> None:
        self._moment = None

    def _held(self) -> Moment:
        if self._moment is None:
            raise EngineError("released")
        return self._moment


class TantivyReader:
    """Reads one index. Each call of `snapshot` looks for a newer commit; what it pinned before stays as it was."""

    def __init__(self, folder: Path, index: Index) -> None:
        self._file = folder / "meta.json"
        self._seen: Stamp | None = None
        self._index = index
        self._names = Names()
        self._profiles = Profiles()
        self._newest: Moment | None = None
        self._lock = Lock()

    def snapshot(self) -> TantivySnapshot:
        with self._lock:
            try:
                self._newest = self._read()
            except EngineError:
                # The files may be gone; what is open can be searched until the writer has made them anew.
                if self._newest is None:
                    raise
            return TantivySnapshot(self._newest)

    def close(self) -> None:
        with self._lock:
            self._newest = None

    def _read(self) -> Moment:
        stamp = _stamp(self._file)
        if self._newest is not None and stamp is not None and stamp == self._seen:
            return self._newest
        with guarded():
            self._index.reload()
            searcher, schema = self._index.searcher(), self._index.schema
            checkpoint = Checkpoint.read(searcher, schema)
            self._seen = stamp
            if self._newest is not None and self._newest.checkpoint == checkpoint:
                return self._newest
            self._names.read(searcher, schema)
            self._profiles.learn(self._names.names(f.PROFILE))
            return Moment(searcher, schema, self._names, self._profiles, checkpoint)


def _stamp(file: Path) -> Stamp | None:
    """Tell one state of the file from another: tantivy replaces it with each commit and merge. None where it is gone."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def open_reader(folder: Path) -> TantivyReader:
    """Open the index in a folder for reading; raises EngineError where there is none."""
    with guarded():
        index = Index.open(str(folder))
        index.config_reader("manual")
    return TantivyReader(folder, index)
