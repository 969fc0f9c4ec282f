"""P8: one CV as PDF/A-2a and PDF/UA-1 against WeasyPrint's PDF/UA-1 and bare typst; both cores; a worker's memory.

All set the same CVs in the same fonts. Bare typst has the sheet already and sets it without structure and standards; WeasyPrint
gets HTML with the same structure. WeasyPrint is in the dependency group `bench` of this workspace and needs Pango.
"""

import asyncio
import html
import itertools
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
import typst

from bench.measured import Row, Servers, megabytes, shown
from pdf_renderer import rendering
from pdf_renderer.cv_testing import SAMPLE, cv_of
from pdf_renderer.glyphs import FONTS, glyphs
from pdf_renderer.rendering import plan_of
from pdf_renderer.settings import WorkerSettings
from pdf_renderer.sheet import cv_sheet
from pdf_renderer.templates import NEWEST
from pdf_renderer.typesetting import Typesetter
from servicekit.worker_pool import Workers

CVS, ROUNDS = 40, 3
WORKER_SECONDS = 4.0
MANY, FIRST = 5_000, 500
Render = Callable[[dict[str, Any]], object]


async def run(servers: Servers) -> list[Row]:
    ours = Typesetter()
    rates = _rounds(
        {
            "ours": lambda cv: ours.render(NEWEST.name, cv),
            "weasyprint": _weasyprint(),
            "bare typst": _bare_typst(servers.folder),
        }
    )
    rows = [
        Row.against(f"P8 CVs/s on one core against {peer}", rates["ours"], rates[peer], goal)
        for peer, goal in (("weasyprint", 7.0), ("bare typst", None))
    ]
    both = [await _throughput(processes) for _ in range(ROUNDS) for processes in (2, 1)]
    rows.append(Row.against("P8 CVs/s, two workers against one", both[::2], both[1::2], 1.7))
    return [*rows, await _memory(servers)]


def _cv(number: int) -> dict[str, Any]:
    """Give a CV of two pages of which every text is its own."""
    text = orjson.dumps(SAMPLE).decode().replace(" og ", f" o{number}g ").replace("er ", f"er{number} ")
    cv = orjson.loads(text)
    cv["PersonalData"]["FamilyName"] = f"Nummer {number}"
    return cv_of("frozen", cv).shown()


def _rounds(renders: dict[str, Render]) -> dict[str, list[float]]:
    """Measure in turns, each on CVs that nobody has set before."""
    for render in renders.values():
        render(_cv(0))
    rates: dict[str, list[float]] = {name: [] for name in renders}
    numbers = itertools.count(1)
    for _ in range(ROUNDS):
        for name, render in renders.items():
            # Typst remembers what it has laid out, whichever compiler asks: no text may come twice.
            cvs = [_cv(next(numbers)) for _ in range(CVS)]
            begun = time.perf_counter()
            for cv in cvs:
                render(cv)
            rates[name].append(CVS / (time.perf_counter() - begun))
    return rates


def _bare_typst(folder: Path) -> Render:
    source = folder / "bare.typ"
    source.write_text(_BARE)
    fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(FONTS)])
    compiler = typst.Compiler(str(source), font_paths=fonts, ignore_system_fonts=True)

    def render(cv: dict[str, Any]) -> object:
        sheet = orjson.dumps(cv_sheet(cv, NEWEST.words, glyphs())).decode()
        return compiler.compile(
            sys_inputs={"sheet": sheet}, pdf_tags=False, timestamp=datetime(2026, 1, 1, tzinfo=UTC)
        )

    return render


_BARE = """#let sheet = json(bytes(sys.inputs.sheet))
#set text(font: "Fira Sans", size: 9.5pt, lang: "da")
#let runs(all) = all.map(it => if "s" in it { it.s } else { " " }).join()
#let blocks(all) = for it in all { if "p" in it { par(runs(it.p)) } else { for item in it.list { blocks(item) } } }
= #sheet.name
#for it in sheet.sections [
  == #it.title
  #if "blocks" in it { blocks(it.blocks) }
  #for one in it.at("entries", default: ()) [#par[*#one.title* #one.dates #one.meta] #blocks(one.blocks)]
  #it.at("names", default: ()).join(", ")
  #if "table" in it { par(it.table.rows.flatten().join(" ")) }
]
"""


def _weasyprint() -> Render:
    weasyprint = import_module("weasyprint")
    configuration = import_module("weasyprint.text.fonts").FontConfiguration()
    faces = "".join(
        f"@font-face {{font-family: Fira; src: url({(FONTS / f'FiraSans-{name}.ttf').as_uri()}); {more}}}"
        for name, more in (
            ("Regular", ""),
            ("Bold", "font-weight: bold"),
            ("Italic", "font-style: italic"),
            ("BoldItalic", "font-weight: bold; font-style: italic"),
        )
    )
    style = weasyprint.CSS(string=faces + _STYLE, font_config=configuration)

    def render(cv: dict[str, Any]) -> object:
        page = _page(cv_sheet(cv, NEWEST.words, glyphs()))
        return weasyprint.HTML(string=page).write_pdf(
            stylesheets=[style], font_config=configuration, pdf_variant="pdf/ua-1"
        )

    return render


