"""One document from its input to its bytes, by typst in this process. The same input gives the same bytes on any machine."""

from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final

import orjson
import typst

from pdf_renderer.glyphs import FONTS, Glyphs, glyphs
from pdf_renderer.letter import letter_sheet
from pdf_renderer.sheet import cv_sheet
from pdf_renderer.templates import FOLDER, digest_of
from pdf_renderer.wording import Words

__all__ = ["ENGINE", "Typesetter", "Unprintable"]

LAYOUT: Final = 1
"""Raised with every change of this package's code that changes the bytes of a document."""
ENGINE: Final = f"typst {version('typst')}, layout {LAYOUT}, fonts {digest_of(FONTS)}"
"""What the bytes depend on beside input and template."""

_FILE: Final = {"cv": "cv.typ", "frozen": "cv.typ", "letter": "letter.typ"}
_SHEETS: Final[dict[str, Callable[[Mapping[str, Any], Words, Glyphs], dict[str, Any]]]] = {
    "cv": cv_sheet,
    "frozen": cv_sheet,
    "letter": letter_sheet,
}


class Unprintable(Exception):  # noqa: N818 - says what the document is
    """Typst refused a document. Its reason may quote the document, so it is not kept."""


class Typesetter:
    """Holds the fonts and one compiler per template file. Not to be shared between threads."""

    def __init__(self) -> None:
        self._fonts = typst.Fonts(
            include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(FONTS)]
        )
        self._compilers: dict[str, typst.Compiler] = {}
        self._words: dict[str, Words] = {}
        self._glyphs = glyphs()

    def render(self, template: str, shown: Mapping[str, Any]) -> bytes:
        """Set one document by a template of this version. Its time is the only one that the file knows."""
        sheet = _SHEETS[shown["kind"]](shown, self._words_of(template), self._glyphs)
        try:
            pdf = self._compiler(f"{template}/{_FILE[shown['kind']]}").compile(
                format="pdf",
                sys_inputs={"sheet": orjson.dumps(sheet).decode()},
                pdf_standards=["a-2a", "ua-1"],
                timestamp=datetime.fromisoformat(shown["time"]).replace(microsecond=0),
            )
        except (typst.TypstError, UnicodeEncodeError):
            raise Unprintable from None
        if not isinstance(pdf, bytes):
            raise Unprintable
        return pdf

    def _compiler(self, file: str) -> typst.Compiler:
        if file not in self._compilers:
            path = FOLDER / file
            self._compilers[file] = typst.Compiler(
                str(path), root=str(path.parent), font_paths=self._fonts, ignore_system_fonts=True
            )
        return self._compilers[file]

    def _words_of(self, template: str) -> Words:
        if template not in self._words:
            self._words[template] = orjson.loads((FOLDER / template / "words.json").read_bytes())
        return self._words[template]
