"""Danish words: spelling, stems, compounds, and what is typed."""

import re
import tracemalloc
from time import process_time

import pytest

from cv_search.danish import Analysed, normal, spelled, words
from cv_search.port import Clause
from cv_search.reference import Reference
from cv_search.text import BEGINNINGS_MAX, PHRASES_MAX, WORDS_MAX, BadText, clauses


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Århus", "Aarhus"),
        ("København", "Koebenhavn"),
        ("læge", "laege"),
        ("Ærø", "AEROE"),
        ("sygeplejerske", "Sygeplejerskerne"),
        ("udvikler", "udviklere"),
        ("café", "cafe"),
        ("café", "cafe\u0301"),
        ("Malmö", "Malmø"),
        ("sygehus", "syge\u00adhus"),
        ("driftsplan", "\ufeffdrifts\u200bplan\u200d"),
        ("læge", "læ\u2060ge"),
    ],
)
def test_ways_to_write_a_word_are_one(one: str, other: str) -> None:
    assert words(one) == words(other) != []


def test_signs_that_nobody_sees_are_no_letters_and_cut_no_word(reference: Reference) -> None:
    assert reference.compounds.analysed("Syge\u00adhus") == reference.compounds.analysed("Sygehus")
    assert clauses("syge\u00adhus* \u200b", reference) == clauses("sygehus*", reference)
    assert normal("\u00ad\u200c") == ""


def test_symbols_of_programming_languages_and_long_compounds_are_kept() -> None:
    assert words("C# og C++, .NET") == ["c#", "c++", "net"]
    long = "speciallægepraksisplanlægningsstabiliseringsperiode"
    assert words(long) == words(long + "n") != []
    assert words("a" * 61) == []
    assert normal("") == ""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Excel+Word", ["excel", "word"]),
        ("Navision/C5+SAP", ["navision", "c5", "sap"]),
        ("B+E", ["b", "e"]),
        ("50+, 5+ og Wifi#1", ["50", "5", "og", "wifi", "1"]),
        (
            "C#/C++ (c++11), F#-udvikler, J# og 'A+'.",
            ["c#", "c++", "c++", "11", "f#", "udvikler", "j#", "og", "a+"],
        ),
        ("c++e c## e#", ["c", "e", "c##", "e#"]),
    ],
)
def test_signs_belong_to_a_letter_that_stands_alone(
    reference: Reference, text: str, wanted: list[str]
) -> None:
    assert spelled(text) == wanted
    assert {word for clause in clauses(text, reference) for word in clause.words} <= {*words(text)}


@pytest.mark.parametrize(
    ("compound", "inside"),
    [
        ("Intensivsygeplejerske", "sygeplejerske"),
        ("intensivsygeplejersker", "sygeplejerske"),
        ("Softwareudvikler", "udvikler"),
        ("Rengøringsassistent", "rengøring"),
        ("Lastbilchauffør", "chauffør"),
        ("Socialrådgiver", "rådgiver"),
        ("Projektleder", "leder"),
        ("Regnskabsmedarbejder", "regnskab"),
        ("Dataanalytiker", "analytiker"),
        ("Autoelektriker", "elektriker"),
        ("Autoelektrikerlaerling", "laerling"),
        ("boernesygeplejerske", "sygeplejerske"),
    ],
)
def test_a_compound_holds_its_words(reference: Reference, compound: str, inside: str) -> None:
    parts = reference.compounds.analysed(compound).parts
    assert words(inside)[0] in parts.split()


def test_a_long_text_has_the_words_it_has_piece_by_piece(reference: Reference) -> None:
    text = "Intensivsygeplejerske (Ballerup-Aarhus), C#/C++\u00a0og .NET;\tcafe\u0301\u2028«Ældrepleje» i 2019_2020… "
    found = reference.compounds.analysed(text * 3)
    assert found.stems.split() == words(text) * 3
    assert words("sygeplejerske")[0] in found.parts.split()
    assert found.unstemmed.split() == ["intensivsygeplejerske", "cafe", "ældrepleje"] * 3
    assert reference.compounds.analysed(text * 3) == found


def test_letters_that_only_meet_in_a_compound_are_spelled_as_one_and_as_two(reference: Reference) -> None:
    found = reference.compounds.analysed("Dataanalytikere i Aarhus og Laesoe")
    assert found.stems == "datånalytik århus læsø"
    assert found.unstemmed.split() == ["datånalytikere", "dataanalytikere", "læsoe"]


def test_what_is_too_long_to_be_a_word_costs_no_more_than_to_read_it(reference: Reference) -> None:
    """Whoever writes a CV may write 40,000 letters without a blank, and every instance would be ended over it."""
    long = "ae" + "b" * 39_998
    tracemalloc.start()
    try:
        begun = process_time()
        for n in range(10):
            assert reference.compounds.analysed(f"{long}{n}") == Analysed("", "", "")
            assert clauses(f'{long}{n} "{long}{n}"', reference) == ()
        assert process_time() - begun < 10 * 0.1
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1_000_000
    assert kept < 100_000


@pytest.mark.parametrize("plain", ["normal", "optimal", "administration", "medarbejder", "sygeplejerske"])
def test_what_only_ends_like_a_word_is_no_compound(reference: Reference, plain: str) -> None:
    parts = reference.compounds.analysed(plain).parts
    assert set(parts.split()) & {"mal", "ration", "arbejd", "pleje", "ersk"} == set()


