"""Every document is PDF/A-2a and PDF/UA-1 by the reference validator, and says what its CV says."""

import asyncio
import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pypdfium2
import pytest

from pdf_renderer import rendering
from pdf_renderer.cv_testing import Check, cv_of, letter_json, made, profile, words_of
from pdf_renderer.document import read
from servicekit.worker_pool import Workers

_HYPHEN = re.compile("[\u0002\ufffe]")
"""What pdfium makes of a hyphen at the end of a line."""


_FOOTER = re.compile(r"\n[^\n]* · [^\n]*\s+Side \d+ af \d+\s*$")


def text_of(pdf: bytes) -> str:
    """Give the text as a program reads it, page after page, without the footers."""
    with contextlib.closing(pypdfium2.PdfDocument(pdf)) as document:
        pages = [page.get_textpage().get_text_bounded() for page in document]
    return " ".join(_FOOTER.sub("", page.replace("\r", "")) for page in pages)


def find(words: Sequence[str], text: list[str], places: dict[str, list[int]]) -> bool:
    return not words or any(text[i : i + len(words)] == list(words) for i in places.get(words[0], ()))


def missing(content: dict[str, Any], pdf: bytes) -> list[Sequence[str]]:
    text = [word.rstrip(",") for word in _HYPHEN.sub("-", text_of(pdf)).replace("\u200b", "").split()]
    places: dict[str, list[int]] = {}
    for i, word in enumerate(text):
        places.setdefault(word, []).append(i)
    return [words for words in words_of(content) if not find(words, text, places)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


@pytest.mark.infra
async def test_cvs_of_every_shape_and_the_letter_pass_both_standards_and_hold_every_word(
    workers: Workers, verapdf: Check, folder: Path
) -> None:
    await _pass_both_standards(workers, verapdf, folder, count=80)


@pytest.mark.infra
@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_500_cvs_of_every_shape_pass_both_standards_and_hold_every_word(
    workers: Workers, verapdf: Check, folder: Path
) -> None:
    await _pass_both_standards(workers, verapdf, folder, count=500)


async def _pass_both_standards(workers: Workers, verapdf: Check, folder: Path, count: int) -> None:
    files: list[Path] = []

    async def render(seed: int) -> None:
        content = made(seed)
        document = cv_of("frozen" if seed % 2 else "cv", content)
        pdf = await rendering.render(workers, "v1", orjson.dumps(document.shown()))
        assert missing(content, pdf) == [], seed
        files.append(folder / f"{seed}.pdf")
        files[-1].write_bytes(pdf)

    for begin in range(0, count, 50):
        await asyncio.gather(*(render(seed) for seed in range(begin, min(begin + 50, count))))
    long = {"HTMLText": "<p>" + "C++ og A/S " * 600 + "<ul><li>" + "24/7 " * 600, "PlainText": "x"}
    for name, document in (
        ("letter", read(letter_json())),
        ("long", cv_of("cv", profile(ProfessionalSummaryText=long))),
    ):
        files.append(folder / f"{name}.pdf")
        files[-1].write_bytes(await rendering.render(workers, "v1", orjson.dumps(document.shown())))
    for_access, for_archive = await asyncio.gather(verapdf("ua1", files), verapdf("2a", files))
    assert set(map(str, files)) == for_access.keys() == for_archive.keys()
    assert {path for found in (for_access, for_archive) for path in found if found[path] != "PASS"} == set()
