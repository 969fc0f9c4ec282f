"""Whatever a citizen writes is text: it is never run, never fails a document, and nothing else appears or goes."""

import contextlib
import random
import re
import unicodedata
from typing import Any

import orjson
import pypdfium2
import pytest

from pdf_renderer.cv_testing import SAMPLE, cv_of, profile
from pdf_renderer.glyphs import MISSING
from pdf_renderer.typesetting import Typesetter

CORPUS = (
    '#read("/etc/passwd")',
    '#eval("1+1")',
    '#import "@preview/cetz:0.3.0"',
    '#include "common.typ"',
    "#set page(fill: red)",
    "#show: it => []",
    "#sys.inputs.sheet",
    "$ x^2 $ `raw` ```typ #panic()``` <label> @ref *b* _i_ = H == H2 - l + e / t: d \\ \\u{41} ~ --- ...",
    "//linecomment /* block */",
    '"]; #panic("x") [',
    "]#panic()[",
    "{{ 7*7 }} ${7*7} <%= 7*7 %> %s %n {0}",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#x23;read",
    "<p style='x'><a href='javascript:alert(1)'>tryk</a></p><iframe src=//x></iframe>",
    "</p></p></ul></li></strong>lukket for meget",
    "<ul><ul><ol><li><ul><li><ul><li><ul><li>dybt</ul></ul>",
    "<p><b><i><u>aldrig lukket",
    "]]>--><!-- <![CDATA[x]]> <?php echo 1 ?> <!DOCTYPE x>",
    "'; drop table documents; --",
    "eksempel.dk/javascript:alert",
    "\u202eomvendt\u202c \u2066x\u2069 \u200d\u200b\ufeff\u00ad",
    "😀👩‍👩‍👧🇩🇰 مرحبا שלום 漢字 ไทย हिन्दी \U0010ffff \ue000 \u0378",
    "e\u0301 a\u030a o\u0308 Z\u0351\u0363\u0343\u034a",
    "a\tb\r\nc\x85d\u2028e\u2029f g\u3000h",
    "x" * 5_000,
    "Æ" * 90,
    " ",
    "\u00a0",
    "=",
    "-",
    "1.",
)  # fmt: skip


FIELDS = frozenset({"JobTitle", "Title", "CompanyName", "InstitutionName", "Place", "SummaryText"})
_TARGET = re.compile(rb"/URI ?\(([^)]*)")


def everywhere(text: str) -> dict[str, Any]:
    """Put the text into every field of a CV that a citizen or a register fills."""
    date = {"Year": "2001", "Month": "--01"}
    content = profile(
        PreviousJobExperienceCollection=[
            {
                "JobTitle": text[:100],
                "CompanyName": text[:100],
                "Place": text[:100],
                "SummaryText": text,
                "StartDate": date,
            }
        ],
        EducationCollection=[
            {
                "Title": text[:100],
                "EducationLevel": "Master",
                "InstitutionName": text[:100],
                "SummaryText": text,
            }
        ],
        OtherExperienceCollection=[
            {"Title": text[:100], "Place": text[:100], "SummaryText": text, "StartDate": date}
        ],
        QualificationCollection=[{"Name": text[:255]}],
        DriverLicenseCollection=[{"Code": text[:5], "Name": text[:255]}],
        LanguageSkillCollection=[{"Code": text[:4], "Name": text[:50], "Level": "Expert"}],
        OtherCVReferenceCollection=[text[:255], f"https://{text[:200]}"],
        ProfessionalSummaryText={"HTMLText": text, "PlainText": text},
    )
    content["PersonalData"] = {
        "GivenName": text[:70] or "x",
        "FamilyName": text[:50] or "x",
        "PostalAddress": {
            "CountryCode": "DK",
            "AddressLine": text[:100],
            "PostalCode": text[:15],
            "PostalArea": text[:50],
            "COAddress": text[:75],
        },
        "ContactInformation": {"E-mail": text[:255], "PhoneNumber": [text[:16]]},
    }
    content["JobTargetCollection"] = [
        {
            "JobTitle": text[:255],
            "OccupationTaxonomyReference": 1,
            "HasEducation": False,
            "MonthsOfExperience": 1,
        }
    ]
    return content


@pytest.mark.parametrize("kind", ["cv", "frozen"])
@pytest.mark.parametrize("blank", ["", "\u200b\u00ad", " \u00a0"])
def test_text_in_any_field_of_an_entry_alone_is_set(typesetter: Typesetter, kind: str, blank: str) -> None:
    for held in FIELDS:
        content = everywhere("overalt")
        for entries in content["CV"].values():
            for entry in (one for one in entries if "SummaryText" in one):
                left = {name: "kun her" if name == held else blank for name in entry.keys() & FIELDS}
                entry.update(left)
        assert "kun her" in text_of(typesetter.render("v1", cv_of(kind, content).shown())), held