@pytest.mark.parametrize("typed", ["planlægger", "planlæggeren", "tilrettelægger", "brolæggere"])
def test_a_doubled_consonant_makes_another_word(reference: Reference, typed: str) -> None:
    assert "læg" in reference.compounds.parts("skolelæge")
    assert "læg" not in reference.compounds.parts(typed)
    assert reference.compounds.head(f"rum{typed}") != "læg"


def test_what_stands_before_a_last_part_that_is_refused_is_found_still(reference: Reference) -> None:
    for modifier, typed in (("gulv", "gulvlægger"), ("tag", "taglægger"), ("vej", "vejlægger")):
        parts = reference.compounds.parts(typed)
        assert modifier in parts
        assert "læg" not in parts


def test_a_driving_licence_is_one_word_which_every_holder_has(reference: Reference) -> None:
    for typed in ("kørekort", "Kørekortet", "koerekort"):
        assert reference.compounds.analysed(typed).parts == ""
    assert reference.compounds.head("kørekort") is None


@pytest.mark.parametrize(
    ("typed", "inside"), [("modebutikker", "butik"), ("turisthoteller", "hotel"), ("skolepedellen", "pedel")]
)
def test_a_consonant_that_is_doubled_by_the_ending_stays_the_word_it_was(
    reference: Reference, typed: str, inside: str
) -> None:
    assert inside in reference.compounds.parts(typed)


def test_words_of_one_stem_are_one_clause_which_keeps_how_the_first_was_typed(reference: Reference) -> None:
    assert clauses("xylofoner xylofonen", reference) == (Clause(("xylofon",), typed="xylofoner"),)


def test_a_name_of_the_reference_data_stays_together_with_what_it_stands_for(reference: Reference) -> None:
    (soldier,) = clauses("soldat", reference)
    assert "Konstabel" in soldier.synonym_of
    helper, town = clauses("social- og sundhedsassistent Odense", reference)
    assert helper.words == ("social", "sundhedsassistent")
    assert town == Clause(("odens",), typed="odense")
    (journalist,) = clauses("journalister", reference)
    assert "Sportsjournalist" in journalist.broader_than


def test_a_compound_is_a_kind_of_the_known_word_that_it_ends_with(reference: Reference) -> None:
    heads = {
        "børnesygeplejersker": "sygeplejersk",
        "sportsfysioterapeut": "fysioterapeut",
        "videoelektrikere": "elektrik",
        "boernesygeplejersker": "sygeplejersk",
        "rumingenioer": "ingeniør",
        "specialsekretaerer": "sekretær",
        "solcellemontoer": "montør",
        "robotoperatoer": "operatør",
        "kontormiljoe": "miljø",
        "fotoelektrikere": "elektrik",
        "dataadfærdspsykolog": "adfærdspsykolog",
        "matematiklærer": "lær",
        "skibsbager": "bag",
        "ovnmurer": "mur",
        "xylofonstemmer": None,
        "Odense": None,
    }
    assert {typed: clauses(typed, reference)[0].head for typed in heads} == heads


def test_a_compound_is_read_alike_however_its_danish_letters_are_typed(reference: Reference) -> None:
    compounds = {f"rum{word}" for title in reference.titles for word in spelled(title)}
    typed = {one: one.replace("æ", "ae").replace("ø", "oe").replace("å", "aa") for one in compounds}
    pairs = {(one, without) for one, without in typed.items() if one != without}
    assert len(pairs) > 500
    head, parts = reference.compounds.head, reference.compounds.parts
    assert [without for one, without in pairs if head(without) != head(one)] == []
    assert [without for one, without in pairs if not {*parts(without)} >= {*parts(one)}] == []


def test_phrases_and_beginnings_stand_for_themselves(reference: Reference) -> None:
    phrase, beginning, word = clauses('"ledelse af butik" bogh* kok"', reference)
    assert (phrase.words, phrase.phrase, phrase.synonym_of) == (("led", "butik"), True, frozenset())
    assert (beginning.words, beginning.prefix) == (("bogh",), True)
    assert word.words == ("kok",)


@pytest.mark.parametrize("quoted", ["“{}”", "„{}“", "»{}«", "«{}»", "”{}”"])
def test_quotes_of_every_kind_make_a_phrase(reference: Reference, quoted: str) -> None:
    for typed in (f"kok {quoted.format('ledelse af butik')} Odense", quoted.format("og")):
        assert clauses(typed, reference) == clauses(re.sub("[“”„»«]", '"', typed), reference)
    (phrase,) = clauses(quoted.format("ledelse af butik"), reference)
    assert phrase.phrase


def test_nothing_but_stop_words_and_signs_is_nothing(reference: Reference) -> None:
    for text in ("", " ", "og i på", '""', "+-() :*", '"og" og'):
        assert clauses(text, reference) == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (" ".join(f"ord{n}" for n in range(WORDS_MAX + 1)), "32 words"),
        (" ".join(f'"kok {n}x"' for n in range(PHRASES_MAX + 1)), "8 phrases"),
        (" ".join(f"abc{n}*" for n in range(BEGINNINGS_MAX + 1)), "4 asterisks"),
        ("ab*", "3 letters"),
    ],
)
def test_a_text_that_would_cost_too_much_is_refused_without_being_quoted(
    reference: Reference, text: str, why: str
) -> None:
    with pytest.raises(BadText, match=why) as refused:
        clauses(text, reference)
    assert "abc" not in str(refused.value)