_STYLE = """
@page {size: A4; margin: 20mm; @bottom-left {content: element(footer)} @bottom-right {content: "Side " counter(page) " af " counter(pages); font-size: 7.5pt}}
body {font: 9.5pt Fira; color: #1c2733} h1 {font-size: 23pt; color: #1d4e6f}
h2 {font-size: 11.5pt; color: #1d4e6f; border-bottom: 0.7pt solid} h3 {font-size: 10pt; margin-left: 38mm}
.status {background: #eef3f6; border-left: 2.2pt solid #1d4e6f; padding: 3mm} .footer {position: running(footer)}
article p, article ul {margin-left: 38mm} th {font-size: 8pt; text-align: left}
"""


def _page(sheet: dict[str, Any]) -> str:
    sections = "".join(_section(section) for section in sheet["sections"])
    contact = "".join(f"<p>{_link(line)}</p>" for line in sheet["contact"])
    contact += (
        f"<p class=status><strong>{sheet['status']['name']}</strong><br>{sheet['status']['detail']}</p>"
    )
    contact += f"<div class=footer>{html.escape(sheet['footer'])}</div>"
    head = f"<title>{html.escape(sheet['title'])}</title><meta charset=utf-8>"
    return f"<!doctype html><html lang=da><head>{head}</head><body><h1>{html.escape(sheet['name'])}</h1>{contact}{sections}"


def _section(section: dict[str, Any]) -> str:
    parts = [f"<h2>{html.escape(section['title'])}</h2>", _blocks(section.get("blocks", ()))]
    parts += [
        f"<article><h3>{html.escape(one['title'])}</h3><p>{html.escape(one['dates'])} {html.escape(one['meta'])}</p>"
        f"{_blocks(one['blocks'])}</article>"
        for one in section.get("entries", ())
    ]
    parts.append(f"<p>{html.escape(' · '.join(section.get('names', ())))}</p>")
    if "table" in section:
        rows = [f"<tr>{_cells('th', section['table']['head'])}"]
        rows += [f"<tr>{_cells('td', row)}" for row in section["table"]["rows"]]
        parts.append(f"<table>{''.join(rows)}</table>")
    if "links" in section:
        parts.append(f"<ul>{''.join(f'<li>{_link(one)}</li>' for one in section['links'])}</ul>")
    return "".join(parts)


def _link(one: dict[str, str]) -> str:
    text = html.escape(one["text"])
    return f'<a href="{html.escape(one["url"])}">{text}</a>' if one["url"] else text


def _run(run: dict[str, Any]) -> str:
    text = html.escape(run.get("s", "")) or "<br>"
    for style in ("u", "i", "b"):
        text = f"<{style}>{text}</{style}>" if style in run else text
    return text


def _cells(tag: str, row: Sequence[str]) -> str:
    return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)


def _blocks(blocks: Sequence[dict[str, Any]]) -> str:
    return "".join(_block(block) for block in blocks)


def _block(block: dict[str, Any]) -> str:
    if "p" in block:
        return f"<p>{''.join(map(_run, block['p']))}</p>"
    return f"<ul>{''.join(f'<li>{_blocks(item)}</li>' for item in block['list'])}</ul>"


async def _throughput(processes: int) -> float:
    async with Workers(plan_of(WorkerSettings(processes=processes, waiting=10_000))) as workers:
        await _render_many(workers, range(2 * processes))
        begun, done = time.perf_counter(), 0
        while time.perf_counter() - begun < WORKER_SECONDS:
            await _render_many(workers, range(done, done + 40))
            done += 40
        return done / (time.perf_counter() - begun)


async def _memory(servers: Servers) -> Row:
    """Give a worker's memory after so many different documents, against that after the first of them."""
    async with Workers(plan_of(WorkerSettings(processes=1, documents=2 * MANY, worn_mb=4_096))) as workers:
        early = 0
        for begin in range(0, MANY, 100):
            await _render_many(workers, range(begin, begin + 100))
            if begin + 100 == FIRST:
                early = megabytes(workers.pids[0])
            servers.say(f"P8 memory: {begin + 100} documents")
        late = megabytes(workers.pids[0])
    ratio = late / early
    name = f"P8 MB of a worker after {MANY:,} documents against {FIRST}"
    return Row(name, late, early, shown(ratio), "<= 1.1x", ratio <= 1.1)


async def _render_many(workers: Workers, numbers: range) -> None:
    await asyncio.gather(
        *(rendering.render(workers, NEWEST.name, orjson.dumps(_cv(number))) for number in numbers)
    )
