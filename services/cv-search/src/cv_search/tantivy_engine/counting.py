"""The twelve groups, exact."""

from collections.abc import Callable, Mapping
from heapq import nlargest
from typing import Any, Final, TypeVar

from tantivy import Query, Searcher

from cv_search.port import GROUPS, Count, Dimension, EngineError
from cv_search.tantivy_engine.fields import (
    COUNTED,
    PROFILE,
    ROLE,
    TARGET_GROUPS,
    TARGETS,
    VALUE_FIELDS,
    VOCABULARY,
)
from cv_search.tantivy_engine.names import Names
from cv_search.tantivy_engine.profiles import Profiles

Groups = Mapping[Dimension, tuple[Count, ...]]
Counts = dict[int, int]
Key = TypeVar("Key")
BUCKETS_MOST: Final = 65_000
"""Where tantivy refuses."""
BEYOND: Final = 32
"""Values asked for past the limit, so that equals at the cut are seldom cut apart."""
FEW: Final = 1_000
"""So many values are asked for at once: a second pass costs more."""
_BITS: Final = len(TARGET_GROUPS)


def groups(searcher: Searcher, query: Query, names: Names, profiles: Profiles, limit: int) -> Groups:
    """Count the values of each group over all that the query finds: the first by count, then name."""
    if limit == 0:
        return dict.fromkeys(GROUPS, ())
    sizes = {VALUE_FIELDS[one]: len(names.names(VOCABULARY[VALUE_FIELDS[one]])) + 1 for one in COUNTED}
    all_of = {TARGETS: len(names.names(VOCABULARY[ROLE])) << _BITS, PROFILE: len(names.names(PROFILE))}
    wanted = {name: size if size <= FEW else min(limit + BEYOND, size) for name, size in sizes.items()}
    found = _counted(searcher, query, {**wanted, **all_of}, {**sizes, **all_of})
    unsure = {
        name: sizes[name]
        for name, most in wanted.items()
        if most < sizes[name] and _cuts_equals(found[name], most, limit)
    }
    if unsure:
        found |= _counted(searcher, query, unsure, unsure)
    occupations = len(names.names(VOCABULARY[ROLE]))
    counts = {one: found[VALUE_FIELDS[one]] for one in COUNTED} | _targets(found[TARGETS], occupations)
    known = {one: names.names(VOCABULARY[VALUE_FIELDS[one]]) for one in counts}
    first = {one: _first(counts[one], known[one].__getitem__, limit) for one in counts}
    first |= {one: _first(of_one, str, limit) for one, of_one in profiles.counted(found[PROFILE]).items()}
    return {one: first[one] for one in GROUPS}


def _counted(
    searcher: Searcher, query: Query, wanted: Mapping[str, int], every: Mapping[str, int]
) -> dict[str, Counts]:
    # However few values are wanted, all of each segment are to be counted: fewer give wrong counts.
    terms: dict[str, Any] = {
        name: {
            "terms": {
                "field": name,
                "size": min(size + 1, BUCKETS_MOST),
                "segment_size": max(every[name], size) + 1,
            }
        }
        for name, size in wanted.items()
    }
    answer = searcher.aggregate(query, terms)
    for name in (TARGETS, PROFILE):
        if answer.get(name, {}).get("sum_other_doc_count"):
            raise EngineError("more values than can be counted")
    return {
        name: {bucket["key"]: bucket["doc_count"] for bucket in answer[name]["buckets"]} for name in wanted
    }


def _cuts_equals(counts: Counts, most: int, limit: int) -> bool:
    """Tell whether values that were left out may be as frequent as the last one wanted."""
    ordered = list(counts.values())
    return len(ordered) > most and ordered[limit - 1] == ordered[-1]


def _targets(counts: Counts, occupations: int) -> dict[Dimension, Counts]:
    """Count by occupation what was counted by occupation and flags."""
    found = {one: [0] * occupations for one in TARGET_GROUPS}
    flagged = [
        [found[one] for bit, one in enumerate(TARGET_GROUPS) if flags >> bit & 1]
        for flags in range(1 << _BITS)
    ]
    for packed, count in counts.items():
        number = packed >> _BITS
        for of_one in flagged[packed & (1 << _BITS) - 1]:
            of_one[number] += count
    return {one: {number: count for number, count in enumerate(found[one]) if count} for one in found}


def _first(counts: Mapping[Key, int], name: Callable[[Key], str], limit: int) -> tuple[Count, ...]:
    """Give the most frequent by count, then name; only those that may be among them are looked up by name."""
    least = min(nlargest(limit, counts.values()), default=0)
    ordered = sorted((-count, name(key)) for key, count in counts.items() if count >= least)
    return tuple(Count(name, -count) for count, name in ordered[:limit])
