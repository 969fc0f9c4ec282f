"""Text as the shipped fonts can set it: a character without a glyph would make a whole document fail.

PDF/A-2a and PDF/UA-1 forbid text that a reader cannot map back to characters, so typst refuses missing glyphs.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from fontTools.ttLib import TTFont

__all__ = ["FONTS", "MISSING", "Glyphs", "glyphs"]

FONTS: Final = Path(__file__).with_name("fonts")
MISSING: Final = "▯"
"""Stands visibly where a character was that no font of ours has."""

LONGEST_WORD: Final = 36
"""Characters of one word that fit between the margins in the largest size; longer ones may be broken anywhere."""
_BREAK: Final = "\u200b"
_DROPPED: Final = frozenset({"Cc", "Cs", "Co", "Cn", "Cf", "Mn", "Me", "Mc", "Sk"})
_SPACE = re.compile(r"[ \t\r\n\v\f\u0085\u2028\u2029]+")
_LONG_WORD = re.compile(rf"[^\s\u200b]{{{LONGEST_WORD},}}")
_NOT_LATIN = re.compile(r"[^\x20-\x7e\xa0-\xac\xae-\xff]+")


class Glyphs:
    """What all fonts of one family have glyphs for."""

    def __init__(self, characters: frozenset[str]) -> None:
        self._characters = characters

    def clean(self, text: str) -> str:
        """Give the text on one line: composed, white space folded, and nothing in it without a glyph."""
        return self.inline(text).strip()

    def inline(self, text: str) -> str:
        """As `clean`, but a space at either end stays: the text stands within a line."""
        text = unicodedata.normalize("NFC", _SPACE.sub(" ", text))
        text = _NOT_LATIN.sub(self._covered, text)
        return _LONG_WORD.sub(_breakable, _SPACE.sub(" ", text))

    def lines(self, text: str) -> list[str]:
        """Give the lines of a text that was typed with line breaks; empty ones vanish."""
        return [line for line in map(self.clean, text.splitlines()) if line]

    def _covered(self, match: re.Match[str]) -> str:
        return "".join(self._each(match.group()))

    def _each(self, text: str) -> Iterator[str]:
        last = ""
        for character in text:
            category = unicodedata.category(character)
            if last == MISSING and category[0] == "M":
                continue
            if category == "Zs":
                last = character if character == "\xa0" else " "
            elif category in ("Cc", "Cf", "Cs"):
                continue
            elif character in self._characters:
                last = character
            elif category not in _DROPPED:
                last = MISSING
            else:
                continue
            yield last


def _breakable(match: re.Match[str]) -> str:
    word = match.group()
    return _BREAK.join(word[i : i + LONGEST_WORD // 3] for i in range(0, len(word), LONGEST_WORD // 3))


@cache
def glyphs() -> Glyphs:
    """Read what the shipped fonts have in common, once per process."""
    tables = []
    for file in sorted(FONTS.glob("*.ttf")):
        with TTFont(file, lazy=True) as font:
            tables.append(frozenset(map(chr, font.getBestCmap())))
    return Glyphs(frozenset.intersection(*tables))
