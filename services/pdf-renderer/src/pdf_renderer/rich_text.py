"""The profile text: from sanitised HTML to a tree of blocks and runs that a template sets as real structure.

The tree is data. No text in it is ever read as code, neither as HTML nor as typst.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Final

from pdf_renderer.glyphs import Glyphs

__all__ = ["Block", "paragraph", "rich_text"]

Block = dict[str, Any]
"""`{"p": [run…]}`, or `{"list": [[block…]…], "ordered": bool}`; a run is `{"s": text, "b", "i", "u"}` or `{"br": true}`."""

DEEPEST_LIST: Final = 4
"""Lists within lists; deeper ones become items of the deepest."""
MOST_WHOLE: Final = 512
"""Most unbreakable pieces (A/S, C++) in consecutive unstyled runs; typst fails on more, so the invisible `_APART` ends the sequence."""
_WHOLE: Final = re.compile(r"[0-9A-Za-zÆØÅæøå]{1,4}(?:/[0-9A-Za-zÆØÅæøå]{1,4}|\+\+)")
_APART: Final = {"s": "", "i": True}
"""Is not seen, and has a style: it ends a sequence of unstyled runs."""
_STYLES: Final = {"strong": "b", "b": "b", "em": "i", "i": "i", "u": "u"}
_UNSEEN: Final = frozenset({"script", "style", "template", "title", "noscript", "iframe", "textarea"})


@dataclass(slots=True)
class _List:
    """A list that is open; `into` is where blocks go that stand in its newest item."""

    ordered: bool
    items: list[list[Block]] = field(default_factory=list)


class _Reader(HTMLParser):
    """Builds the tree while it reads; tags it does not know leave their text behind."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(convert_charrefs=True)
        self._glyphs = glyphs
        self._styles = {"b": 0, "i": 0, "u": 0}
        self._unseen = 0
        self._runs: list[dict[str, Any]] = []
        self._lists: list[_List] = []
        self._too_deep = 0
        self.blocks: list[Block] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the name is HTMLParser's
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag in _STYLES:
            self._styles[_STYLES[tag]] += 1
        elif tag == "br":
            self._runs.append({"br": True})
        elif tag in ("ul", "ol"):
            self._open_list(ordered=tag == "ol")
        elif tag == "li":
            self._end_paragraph()
            if self._lists:
                self._lists[-1].items.append([])
        elif tag == "p":
            self._end_paragraph()

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in _STYLES:
            style = _STYLES[tag]
            self._styles[style] = max(0, self._styles[style] - 1)
        elif tag in ("ul", "ol"):
            self._close_list()
        elif tag in ("li", "p"):
            self._end_paragraph()

    def handle_data(self, data: str) -> None:
        if self._unseen:
            return
        text = self._glyphs.inline(data)
        if text:
            self._runs.append({"s": text, **{style: True for style, depth in self._styles.items() if depth}})

    def finish(self) -> list[Block]:
        self.close()
        while self._lists:
            self._close_list()
        self._end_paragraph()
        return self.blocks

    def _open_list(self, *, ordered: bool) -> None:
        self._end_paragraph()
        if len(self._lists) == DEEPEST_LIST:
            self._too_deep += 1
        else:
            self._lists.append(_List(ordered))

    def _close_list(self) -> None:
        self._end_paragraph()
        if self._too_deep:
            self._too_deep -= 1
        elif self._lists:
            ended = self._lists.pop()
            items = [item for item in ended.items if item]
            if items:
                self._put({"list": items, "ordered": ended.ordered})

    def _end_paragraph(self) -> None:
        runs = _trimmed(self._runs)
        self._runs = []
        if runs:
            self._put(paragraph(runs))

    def _put(self, block: Block) -> None:
        if not self._lists:
            self.blocks.append(block)
            return
        items = self._lists[-1].items
        if not items:
            items.append([])
        items[-1].append(block)


def paragraph(runs: Iterable[dict[str, Any]]) -> Block:
    """Give the block of these runs, set apart only where typst would refuse them."""
    kept: list[dict[str, Any]] = []
    in_row = 0
    for run in runs:
        text, begin, styled = run.get("s", ""), 0, len(run) > 1
        count = 0 if styled else in_row
        if count == MOST_WHOLE:
            kept.append(_APART)
            count = 0
        for whole in _WHOLE.finditer(text):
            count += 1
            if count == MOST_WHOLE and whole.end() < len(text):
                kept += [{**run, "s": text[begin : whole.end()]}, _APART]
                begin, count = whole.end(), 0
        kept.append({**run, "s": text[begin:]} if begin else run)
        in_row = 0 if styled else count
    return {"p": kept}


def _trimmed(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the runs of a paragraph without white space and line breaks at its ends and beside line breaks."""
    kept: list[dict[str, Any]] = []
    for run in runs:
        at_line_start = not kept or "br" in kept[-1]
        if "br" in run:
            _strip_end(kept)
            if kept:
                kept.append(run)
        elif text := run["s"].lstrip(" ") if at_line_start or kept[-1]["s"].endswith(" ") else run["s"]:
            kept.append({**run, "s": text})
    while kept and "br" in kept[-1]:
        kept.pop()
    _strip_end(kept)
    return kept


def _strip_end(runs: list[dict[str, Any]]) -> None:
    while runs and "s" in runs[-1]:
        runs[-1]["s"] = runs[-1]["s"].rstrip(" ")
        if runs[-1]["s"]:
            return
        runs.pop()


def rich_text(html: str, glyphs: Glyphs) -> list[Block]:
    """Read HTML of any quality; what is left when nothing is visible in it is an empty list."""
    reader = _Reader(glyphs)
    reader.feed(html)
    return reader.finish()
