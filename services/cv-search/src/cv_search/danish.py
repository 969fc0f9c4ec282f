"""Danish words: the same form for every way to write one, and the words inside a compound.

Index and query go through the same functions, so an engine only compares finished words. Nothing here knows engines but
the stemmer, which is Snowball's for Danish as tantivy ships it.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

LONGEST: Final = 60
"""Characters of a word; what is longer is no word. Danish compounds are longer than most."""
REMEMBERED: Final = 300_000
"""Words, and short texts, whose analysis is kept."""
SHORT: Final = 100
"""Characters of a text that is likely to come again, like a title; nothing longer is kept."""
Value = TypeVar("Value")
WORD: Final = r"(?:[^\W\d_][#+]++(?![^\W\d_])|[^\W_]+)"
"""A word as it is typed, lowered: C# and C++ are words, but Excel+Word and B+E are two."""
_WORD: Final = re.compile(WORD)
_FOLDED: Final = str.maketrans(
    {"ä": "æ", "ö": "ø", **{accented: plain for plain, all_ in
     {"a": "áàâãą", "e": "éèêëę", "i": "íìîï", "o": "óòôõ", "u": "úùûü", "y": "ýÿ", "c": "çćč", "n": "ñń",
      "s": "śšş", "z": "źżž", "l": "ł"}.items() for accented in all_}}
)  # fmt: skip
_UNSEEN: Final = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
"""Soft hyphens, joiners, marks of direction: Unicode's category Cf without the signs of foreign scripts that are seen."""
_ACCENTED: Final = re.compile("[" + "".join(map(chr, _FOLDED)) + "]")


def lowered(text: str) -> str:
    """Give the text in lower case, without foreign accents and without what is not seen."""
    lower = text.lower()
    if not lower.isascii():
        lower = unicodedata.normalize("NFC", _UNSEEN.sub("", lower))
        if _ACCENTED.search(lower):
            lower = lower.translate(_FOLDED)
    return lower


def folded(text: str) -> str:
    """Give å for aa, æ for ae and ø for oe in a text that is lowered."""
    return text.replace("aa", "å").replace("ae", "æ").replace("oe", "ø")


def normal(text: str) -> str:
    """Give the text lowered and folded."""
    return folded(lowered(text))


def typed(text: str) -> list[str]:
    """Give the words of a text as they are typed, lowered, stop words too; C# and C++ are words."""
    return _WORD.findall(lowered(text))


def spelled(text: str) -> list[str]:
    """Give the words of a text as they are spelled: normal."""
    return [folded(word) for word in typed(text)]


def cuts(word: str, first: int, last: int) -> Iterator[tuple[str, str]]:
    """Cut a word as it is typed at each place that leaves halves of so many letters, and fold the halves.

    So no å comes of the two a that meet in dataanalytiker.
    """
    for i in range(first, len(word) - last + 1):
        begin, end = folded(word[:i]), folded(word[i:])
        if len(begin) >= first and len(end) >= last:
            yield begin, end


def _remember(known: dict[str, Value], key: str, value: Value) -> None:
    if len(key) > SHORT:
        return
    if len(known) >= REMEMBERED:
        known.clear()
    known[key] = value


class Stems:
    """Stems by word; a stop word has none. One for the whole process: words repeat endlessly."""

    def __init__(self) -> None:
        builder = TextAnalyzerBuilder(Tokenizer.raw())
        for one in (Filter.remove_long(LONGEST), Filter.stopword("danish"), Filter.stemmer("danish")):
            builder = builder.filter(one)
        self._analyzer = builder.build()
        self._known: dict[str, str] = {}

    def __call__(self, word: str) -> str:
        """Give the stem of a normal word; the empty string for a stop word."""
        stem = self._known.get(word)
        if stem is None:
            stem = "".join(self._analyzer.analyze(word))
            _remember(self._known, word, stem)
        return stem


stem: Final = Stems()


def words(text: str) -> list[str]:
    """Give the stems of a text in their order."""
    return [stemmed for word in spelled(text) if (stemmed := stem(word))]


class Analysed(NamedTuple):
    """What a text is found by: words with blanks between."""

    stems: str
    parts: str
    """The stems of the known words inside its compounds."""
    unstemmed: str
    """Its words in every spelling that is not their stem: beginnings of words are looked for here too."""


def _joined(pieces: Sequence[Analysed]) -> Analysed:
    """Put pieces together."""
    return Analysed(
        " ".join([stems for stems, _, _ in pieces if stems]),
        " ".join([parts for _, parts, _ in pieces if parts]),
        " ".join([unstemmed for _, _, unstemmed in pieces if unstemmed]),
    )


