import re
from time import process_time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cv_contracts.wire.common import HTML_TEXT_MAX, TEXT
from cv_registry.html import TAGS, plain_text, sanitise

PARTS = (
    "<b",
    "<p",
    "<a",
    "<script",
    "<div",
    "<h2",
    "<td",
    "<object",
    "<hr",
    "</div",
    "</b",
    "</p",
    " onclick=",
    " href=",
    " style",
    "/",
    ">",
    "'",
    '"',
    "x",
    "&lt;",
    "<!--",
)
"""Of which tags with attributes are made, and what looks like them."""


@pytest.mark.parametrize(
    ("given_text", "kept", "plain"),
    [
        ("Hej", "Hej", "Hej"),
        ("<p>En</p><p>to</p>", "<p>En</p><p>to</p>", "En\nto"),
        ("<ul><li>a</li><li>b</li></ul>", "<ul><li>a</li><li>b</li></ul>", "a\nb"),
        ('<p class="x" onclick="y()">Hej</p>', "<p>Hej</p>", "Hej"),
        ("a<script>alert(1)</script>b", "ab", "ab"),
        ('<p title="x" lang="da" style="y">Hej</p>', "<p>Hej</p>", "Hej"),
        ('<a href="javascript:x">link</a>', "link", "link"),
        ("<img src=x onerror=y>", "", ""),
        ("<h1>Titel</h1>", "Titel", "Titel"),
        ("1 < 2 & 3 > 2", "1 &lt; 2 &amp; 3 &gt; 2", "1 < 2 & 3 > 2"),
        ("<b>fed</b> <i>skrå</i> <u>streg</u>", "<b>fed</b> <i>skrå</i> <u>streg</u>", "fed skrå streg"),
        ("linje<br>linje", "linje<br>linje", "linje\nlinje"),
        ("<p> a </p> <br> <p>b<br></p>", "<p> a </p> <br> <p>b<br></p>", "a\nb"),
        ("Jeg kan:<ul><li>svejse</li></ul>", "Jeg kan:<ul><li>svejse</li></ul>", "Jeg kan:\nsvejse"),
        (
            "<ul><li>Kok<ul><li>Fransk mad</li></ul></li></ul>",
            "<ul><li>Kok<ul><li>Fransk mad</li></ul></li></ul>",
            "Kok\nFransk mad",
        ),
        ("Erfaren kok<p>Fransk mad</p>", "Erfaren kok<p>Fransk mad</p>", "Erfaren kok\nFransk mad"),
    ],
)
def test_html_is_sanitised_and_its_plain_text_derived(given_text: str, kept: str, plain: str) -> None:
    assert sanitise(given_text) == kept
    assert plain_text(kept) == plain


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ("<div>Erfaren kok</div><div>Fransk mad</div>", "Erfaren kok<br>Fransk mad"),
        ("<div>Erfaren kok</div>\n<div>Fransk mad</div>\n", "Erfaren kok<br>\nFransk mad\n"),
        ('<H2 class="x">Profil</H2>Erfaren kok', "Profil<br>Erfaren kok"),
        ("<table><tr><td>Kok</td><td>Tjener</td></tr></table>", "Kok<br>Tjener"),
        ("Kok<hr>Tjener", "Kok<br>Tjener"),
        ("<div>Kok<div>Tjener", "Kok<br>Tjener"),
        ("<dl><dt>Kok<dd>Tjener</dl>", "Kok<br>Tjener"),
        ("<div><b>Kok</b></div><b>Tjener</b>", "<b>Kok</b><br><b>Tjener</b>"),
        ("<h2>Profil</h2><p>Kok</p><div>Tjener</div>", "Profil<p>Kok</p>Tjener"),
        (
            "<ul><li><div>Kok</div></li><li><div>Tjener</div></li></ul>",
            "<ul><li>Kok</li><li>Tjener</li></ul>",
        ),
        ("<div>Kok<br></div><div>Tjener</div>", "Kok<br>Tjener"),
        ("<div>Kok</div><div><br></div><div>Tjener</div>", "Kok<br><br>Tjener"),
        ("<div><script>x</script></div>&lt;div&gt;", "&lt;div&gt;"),
        ("<div> </div><div></div>", " "),
    ],
)
def test_a_block_that_is_not_kept_still_parts_the_words_before_and_after_it(
    given_text: str, kept: str
) -> None:
    assert sanitise(given_text) == kept


@pytest.mark.parametrize("code", [*range(32), 0x7F, 0xD800, 0xFFFE, 0xFFFF, 0x110000])
def test_a_character_reference_never_becomes_what_xml_cannot_carry(code: int) -> None:
    text = sanitise(f"<p>a&#{code};b</p>")
    assert re.fullmatch(TEXT, text)
    assert re.fullmatch(TEXT, plain_text(text))


@given(
    st.text(alphabet=st.sampled_from("<>/&;\"'=!- \nabpulistrongxhrefonclick"), max_size=80)
    | st.lists(st.sampled_from(PARTS), max_size=12).map("".join)
)
@example("<b onclick=x>Hej</b>")
@example("<p><object><p>Hej")
@settings(deadline=None)
def test_what_was_sanitised_once_stays_as_it_is_and_no_tag_of_it_has_an_attribute(text: str) -> None:
    once = sanitise(text)
    assert sanitise(once) == once
    assert [tag for tag in re.findall("<[^>]*>?", once) if tag.strip("</>") not in TAGS] == []


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\t", "<br>"])
def test_the_longest_blank_text_costs_no_more_than_any_other(blank: str) -> None:
    began = process_time()
    plain_text(sanitise("<div>a" + blank * (HTML_TEXT_MAX // len(blank)) + "b"))
    assert process_time() - began < 0.5