@pytest.mark.parametrize(
    "text",
    ["C++ " * 600, "A/S " * 2_000, "før C++C++" * 800, "1/2" * 2_600],
    ids=["C++", "A/S", "C++C++", "1/2"],
)
def test_any_number_of_what_stays_on_one_line_is_set(typesetter: Typesetter, text: str) -> None:
    job = {"JobTitle": "x", "SummaryText": text[:8_000], "StartDate": {"Year": "2001"}}
    row = f"<p>{text[:1_600]}<br><span>{text[:1_600]}</span> efter</p>"
    html = f"{row}<p><b>{text}</b></p><ul><li>{text * 4}"[:40_000]
    summary = {"HTMLText": html, "PlainText": "x"}
    content = profile(PreviousJobExperienceCollection=[job], ProfessionalSummaryText=summary)
    found = folded(text_of(typesetter.render("v1", cv_of("cv", content).shown())))
    assert folded(text)[:300] in found


def text_of(pdf: bytes) -> str:
    with contextlib.closing(pypdfium2.PdfDocument(pdf)) as document:
        return " ".join(page.get_textpage().get_text_bounded() for page in document)


def folded(text: str) -> str:
    return "".join(text.replace("\u200b", "").replace("\ufffe", "-").split())


@pytest.mark.parametrize("text", CORPUS, ids=range(len(CORPUS)))
@pytest.mark.slow
def test_hostile_text_comes_out_as_text_from_every_field(typesetter: Typesetter, text: str) -> None:
    shown = cv_of("frozen", everywhere(text)).shown()
    found = folded(text_of(typesetter.render("v1", shown)))
    if text.isascii() and len(text) <= 100:
        assert found.count(folded(text)) >= 8
    assert "root:" not in found


def test_nothing_active_gets_into_the_file(typesetter: Typesetter) -> None:
    targets: list[bytes] = []
    for text in CORPUS:
        pdf = typesetter.render("v1", cv_of("frozen", everywhere(text)).shown())
        for active in (
            b"/JavaScript",
            b"/JS",
            b"/Launch",
            b"/EmbeddedFile",
            b"/OpenAction",
            b"/SubmitForm",
        ):
            assert active not in pdf
        targets += _TARGET.findall(pdf)
    assert b"https://eksempel.dk/javascript:alert" in targets
    assert [
        target for target in targets if not target.startswith((b"https://", b"http://", b"mailto:"))
    ] == []


def test_1000_random_texts_of_all_of_unicode_never_fail(typesetter: Typesetter) -> None:
    chance = random.Random(42)  # noqa: S311 - test data
    for _ in range(50):
        texts = [
            "".join(
                chr(c) for c in (chance.randrange(0x110000) for _ in range(40)) if not 0xD800 <= c < 0xE000
            )
            for _ in range(20)
        ]
        clean = [
            t.translate(dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF])) for t in texts
        ]
        content = profile(QualificationCollection=[{"Name": one} for one in clean])
        assert typesetter.render("v1", cv_of("cv", content).shown())


def test_a_character_without_a_glyph_is_seen_to_be_missing(typesetter: Typesetter) -> None:
    content = profile(QualificationCollection=[{"Name": "før 😀漢 efter ✓"}])
    text = text_of(typesetter.render("v1", cv_of("cv", content).shown()))
    assert f"før {MISSING}{MISSING} efter {MISSING}" in " ".join(text.split())


def test_only_web_and_mail_links_can_be_followed(typesetter: Typesetter) -> None:
    references = [
        "https://eksempel.dk/æ?q=<a>",
        "https://eksempel.dk/æ b",
        "http://blåbærgrød.dk/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "data:text/html,x",
        "https://",
        "//x.dk",
        "https://[::1",
        "mailto:a@b.dk",
    ]
    content = profile(OtherCVReferenceCollection=references)
    content["PersonalData"]["ContactInformation"]["E-mail"] = "a@b.dk?bcc=c@d.dk"
    pdf = typesetter.render("v1", cv_of("cv", content).shown())
    assert pdf.count(b"/URI (") + pdf.count(b"/URI(") == 1
    assert b"http://xn--blbrgrd-fxak7p.dk/" in pdf


def test_decomposed_letters_are_composed(typesetter: Typesetter) -> None:
    content = orjson.loads(orjson.dumps(SAMPLE))
    content["PersonalData"]["FamilyName"] = unicodedata.normalize("NFD", "Ångstrøm")
    assert "Ångstrøm" in text_of(typesetter.render("v1", cv_of("cv", content).shown()))