BEGINNING_SHORTEST: Final = 3
"""Letters of the shortest beginning of a word that is looked for."""
HEAD_SHORTEST: Final = 4
HEAD_ALONE_SHORTEST: Final = 6
"""A head this long is believed in even after something that is no known word."""
MODIFIER_SHORTEST: Final = 3
_WHOLE: Final = frozenset({"kørekort"})
"""Stems of compounds that are not cut: every other CV holds them, and kort and køre are something else."""
_NO_HEADS: Final = frozenset({"ind", "arbejd"})
"""Stems that tell nothing of what a compound is a kind of: danserinde, lagerarbejder."""


def _spellings(word: str) -> Iterator[str]:
    """Give a word as it is typed in its spellings: folded, and with any aa, ae or oe left that a beginning may end in."""
    whole = folded(word)
    yield whole
    if whole != word:
        yield from (begin + end for begin, end in cuts(word, BEGINNING_SHORTEST, 1))


def _doubles(word: str, stemmed: str) -> bool:
    """Tell whether the stemmer halved a doubled consonant."""
    return word != stemmed and word.startswith(stemmed + stemmed[-1:])


class Compounds:
    """Finds the known words inside a compound: sygeplejerske in intensivsygeplejerske, rengøring in rengøringsassistent."""

    def __init__(self, known: Iterable[str]) -> None:
        """Know the words of these texts."""
        stems = [(word, stemmed) for text in known for word in spelled(text) if (stemmed := stem(word))]
        self._stems = {stemmed for word, stemmed in stems if len(word) >= HEAD_SHORTEST}
        self._doubling = {stemmed for word, stemmed in stems if word == stemmed or _doubles(word, stemmed)}
        self._known: dict[str, Analysed] = {}
        self._pieces: dict[str, Analysed] = {}
        self._short: dict[str, Analysed] = {}

    def parts(self, word: str) -> tuple[str, ...]:
        """Give the stems of the known words inside a word as it is typed, not the word itself."""
        whole = stem(folded(word))
        return tuple(sorted(self._inside(word) - {whole})) if whole and whole not in _WHOLE else ()

    def head(self, word: str) -> str | None:
        """Stem of the longest known word that ends the compound as it is typed, or None."""
        if stem(folded(word)) in _WHOLE:
            return None
        for modifier, end in cuts(word, MODIFIER_SHORTEST, HEAD_SHORTEST):
            head = self._end(end)
            if head in _NO_HEADS:
                return None
            if head and (len(head) >= HEAD_ALONE_SHORTEST or self._modifier(modifier) is not None):
                return head
        return None

    def analysed(self, text: str) -> Analysed:
        """Give what a text is found by."""
        if len(text) > SHORT:
            return self._analysed(text)
        found = self._short.get(text)
        if found is None:
            found = self._analysed(text)
            _remember(self._short, text, found)
        return found

    def _analysed(self, text: str) -> Analysed:
        """No word reaches over a blank, so what stands between two is looked up as it is written: most of it came before."""
        known = self._pieces
        return _joined([known.get(piece) or self._learned_piece(piece) for piece in text.split()])

    def _learned_piece(self, piece: str) -> Analysed:
        words = [self._known.get(word) or self._learned(word) for word in typed(piece)]
        found = words[0] if len(words) == 1 else _joined(words)
        _remember(self._pieces, piece, found)
        return found

    def _learned(self, word: str) -> Analysed:
        stemmed = stem(folded(word))
        # What is no word may be of any length, and its spellings are many times as long.
        spellings = dict.fromkeys(_spellings(word)) if stemmed else ()
        unstemmed = [spelling for spelling in spellings if spelling != stemmed]
        found = Analysed(stemmed, " ".join(self.parts(word)), " ".join(unstemmed))
        _remember(self._known, word, found)
        return found

    def _inside(self, word: str) -> set[str]:
        """Give modifiers and heads; heads after something unknown only where nothing is known on both sides.

        The gulv of gulvlægger is found though its læg is not.
        """
        known, alone = set[str](), set[str]()
        for begin, end in cuts(word, MODIFIER_SHORTEST, HEAD_SHORTEST):
            if stem(end) not in self._stems or not stem(begin):
                continue
            head = {one} if (one := self._end(end)) else set()
            if modifier := self._modifier(begin):
                known |= {modifier} | head
            elif len(end) >= HEAD_ALONE_SHORTEST:
                alone |= head
        return known or alone

    def _end(self, end: str) -> str | None:
        """Give the stem of a last part that is known.

        The stemmer halves a doubled consonant, which is right for butikker, an ending of butik, but lægger is not læge.
        """
        stemmed = stem(end)
        doubled = _doubles(end, stemmed) and stemmed not in self._doubling
        return stemmed if stemmed in self._stems and not doubled else None

    def _modifier(self, modifier: str) -> str | None:
        """Give the stem of the first part, without the s or e that joins."""
        for form in (modifier, modifier[:-1] if modifier[-1] in "se" else ""):
            if len(form) >= MODIFIER_SHORTEST and stem(form) in self._stems:
                return stem(form)
        return None
