"""The HTML of a professional profile: sanitised, never refused (decision 16), and its plain text."""

import html
import re
from typing import Final

import nh3

TAGS: Final = {"p", "br", "ul", "ol", "li", "strong", "b", "em", "i", "u", "span"}
BLOCKS: Final = (
    "address|article|aside|blockquote|caption|center|dd|details|dialog|dir|div|dl|dt|fieldset|figcaption|figure|footer|form|"
    "h1|h2|h3|h4|h5|h6|header|hgroup|hr|legend|main|menu|nav|pre|search|section|summary|"
    "table|tbody|td|tfoot|th|thead|tr"
)
"""Tags that are not kept, and part the words before and after them: by a line break, where nothing else does."""

# "*" is every tag: where it is not named, ammonia lets `title` and `lang` through.
_CLEANER: Final = nh3.Cleaner(tags=TAGS, attributes={"*": set()}, link_rel=None)
_BLOCK_CLEANER: Final = nh3.Cleaner(
    tags=TAGS | set(BLOCKS.split("|")), attributes={"*": set()}, link_rel=None
)
_NOT_KEPT = re.compile(rf"<(?!(?:{'|'.join(TAGS)})[\s/>])[a-z]", re.ASCII | re.IGNORECASE)
_BLOCK = re.compile(rf"</?(?:{BLOCKS})>")
_LINE_END = re.compile(r"<br>|</?(?:p|li|ul|ol)>")
_TAG = re.compile(r"(<[^>]*>)")
_NOT_CARRIED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""What is no text on the wire, and yet can be written as a reference (&#1;)."""


def sanitise(text: str) -> str:
    """Text with the allowed tags only, none of them with an attribute; scripts and styles go with their content."""
    # Paragraphs that only a tag between them kept apart are put in order by the second reading, not by the first.
    if _NOT_KEPT.search(text):
        text = _without_blocks(_BLOCK_CLEANER.clean(text))
    return _NOT_CARRIED.sub("", _CLEANER.clean(text))


def _without_blocks(cleaned: str) -> str:
    """Put `<br>` where a block parts one line of text from another, and leave all blocks out."""
    pieces: list[str] = []
    in_line, parted_at = False, None
    for piece in _TAG.split(cleaned):
        if _BLOCK.fullmatch(piece):
            if in_line:
                in_line, parted_at = False, len(pieces)
                pieces.append("")
            continue
        if piece == "<br>" or (not piece.startswith("<") and piece.strip()):
            if parted_at is not None:
                pieces[parted_at] = "<br>"
            in_line, parted_at = piece != "<br>", None
        elif _LINE_END.fullmatch(piece):
            in_line, parted_at = False, None
        pieces.append(piece)
    return "".join(pieces)


def plain_text(sanitised: str) -> str:
    """Plain text of what `sanitise` gave: paragraphs and list items stand on lines of their own."""
    text = html.unescape(_TAG.sub("", _LINE_END.sub("\n", sanitised)))
    return "\n".join(filter(None, map(str.strip, text.split("\n"))))
