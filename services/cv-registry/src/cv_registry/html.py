"""The HTML of a professional profile: sanitised, never refused (decision 16), and its plain text."""

import html
import re
from typing import Final

import nh3

TAGS: Final = {"p", "br", "ul", "ol", "li", "strong", "b", "em", "i", "u", "span"}

# "*" is every tag: where it is not named, ammonia lets `title` and `lang` through.
_CLEANER: Final = nh3.Cleaner(tags=TAGS, attributes={"*": set()}, link_rel=None)
_LINE_END = re.compile(r"<br>|</?(?:p|li|ul|ol)>")
_TAG = re.compile(r"<[^>]*>")
_NOT_CARRIED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""What is no text on the wire, and yet can be written as a reference (&#1;)."""


def sanitise(text: str) -> str:
    """Text with the allowed tags only, none of them with an attribute; scripts and styles go with their content."""
    return _NOT_CARRIED.sub("", _CLEANER.clean(text))


def plain_text(sanitised: str) -> str:
    """Plain text of what `sanitise` gave: paragraphs and list items stand on lines of their own."""
    text = html.unescape(_TAG.sub("", _LINE_END.sub("\n", sanitised)))
    return "\n".join(filter(None, map(str.strip, text.split("\n"))))
