"""What the reference data know about words: synonyms, the order of occupations, the words that compounds are made of."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cv_contracts.codelists import CodeLists, Occupation
from cv_search.danish import Compounds, words

LONGEST_NAME: Final = 6
"""Words of the longest name that is looked for in a text."""
Name = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name stands for besides itself, as titles of occupations."""

    synonym_of: frozenset[str] = frozenset()
    broader_than: frozenset[str] = frozenset()


class Reference:
    """The reference data of one set of code lists, prepared for searching."""

    def __init__(self, lists: CodeLists) -> None:
        occupations = tuple(lists.occupations.values())
        self.digest = _digest(lists)
        """Changes with whatever of the data an index depends on."""
        self.titles = frozenset(occupation.title for occupation in occupations)
        self.compounds = Compounds(_names(lists))
        self._meanings = _meanings(occupations)

    def meaning(self, name: Name) -> Meaning | None:
        """Give what a name (as stems) stands for; None where the data say nothing."""
        return self._meanings.get(name)


def _digest(lists: CodeLists) -> str:
    rows = [(one.title, one.isco08, *one.synonyms) for one in lists.occupations.values()]
    return hashlib.sha256(repr((rows, tuple(_names(lists)))).encode()).hexdigest()


def _names(lists: CodeLists) -> Iterable[str]:
    for occupation in lists.occupations.values():
        yield occupation.title
        yield from occupation.synonyms
    yield from (qualification.name for qualification in lists.qualifications.values())
    yield from (education.title for education in lists.educations.values())


def _meanings(occupations: Iterable[Occupation]) -> Mapping[Name, Meaning]:
    titles: dict[Name, set[str]] = defaultdict(set)
    synonyms: dict[Name, set[str]] = defaultdict(set)
    units: dict[str, list[str]] = defaultdict(list)
    for occupation in occupations:
        titles[tuple(words(occupation.title))].add(occupation.title)
        units[occupation.isco08].append(occupation.title)
        for synonym in occupation.synonyms:
            synonyms[tuple(words(synonym))].add(occupation.title)
    below = _below(units)
    return {
        name: Meaning(
            frozenset(synonyms[name] - titles[name]),
            frozenset(narrower for title in titles[name] for narrower in below.get(title, ())),
        )
        for name in {*titles, *synonyms}
        if 0 < len(name) <= LONGEST_NAME
    }


def _below(units: Mapping[str, list[str]]) -> Mapping[str, list[str]]:
    """Give the titles below a title: the first of an ISCO unit group is its most usual one and stands for the group."""
    return {first: rest for first, *rest in units.values() if rest}
