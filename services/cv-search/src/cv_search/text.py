"""From what a case worker types to clauses: words, phrases in quotes, beginnings of words with an asterisk.

Nothing typed is ever given to an engine's own query language. Limits keep a search affordable; BadText tells which was
passed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from cv_search.danish import BEGINNING_SHORTEST, WORD, folded, lowered, stem, words
from cv_search.port import Clause
from cv_search.reference import LONGEST_NAME, Reference

WORDS_MAX: Final = 32
PHRASES_MAX: Final = 8
BEGINNINGS_MAX: Final = 4
Word = tuple[str, str]
"""A word's stem, and the word as it is typed."""
_QUOTES: Final = '"“”„»«'
_PIECE: Final = re.compile(rf"[{_QUOTES}](?P<phrase>[^{_QUOTES}]*)[{_QUOTES}]|(?P<word>{WORD})(?P<star>\*)?")

_NUMBERED: Final = re.compile(r"([^\W\d_]{3,})\d+")


class BadText(ValueError):  # noqa: N818 - what was typed, not what went wrong
    """The text passes a limit; the message says which, and nothing of the text."""


def clauses(text: str, reference: Reference) -> tuple[Clause, ...]:
    """Give the clauses of a text; none where it is empty or holds stop words only. Raises BadText."""
    found: list[Clause] = []
    row: list[Word] = []
    for piece in _PIECE.finditer(lowered(text)):
        word = piece["word"]
        if word is not None and not piece["star"]:
            stemmed = stem(folded(word))
            row += [(stemmed, word)] if stemmed else []
            continue
        found += _named(row, reference)
        row = []
        found += (
            _phrase(piece["phrase"]) if piece["phrase"] is not None else [_beginning(folded(piece["word"]))]
        )
    found += _named(row, reference)
    _check(found)
    kept: dict[tuple[object, ...], Clause] = {}
    for one in found:
        # Words of one stem are one clause, however each of them is typed.
        kept.setdefault((one.words, one.phrase, one.prefix), one)
    return tuple(kept.values())


def _phrase(text: str) -> Iterator[Clause]:
    inside = tuple(words(text))
    if inside:
        yield Clause(inside, phrase=True)


def _beginning(word: str) -> Clause:
    if len(word) < BEGINNING_SHORTEST:
        raise BadText(f"has fewer than {BEGINNING_SHORTEST} letters before an asterisk")
    return Clause((word,), prefix=True)


def _named(row: list[Word], reference: Reference) -> Iterator[Clause]:
    """Take the longest names that the reference data know, from the left; every other word is a clause of its own."""
    at = 0
    while at < len(row):
        for length in range(min(LONGEST_NAME, len(row) - at), 0, -1):
            name = row[at : at + length]
            if length == 1 or reference.meaning(_stems(name)) is not None:
                yield _clause(name, reference)
                at += length
                break


def _clause(name: Sequence[Word], reference: Reference) -> Clause:
    words = _stems(name)
    if len(name) > 1:
        clause = Clause(words, apart=tuple(_clause([word], reference) for word in name))
    else:
        [(stemmed, word)] = name
        typed = folded(word)
        clause = Clause(
            words,
            typed=None if typed == stemmed else typed,
            head=reference.compounds.head(word),
            apart=tuple(_without_number(word, reference)),
        )
    meaning = reference.meaning(words)
    if meaning is None:
        return clause
    return replace(
        clause, known=True, typed=None, synonym_of=meaning.synonym_of, broader_than=meaning.broader_than
    )


def _without_number(word: str, reference: Reference) -> Iterator[Clause]:
    """Give what a word with a number behind it is a version of: html of html5."""
    letters = _NUMBERED.fullmatch(word)
    if letters and (stemmed := stem(folded(letters[1]))):
        yield _clause([(stemmed, letters[1])], reference)


def _stems(name: Sequence[Word]) -> tuple[str, ...]:
    return tuple(stemmed for stemmed, _ in name)


def _check(found: list[Clause]) -> None:
    if sum(len(clause.words) for clause in found) > WORDS_MAX:
        raise BadText(f"holds more than {WORDS_MAX} words")
    if sum(clause.phrase for clause in found) > PHRASES_MAX:
        raise BadText(f"holds more than {PHRASES_MAX} phrases in quotes")
    if sum(clause.prefix for clause in found) > BEGINNINGS_MAX:
        raise BadText(f"holds more than {BEGINNINGS_MAX} asterisks")
