"""The same search in plain Python, over a list: slow and obvious, it is what engines are proved against."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from cv_search.danish import cuts, folded, stem, typed
from cv_search.geo import distance_km
from cv_search.port import GROUPS, Circle, Clause, Count, Dimension, Document, Query
from cv_search.reference import Reference
from cv_search.relaxing import Relaxed, relax


@dataclass(frozen=True, slots=True)
class Read:
    """A document and its words."""

    document: Document
    rows: tuple[tuple[str, ...], ...]
    """The words of each text by itself."""
    words: frozenset[str]
    typed: frozenset[str]
    """Its words as they were typed, but stop words."""
    inside: frozenset[str]
    """Words inside its compounds."""
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Result:
    """What a query finds."""

    ids: set[UUID]
    groups: Mapping[Dimension, tuple[Count, ...]]
    unscored: tuple[UUID, ...]
    """In the order of equals: distance, newest change, CV number."""


Test = Callable[[Read], bool]


class PlainSearch:
    """Searches documents one by one."""

    def __init__(self, documents: Iterable[Document], reference: Reference) -> None:
        self._read = [_read(document, reference) for document in documents]
        self._vocabulary = frozenset[str]().union(*(one.words for one in self._read))

    def result(self, query: Query) -> Result:
        """Find all; groups are cut at the query's limit."""
        holds = self._text(query)
        found = [one for one in self._read if _passes(query, one.document) and holds(one)]
        ordered = sorted((one.document for one in found), key=lambda one: _order(query, one))
        ids = tuple(document.cv_id for document in ordered)
        return Result(set(ids), _groups(ordered, query.group_limit), ids)

    def _text(self, query: Query) -> Test:
        if not query.text and not query.secondary:
            return lambda _: True
        main = relax(query.text, lambda relaxed: any(map(self._holds(relaxed), self._read)))
        holds: Test = self._holds(main) if query.text else _never
        others = [self._found(clause, 0) for clause in query.secondary]
        return lambda one: holds(one) or any(other(one) for other in others)

    def _holds(self, relaxed: Relaxed) -> Test:
        tests = [self._found(clause, typos) for clause, typos in relaxed.clauses]
        return lambda one: sum(test(one) for test in tests) >= relaxed.least

    def _found(self, clause: Clause, typos: int) -> Test:
        titles = clause.synonym_of | clause.broader_than
        words = self._words(clause, typos)
        return lambda one: not titles.isdisjoint(one.names) or words(one)

    def _words(self, clause: Clause, typos: int) -> Test:
        if clause.phrase:
            return lambda one: any(_in_row(clause.words, row) for row in one.rows)
        if clause.prefix:
            return lambda one: any(_begins(word, clause.words[0]) for word in one.typed)
        if typos:
            near = [
                {other for other in self._vocabulary if _near(typos, word, other)} for word in clause.words
            ]
            return lambda one: all(not others.isdisjoint(one.words) for others in near)
        return lambda one: all(word in one.words or word in one.inside for word in clause.words)


def _never(_: Read) -> bool:
    return False


def _read(document: Document, reference: Reference) -> Read:
    person = document.person
    texts = (*person.occupation_names, *document.titles, *document.skills, *document.texts)
    analysed = [reference.compounds.analysed(text) for text in texts]
    rows = tuple(tuple(one.stems.split()) for one in analysed)
    return Read(
        document,
        rows,
        frozenset(word for row in rows for word in row),
        frozenset(word for text in texts for word in typed(text) if stem(folded(word))),
        frozenset(part for one in analysed for part in one.parts.split()),
        frozenset((*person.occupation_names, *document.titles)) & reference.titles,
    )


def _passes(query: Query, document: Document) -> bool:
    if not all(values & set(document.values.get(dimension, ())) for dimension, values in query.filters):
        return False
    if query.organisation is not None and query.organisation not in document.organisations:
        return False
    if query.enrolled_only and not document.enrolled:
        return False
    if query.changed_after is not None and document.changed_at <= query.changed_after:
        return False
    if query.changed_before is not None and document.changed_at >= query.changed_before:
        return False
    return all(_within(circle, document) for circle in query.circles)


def _within(circle: Circle, document: Document) -> bool:
    place = document.person
    if place.latitude is None or place.longitude is None:
        return False
    return distance_km(circle, place.latitude, place.longitude) <= circle.radius_km


def _order(query: Query, document: Document) -> tuple[float, float, int]:
    person = document.person
    away = 0.0
    if query.circles and person.latitude is not None and person.longitude is not None:
        away = distance_km(query.circles[0], person.latitude, person.longitude)
    number = 100_000_000 if person.cv_number is None else int(person.cv_number)
    return away, -document.changed_at.timestamp(), number


def _groups(documents: Iterable[Document], limit: int) -> dict[Dimension, tuple[Count, ...]]:
    counters: dict[Dimension, Counter[str]] = {one: Counter() for one in GROUPS}
    for document in documents:
        for one in GROUPS:
            counters[one].update(set(document.values.get(one, ())))
    return {
        one: tuple(
            Count(name, count)
            for name, count in sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:limit]
        )
        for one, counter in counters.items()
    }


def _begins(word: str, so: str) -> bool:
    """Tell whether a word begins so: two letters that may be one are either."""
    return any((begin + end).startswith(so) for begin, end in cuts(word, 1, 0))


def _in_row(words: tuple[str, ...], row: tuple[str, ...]) -> bool:
    size = len(words)
    return any(row[i : i + size] == words for i in range(len(row) - size + 1))


def _near(typos: int, a: str, b: str) -> bool:
    return abs(len(a) - len(b)) <= typos and edits(a, b) <= typos


def edits(a: str, b: str) -> int:
    """Count the letters to add, drop, change or swap with the next to make one word of the other."""
    before, last = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            best = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        before, last = last, row
    return last[-1]
