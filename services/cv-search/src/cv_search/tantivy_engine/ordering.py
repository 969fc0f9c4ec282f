"""The order of a result, the same on every look at one moment: tantivy leaves equals in the order of its files."""

from collections.abc import Iterable
from operator import neg
from typing import Any, Final

from tantivy import DocAddress, FieldType, Order, Query, Schema, Searcher

from cv_search.tantivy_engine.fields import CHANGED, NUMBER, PLACE, TAG, tags
from cv_search.tantivy_engine.guarding import Budget, integers, total_of
from cv_search.tantivy_engine.planning import Plan

BEYOND: Final = 200
"""Hits fetched past the last one wanted, for its equals."""
LARGE: Final = 500
"""CVs at one place from which on they are not all fetched to be put in order."""
PLACES_MOST: Final = 65_000
Addresses = list[DocAddress]


class Ordering:
    """Finds the first of one plan's result: by relevance, then distance, then newest change, then CV number."""

    def __init__(self, searcher: Searcher, schema: Schema, plan: Plan, budget: Budget) -> None:
        self._searcher = searcher
        self._schema = schema
        self._plan = plan
        self._budget = budget

    def first(self, count: int) -> tuple[int, Addresses]:
        """Give how many there are in all, and the first so many."""
        if self._plan.scored:
            return self._by_relevance(count)
        if self._plan.distances:
            return self._by_distance(count)
        return self._newest(self._plan.query, count)

    def _by_relevance(self, count: int) -> tuple[int, Addresses]:
        total, hits = self._best(count)
        last = min(count, len(hits))
        while last < len(hits) and hits[last][0] == hits[last - 1][0]:
            last += 1
        best_first = [-score for score, _ in hits[:last]]
        return total, self._in_order([one for _, one in hits[:last]], best_first)[:count]

    def _best(self, count: int) -> tuple[int, list[tuple[Any, DocAddress]]]:
        """Fetch so many hits and all those equal to the last."""
        limit = count + BEYOND
        while True:
            result = self._searcher.search(self._plan.query, limit=limit)
            hits = result.hits
            if len(hits) < limit or hits[-1][0] < hits[count - 1][0]:
                return total_of(result), hits
            self._budget.check()
            limit *= 2

    def _by_distance(self, count: int) -> tuple[int, Addresses]:
        """Take the places one after the other, until there are enough; small ones together."""
        counts = self._counts_of_places()
        runs: list[tuple[int, bool, list[int]]] = []
        total = 0
        for place in sorted(counts, key=lambda one: (self._plan.distances[one], one)):
            before, total = total, total + counts[place]
            if before >= count:
                continue
            large = counts[place] > LARGE
            if large or not runs or runs[-1][1]:
                runs.append((before, large, [place]))
            else:
                runs[-1][2].append(place)
        found: Addresses = []
        for before, large, places in runs:
            there = self._plan.query.and_must_match(
                Query.term_set_query(self._schema, TAG, tags(PLACE, places))
            )
            if large:
                found += self._newest(there, count - before)[1]
            else:
                found += self._ordered(there, sum(counts[one] for one in places))[: count - before]
            self._budget.check()
        return total, found

    def _ordered(self, query: Query, count: int) -> Addresses:
        """Fetch all that a query finds and put them in order."""
        return self._in_order([address for _, address in self._searcher.search(query, limit=count).hits])

    def _counts_of_places(self) -> dict[int, int]:
        size = min(len(self._plan.distances) + 1, PLACES_MOST)
        terms = {"terms": {"field": PLACE, "size": size, "segment_size": size}}
        answer = self._searcher.aggregate(self._plan.query, {PLACE: terms})
        return {int(bucket["key"]): int(bucket["doc_count"]) for bucket in answer[PLACE]["buckets"]}

    def _in_order(self, addresses: Addresses, *before: list[float]) -> Addresses:
        """Order by what comes before, then distance, newest change, CV number. Ten thousand are put in order at a time."""
        changed, number = (integers(self._searcher, name, addresses) for name in (CHANGED, NUMBER))
        keys: list[Iterable[float]] = [*before, map(neg, changed), number]
        if self._plan.distances:
            away = map(self._plan.distances.__getitem__, integers(self._searcher, PLACE, addresses))
            keys.insert(len(before), away)
        return [addresses[row[-1]] for row in sorted(zip(*keys, range(len(addresses)), strict=True))]

    def _newest(self, query: Query, count: int) -> tuple[int, Addresses]:
        """Order by change as tantivy does, then put right those that changed in the same microsecond."""
        result = self._searcher.search(query, limit=count, order_by_field=CHANGED)
        hits = result.hits
        if not hits:
            return total_of(result), []
        times, addresses = [when for when, _ in hits], [address for _, address in hits]
        last = times.count(times[-1])
        ordered = self._in_order(addresses[:-last]) + self._changed_at(query, times[-1], last)
        return total_of(result), ordered

    def _changed_at(self, query: Query, when: int, count: int) -> Addresses:
        """Give the first of those that changed at that time; there may be more of them than were found."""
        then = query.and_must_match(Query.range_query(self._schema, CHANGED, FieldType.Integer, when, when))
        hits = self._searcher.search(then, limit=count, order_by_field=NUMBER, order=Order.Asc).hits
        return [address for _, address in hits]
