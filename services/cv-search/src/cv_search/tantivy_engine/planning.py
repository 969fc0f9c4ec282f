"""From a query to one of tantivy's, made of terms only; the text as far as its words are in the index."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tantivy import FieldType, Occur, Schema, Searcher
from tantivy import Query as TQuery

from cv_search.geo import inside
from cv_search.port import Clause, Query
from cv_search.relaxing import Relaxed, relax
from cv_search.tantivy_engine import fields as f
from cv_search.tantivy_engine.guarding import Budget
from cv_search.tantivy_engine.mapping import microseconds, organisation_name, place_of
from cv_search.tantivy_engine.names import Names
from cv_search.weights import BROADER, PARTS, SECONDARY, SYNONYM, WORDS

MUST, SHOULD = Occur.Must, Occur.Should
_BOOSTS = {
    **dict(zip(f.WORD_FIELDS, WORDS, strict=True)),
    **dict(zip(f.PART_FIELDS, PARTS, strict=True)),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask of tantivy. `scored`: whether relevance tells the CVs found apart."""

    query: TQuery
    scored: bool
    distances: dict[int, float] = field(default_factory=dict)
    """Of the places in the circles, from the middle of the first; empty where there is no circle."""


class Planner:
    """Plans queries on one moment."""

    def __init__(self, searcher: Searcher, schema: Schema, names: Names) -> None:
        self._searcher = searcher
        self._schema = schema
        self._names = names
        self._known_places: list[tuple[float, float]] = []

    def plan(self, query: Query, budget: Budget) -> Plan:
        distances = self._distances(query)
        parts = [(MUST, _unscored(one)) for one in self._filters(query, distances)]
        text = self._text(query, budget)
        if text is not None:
            parts.append((MUST, text))
        return Plan(TQuery.boolean_query(parts), text is not None, distances)

    def _filters(self, query: Query, distances: dict[int, float]) -> Iterable[TQuery]:
        yield self._cvs()
        if query.circles:
            yield self._any_of(f.PLACE, list(distances))
        for dimension, values in query.filters:
            name = f.VALUE_FIELDS[dimension]
            yield self._any_of(name, self._names.known(f.VOCABULARY[name], sorted(values)))
        if query.organisation is not None:
            yield self._any_of(
                f.ORGANISATION, self._names.known("organisation", [organisation_name(*query.organisation)])
            )
        if query.enrolled_only:
            yield self._any_of(f.ENROLLED, (1,))
        if query.changed_after is not None or query.changed_before is not None:
            yield self._changed(query)

    def _cvs(self) -> TQuery:
        return TQuery.term_query(self._schema, f.TAG, f.tag(f.KIND, f.Kind.CV))

    def _any_of(self, name: str, numbers: Sequence[int]) -> TQuery:
        if not numbers:
            return TQuery.empty_query()
        tags = f.tags(name, numbers)
        if len(tags) == 1:
            return TQuery.term_query(self._schema, f.TAG, tags[0])
        return TQuery.term_set_query(self._schema, f.TAG, tags)

    def _changed(self, query: Query) -> TQuery:
        after, before = query.changed_after, query.changed_before
        return TQuery.range_query(
            self._schema,
            f.CHANGED,
            FieldType.Integer,
            None if after is None else microseconds(after) + 1,
            None if before is None else microseconds(before) - 1,
        )

    def _distances(self, query: Query) -> dict[int, float]:
        """Give the places that lie in every circle, with the distance from the middle of the first."""
        if not query.circles:
            return {}
        found = dict(inside(query.circles[0], self._places()))
        for circle in query.circles[1:]:
            there = dict(inside(circle, self._places()))
            found = {number: away for number, away in found.items() if number in there}
        return found

    def _places(self) -> list[tuple[float, float]]:
        names = self._names.names("place")
        self._known_places += [place_of(name) for name in names[len(self._known_places) :]]
        return self._known_places

    def _text(self, query: Query, budget: Budget) -> TQuery | None:
        main = relax(query.text, lambda relaxed: self._finds(relaxed, budget))
        either = [(SHOULD, self._all(main))] if query.text else []
        either += [
            (SHOULD, TQuery.boost_query(self._clause(clause, 0), SECONDARY)) for clause in query.secondary
        ]
        return TQuery.boolean_query(either) if either else None

    def _finds(self, relaxed: Relaxed, budget: Budget) -> bool:
        budget.check()
        query = TQuery.boolean_query([(MUST, self._cvs()), (MUST, self._all(relaxed))])
        return bool(self._searcher.search(_unscored(query), limit=1, count=False).hits)

    def _all(self, relaxed: Relaxed) -> TQuery:
        clauses = [(SHOULD, self._clause(clause, typos)) for clause, typos in relaxed.clauses]
        return TQuery.boolean_query(clauses, minimum_number_should_match=relaxed.least)

    def _clause(self, clause: Clause, typos: int) -> TQuery:
        words = self._words(clause, typos)
        either = [(SHOULD, words)]
        for titles, weight in ((clause.synonym_of, SYNONYM), (clause.broader_than, BROADER)):
            if numbers := self._names.known("occupation", sorted(titles)):
                either.append((SHOULD, TQuery.const_score_query(self._any_of(f.ROLE, numbers), weight)))
        return TQuery.boolean_query(either) if len(either) > 1 else words

    def _words(self, clause: Clause, typos: int) -> TQuery:
        if clause.phrase:
            return self._in_fields(f.WORD_FIELDS, lambda name: self._phrase(name, clause.words))
        fields = f.TITLE_FIELDS if clause.titled else (*f.WORD_FIELDS, *f.PART_FIELDS)
        if clause.prefix:
            whole = [name for name in f.WORD_FIELDS if name in fields]
            return self._in_fields(whole, lambda name: self._beginning(name, clause.words[0]))
        words = [self._word(word, typos, fields) for word in clause.words]
        return TQuery.boolean_query([(MUST, word) for word in words]) if len(words) > 1 else words[0]

    def _beginning(self, name: str, word: str) -> TQuery:
        either = [
            # No typo is forgiven; a regular expression for the same takes twenty times as long.
            (SHOULD, TQuery.fuzzy_term_query(self._schema, field, begun, distance=0, prefix=True))
            for field, begun in ((name, word), (f.UNSTEMMED, f.marked(name, word)))
        ]
        return TQuery.const_score_query(TQuery.boolean_query(either), 1.0)

    def _phrase(self, name: str, words: Sequence[str]) -> TQuery:
        if len(words) == 1:
            return TQuery.term_query(self._schema, name, words[0], "freq")
        return TQuery.phrase_query(self._schema, name, list(words))

    def _word(self, word: str, typos: int, fields: Sequence[str]) -> TQuery:
        if typos:
            return self._in_fields(
                f.WORD_FIELDS, lambda name: TQuery.fuzzy_term_query(self._schema, name, word, typos)
            )
        return self._in_fields(fields, lambda name: TQuery.term_query(self._schema, name, word, "freq"))

    def _in_fields(self, names: Sequence[str], make: Callable[[str], TQuery]) -> TQuery:
        return TQuery.boolean_query(
            [(SHOULD, TQuery.boost_query(make(name), _BOOSTS[name])) for name in names]
        )


def _unscored(query: TQuery) -> TQuery:
    return TQuery.const_score_query(query, 0.0)
