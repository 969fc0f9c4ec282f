"""What a template is given: sections that have something to say, newest first, in Danish."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pdf_renderer.cv_testing import SAMPLE, cv_of, letter_json, profile
from pdf_renderer.document import read
from pdf_renderer.glyphs import MISSING, glyphs
from pdf_renderer.letter import letter_sheet, spelled
from pdf_renderer.rich_text import rich_text
from pdf_renderer.sheet import cv_sheet
from pdf_renderer.templates import NEWEST
from pdf_renderer.wording import day, experience, moment, period

WORDS = NEWEST.words


def sheet(content: dict[str, Any], kind: str = "cv") -> dict[str, Any]:
    return cv_sheet(cv_of(kind, content).shown(), WORDS, glyphs())


def titles(content: dict[str, Any], kind: str = "cv") -> list[str]:
    return [section["title"] for section in sheet(content, kind)["sections"]]


def test_empty_sections_vanish() -> None:
    assert titles(profile()) == []
    assert (
        titles(profile(ProfessionalSummaryText={"HTMLText": "<p> </p><ul><li></li></ul>", "PlainText": ""}))
        == []
    )
    assert titles(profile(QualificationCollection=[{"Name": " "}])) == []


def test_job_targets_stand_in_frozen_versions_only() -> None:
    assert "Jeg søger job som" not in titles(SAMPLE)
    assert titles(SAMPLE, "frozen")[0] == "Jeg søger job som"


def test_what_goes_on_is_newest_and_what_has_no_date_is_last() -> None:
    def job(title: str, start: dict[str, str], end: dict[str, str] | None = None) -> dict[str, Any]:
        return {"JobTitle": title, "StartDate": start} | ({"EndDate": end} if end else {})

    jobs = [
        job("a", {"Year": "1990"}, {"Year": "2020", "Month": "--01"}),
        job("b", {"Year": "2001"}),
        job("c", {"Year": "2019"}, {"Year": "2020", "Month": "--02"}),
        job("d", {"Year": "2005"}),
    ]
    section = sheet(profile(PreviousJobExperienceCollection=jobs))["sections"][0]
    assert [entry["title"] for entry in section["entries"]] == ["d", "b", "c", "a"]
    educations: list[dict[str, Any]] = [{"Title": title, "EducationLevel": "Unknown"} for title in ("x", "y")]
    educations.append({"Title": "z", "EducationLevel": "Master", "EndDate": {"Year": "1950"}})
    section = sheet(profile(EducationCollection=educations))["sections"][0]
    assert [entry["title"] for entry in section["entries"]] == ["z", "x", "y"]
    assert section["entries"][0]["meta"] == "Kandidat/lang videregående uddannelse"
    assert section["entries"][1]["meta"] == ""


@pytest.mark.parametrize("blank", ["", " \u00a0", "\u200b\u200d"])
def test_an_entry_without_a_title_is_headed_by_what_there_is(blank: str) -> None:
    date, text = {"StartDate": {"Year": "2001"}}, {"SummaryText": "tekst"}
    jobs = [
        {"JobTitle": blank, "CompanyName": "Firma", **date, **text},
        {"JobTitle": blank, "CompanyName": blank, "Place": blank, **date, **text},
        {"JobTitle": blank, "CompanyName": blank, **date, "SummaryText": blank},
    ]
    educations = [{"Title": blank, "EducationLevel": "Unknown", **text}]
    cv = profile(PreviousJobExperienceCollection=jobs, EducationCollection=educations)
    [experience, education] = sheet(cv)["sections"]
    assert [(entry["title"], entry["dates"]) for entry in experience["entries"]] == [
        ("Firma", "2001 \N{EN DASH} nu"),
        ("2001 \N{EN DASH} nu", ""),
    ]
    assert [entry["title"] for entry in education["entries"]] == ["Titel ikke oplyst"]


def test_a_landline_alone_has_no_empty_line_before_it() -> None:
    content = profile()
    content["PersonalData"]["ContactInformation"] = {"PhoneNumber": ["", "+4533123456"]}
    phones = [line["text"] for line in sheet(content)["contact"] if line["what"] == "phone"]
    assert phones == ["+4533123456"]


def test_a_citizen_without_a_name_has_a_document_with_a_title() -> None:
    assert sheet(profile())["name"] == "Navn ikke oplyst"
    assert sheet(SAMPLE)["title"] == "CV Karen Margrethe Østergaard Sørensen Æbelø"


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ({"Year": "2017", "Month": "--05"}, None, "maj\xa02017 \N{EN DASH} nu"),
        ({"Year": "2017"}, {"Year": "2019", "Month": "--12"}, "2017 \N{EN DASH} december\xa02019"),
        ({"Year": "2017"}, {"Year": "2017"}, "2017"),
        (None, {"Year": "0987"}, "987"),
        (None, None, ""),
    ],
)
def test_periods_are_said_in_danish(start: Any, end: Any, said: str) -> None:
    assert period(start, end, WORDS) == said


def test_times_are_danish_summer_and_winter() -> None:
    assert moment(datetime(2026, 7, 1, 22, 5, tzinfo=UTC), WORDS) == "2. juli 2026 kl. 00.05"
    assert day(datetime(2026, 12, 31, 23, 30, tzinfo=UTC), WORDS) == "1. januar 2027"


@pytest.mark.parametrize(
    ("months", "said"),
    [
        (0, ""),
        (1, "1 måneds erfaring"),
        (7, "7 måneders erfaring"),
        (24, "2 års erfaring"),
        (13, "1 års og 1 måneds erfaring"),
    ],
)
def test_experience_is_said_in_danish(months: int, said: str) -> None:
    assert experience(months, WORDS) == said


def test_rich_text_keeps_paragraphs_lists_and_styles() -> None:
    tree = rich_text("<p>Et <b>to <i>tre</i></b><br>fire</p><ul><li>a<ol><li>b</li></ol></li></ul>", glyphs())
    assert tree == [
        {
            "p": [
                {"s": "Et "},
                {"s": "to ", "b": True},
                {"s": "tre", "b": True, "i": True},
                {"br": True},
                {"s": "fire"},
            ]
        },
        {
            "list": [[{"p": [{"s": "a"}]}, {"list": [[{"p": [{"s": "b"}]}]], "ordered": True}]],
            "ordered": False,
        },
    ]


def test_text_beside_blocks_and_white_space_do_not_get_lost_or_doubled() -> None:
    assert rich_text("før\n\n<p> i </p>efter<script>x</script>", glyphs()) == [
        {"p": [{"s": "før"}]},
        {"p": [{"s": "i"}]},
        {"p": [{"s": "efter"}]},
    ]


def test_only_what_typst_would_not_bear_in_a_row_is_set_apart() -> None:
    borne, apart = "C++ " * 511 + "A/S", {"s": "", "i": True}

    def runs(html: str) -> Any:
        [block] = rich_text(f"<p>{html}</p>", glyphs())
        return block["p"]

    assert runs(borne) == [{"s": borne}]
    assert runs(f"{borne} slut") == [{"s": borne}, apart, {"s": " slut"}]
    assert runs(f"{borne}<br>slut") == [{"s": borne}, apart, {"br": True}, {"s": "slut"}]
    assert runs(f"{borne}<span> C++</span>") == [{"s": borne}, apart, {"s": " C++"}]
    assert runs(f"{borne}<b> C++</b> A/S") == [{"s": borne}, {"s": " C++", "b": True}, {"s": " A/S"}]
    assert [len(run["s"]) for run in runs("C++ " * 1_100)] == [2047, 0, 2048, 0, 304]


def test_lists_beyond_the_depth_that_fits_go_on_at_the_deepest() -> None:
    assert "dybt" in str(rich_text("<ul><li>" * 300 + "dybt", glyphs()))


def test_glyphs_fold_white_space_and_mark_what_is_missing() -> None:
    clean = glyphs().clean
    assert clean(" a\t\nb\u2003c\u200b\u00ad ") == "a b c"
    assert clean("漢\u0301x") == f"{MISSING}x"
    assert clean("Ωμέγα Жук €100") == "Ωμέγα Жук €100"


def test_the_letter_spells_the_password_and_addresses_the_window() -> None:
    made = letter_sheet(read(letter_json("aB-7 ")).shown(), WORDS, glyphs())
    assert [row for half in made["aloud"]["halves"] for row in half] == [
        ["a", "lille A som Anna"],
        ["B", "stort B som Bernhard"],
        ["-", "bindestreg"],
        ["7", "syv"],
        [" ", "mellemrum"],
    ]
    assert made["address"] == ["Åse Østergård", "Prøvevej 12, 3. tv.", "8000 Aarhus C"]
    assert spelled("Ø", WORDS) == "stort Ø som Øresund"


def test_the_letter_abroad_names_the_country_and_whom_it_is_care_of() -> None:
    address = {
        "CountryCode": "SE",
        "AddressLine": "Gatan 1",
        "PostalCode": "211 20",
        "PostalArea": "Malmö",
        "COAddress": "Svensson",
    }
    made = letter_sheet(read(letter_json(postalAddress=address)).shown(), WORDS, glyphs())
    assert made["address"] == ["Åse Østergård", "c/o Svensson", "Gatan 1", "211 20 Malmö", "SE"]
