"""From a query to OpenSearch's own, made of terms only."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cv_search.opensearch_engine.mapping import (
    PART_FIELDS,
    TITLE_FIELDS,
    UNSTEMMED_FIELDS,
    VALUE_FIELDS,
    WORD_FIELDS,
)
from cv_search.port import Clause, Query
from cv_search.relaxing import Relaxed
from cv_search.tantivy_engine.mapping import microseconds, organisation_name
from cv_search.weights import BROADER, PARTS, SECONDARY, SYNONYM, WORDS

Json = dict[str, Any]
_BOOSTS = {
    **dict(zip(WORD_FIELDS, WORDS, strict=True)),
    **dict(zip(PART_FIELDS, PARTS, strict=True)),
}
CVS: Json = {"term": {"kind": "cv"}}


def query_of(query: Query, places: Mapping[str, float], main: Relaxed) -> Json:
    """Give the whole query; `places` are those in the circles, `main` the text as far as its words are there."""
    filters = [CVS, *_filters(query, places)]
    text = _text(query, main)
    return {"bool": {"filter": filters, "must": [text] if text else []}}


def text_alone(relaxed: Relaxed) -> Json:
    return {"bool": {"filter": [CVS, _all(relaxed)]}}


def order_of(query: Query) -> list[Json]:
    """Give the order: relevance where there is any, distance, newest change, CV number."""
    order: list[Json] = []
    if query.text or query.secondary:
        order.append({"_score": "desc"})
    if query.circles:
        first = query.circles[0]
        middle = {"lat": first.latitude, "lon": first.longitude}
        order.append({"_geo_distance": {"point": middle, "order": "asc", "distance_type": "arc"}})
    return [*order, {"changed": "desc"}, {"number": "asc"}]


def _filters(query: Query, places: Mapping[str, float]) -> Iterable[Json]:
    if query.circles:
        yield {"terms": {"place": list(places)}}
    for dimension, values in query.filters:
        yield {"terms": {VALUE_FIELDS[dimension]: sorted(values)}}
    if query.organisation is not None:
        yield {"term": {"organisation": organisation_name(*query.organisation)}}
    if query.enrolled_only:
        yield {"term": {"enrolled": True}}
    if query.changed_after is not None:
        yield {"range": {"changed": {"gt": microseconds(query.changed_after)}}}
    if query.changed_before is not None:
        yield {"range": {"changed": {"lt": microseconds(query.changed_before)}}}


def _text(query: Query, main: Relaxed) -> Json | None:
    either = [_all(main)] if query.text else []
    either += [_any([_clause(clause, 0)], SECONDARY) for clause in query.secondary]
    return _any(either) if either else None


def _all(relaxed: Relaxed) -> Json:
    clauses = [_clause(clause, typos) for clause, typos in relaxed.clauses]
    return {"bool": {"should": clauses, "minimum_should_match": relaxed.least}}


def _any(either: Sequence[Json], boost: float = 1.0) -> Json:
    return {"bool": {"should": list(either), "minimum_should_match": 1, "boost": boost}}


def _clause(clause: Clause, typos: int) -> Json:
    either = [_words(clause, typos)]
    for titles, weight in ((clause.synonym_of, SYNONYM), (clause.broader_than, BROADER)):
        if titles:
            either.append(
                {"constant_score": {"filter": {"terms": {"role": sorted(titles)}}, "boost": weight}}
            )
    return _any(either)


def _words(clause: Clause, typos: int) -> Json:
    if clause.phrase:
        typed = " ".join(clause.words)
        return _in_fields(
            WORD_FIELDS, lambda name, boost: {"match_phrase": {name: {"query": typed, "boost": boost}}}
        )
    fields = TITLE_FIELDS if clause.titled else (*WORD_FIELDS, *PART_FIELDS)
    if clause.prefix:
        whole = [name for name in WORD_FIELDS if name in fields]
        return _in_fields(whole, lambda name, boost: _beginning(name, clause.words[0], boost))
    return {"bool": {"must": [_word(word, typos, fields) for word in clause.words]}}


def _beginning(name: str, word: str, boost: float) -> Json:
    either = [{"prefix": {field: word}} for field in (name, UNSTEMMED_FIELDS[name])]
    return {"constant_score": {"filter": _any(either), "boost": boost}}


def _word(word: str, typos: int, fields: Sequence[str]) -> Json:
    if typos:
        wanted = {"value": word, "fuzziness": typos, "transpositions": True, "rewrite": "constant_score"}
        return _in_fields(WORD_FIELDS, lambda name, boost: {"fuzzy": {name: {**wanted, "boost": boost}}})
    return _in_fields(fields, lambda name, boost: {"term": {name: {"value": word, "boost": boost}}})


def _in_fields(names: Sequence[str], make: Callable[[str, float], Json]) -> Json:
    return _any([make(name, _BOOSTS[name]) for name in names])
