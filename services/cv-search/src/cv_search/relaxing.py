"""When a text finds nothing: typos are forgiven and compounds shortened, word by word, then not all of it has to be found.

It looks at the text alone. So filters narrow a result down and never change what its text means.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cv_search.port import Clause

TYPO_SHORTEST: Final = 4
TWO_TYPOS_SHORTEST: Final = 8
HEAD_ANYWHERE_SHORTEST: Final = 4
"""Letters of what a compound is a kind of that is looked for beside titles too."""
BEGUN_SHORTEST: Final = 6
"""Letters of a name that what begins with it may stand for: datalog for datalogi."""


@dataclass(frozen=True, slots=True)
class Relaxed:
    """Clauses, each with the typos forgiven in its words, and how many of them must be found."""

    clauses: tuple[tuple[Clause, int], ...]
    least: int


def relax(clauses: tuple[Clause, ...], finds: Callable[[Relaxed], bool]) -> Relaxed:
    """Give the strictest reading of a text that finds anything; `finds` tells whether one finds a CV."""
    exact = Relaxed(tuple((clause, 0) for clause in clauses), len(clauses))
    if not clauses or finds(exact):
        return exact
    forgiven = tuple(one for clause in clauses for one in _forgiven(clause, finds))
    least = len(forgiven)
    for least in sorted({len(forgiven), (len(forgiven) + 1) // 2, 1}, reverse=True):
        if finds(Relaxed(forgiven, least)):
            break
    return Relaxed(forgiven, least)


def _forgiven(clause: Clause, finds: Callable[[Relaxed], bool]) -> tuple[tuple[Clause, int], ...]:
    """Forgive as few typos as find anything.

    Where none do, look for the words of a name, or what begins with it, or what a compound is a kind of.
    """
    typed = [] if clause.typed is None else [Clause((clause.typed,))]
    for typos in range(3):
        for one in (clause, *typed) if typos else (clause,):
            if typos <= _most(one) and finds(Relaxed(((one, typos),), 1)):
                return ((one, typos),)
    if clause.apart:
        return tuple(one for word in clause.apart for one in _forgiven(word, finds))
    begun = Clause(clause.words, prefix=True, titled=True)
    if clause.known and len(clause.words[0]) >= BEGUN_SHORTEST and finds(Relaxed(((begun, 0),), 1)):
        return ((begun, 0),)
    head = clause
    if clause.head is not None:
        head = Clause((clause.head,), titled=len(clause.head) < HEAD_ANYWHERE_SHORTEST)
    return ((head, 0),)


def _most(clause: Clause) -> int:
    """Give how many typos in each word the shortest one bears; another number is no typo."""
    shortest = min(map(len, clause.words))
    exact = clause.phrase or clause.prefix or clause.known or any(map(str.isdigit, "".join(clause.words)))
    if exact or shortest < TYPO_SHORTEST:
        return 0
    return 1 if shortest < TWO_TYPOS_SHORTEST else 2
