"""Foreign text on a terminal: what others wrote is shown as it is written, and does nothing to the terminal or to rich."""

import unicodedata

from rich.text import Text

__all__ = ["cell", "visible"]

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Characters that are not seen but change what is: controls, directions, invisible ones, ends of lines (Unicode general categories)."""


def visible(text: str) -> str:
    """Write what cannot be seen as its escape: U+202E, which turns the text after it, becomes six characters."""
    return "".join(_escaped(one) if unicodedata.category(one) in _UNSEEN else one for one in text)


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08x}"


def cell(value: object) -> Text:
    """Give a table's cell: never markup, and nothing where there is no value."""
    return Text("" if value is None else visible(str(value)))
