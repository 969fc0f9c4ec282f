"""How every engine reads what is typed: stop words, typos, beginnings of words, compounds, and nothing of a language of its own."""

from collections.abc import Iterator
from uuid import UUID

import pytest

from cv_contracts.codelists import default
from cv_search.danish import normal, spelled
from cv_search.documents_testing import cv_id
from cv_search.engine_testing import FIRST, OpenOne, Text, document, found, kept, shown
from cv_search.port import Engine, Query, Snapshot


def test_stop_words_alone_are_no_text_and_find_everybody(engine: Engine, text: Text) -> None:
    snapshot = kept(engine, *(document(n) for n in range(5)))
    for typed in ("", "   ", "og i", '"og"', "?!"):
        assert snapshot.search(text(typed), FIRST).total == 5


@pytest.mark.parametrize("typed", ["butiksassisten", "butiksassistemt", "butikassisten", "butiksassisenten"])
def test_a_typo_at_the_end_of_a_word_is_forgiven_as_one_in_its_middle(
    engine: Engine, text: Text, typed: str
) -> None:
    snapshot = kept(engine, document(1, "Butiksassistent"), document(2, "Butiksdetektiv"))
    assert found(snapshot, text(typed)) == [cv_id(1)]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("energichef", {1}),
        ("energichefer", {1}),
        ("Energichef pedel", {1, 3}),
        ("speciallæge", set()),
        ("produktleder", {4}),
        ("Finansiel rådgiver", {5}),
        ("økonoma", set()),
    ],
)
def test_an_official_name_is_no_typo_and_where_nobody_has_it_what_it_is_a_kind_of_or_its_words_are_found(
    engine: Engine, text: Text, typed: str, wanted: set[int]
) -> None:
    titles = "Økonomichef", "Speciallærer", "Pedel", "Projektleder", "Socialrådgiver"
    snapshot = kept(engine, *(document(n, title) for n, title in enumerate(titles, 1)))
    assert set(found(snapshot, text(typed))) == {cv_id(n) for n in wanted}


def test_a_short_word_that_a_compound_is_a_kind_of_is_looked_for_in_titles_alone(
    engine: Engine, text: Text
) -> None:
    said = (
        "Jeg har før arbejdet på lager.",
        "Ti års erfaring inden for salg.",
        "Det passer mig godt, og mit mål er et fast job.",
        "Jeg lægger vægt på samarbejde.",
    )
    pedels = [document(n, "Pedel", skills=("Før",), texts=(one,)) for n, one in enumerate(said, 1)]
    teacher = document(6, titles=("Specialpædagog, Lærer",))
    snapshot = kept(engine, *pedels, document(5, "Indkøber"), teacher, document(7, "Dansklærer"))
    typed = "kranfører", "danserinde", "barnepasser", "landmåler", "speciallæge", "xylofonarbejder"
    assert {one: set(found(snapshot, text(one))) for one in typed} == dict.fromkeys(typed, frozenset())
    assert set(found(snapshot, text("matematiklærer"))) == {cv_id(6), cv_id(7)}
    competent = kept(engine, document(8, "Pedel", skills=("Undervisning",)))
    assert found(competent, text("danskundervisning")) == [cv_id(8)]


@pytest.mark.parametrize(
    "typed",
    [
        "id:[0 TO 99999999]",
        "enrolled:1",
        "kind:0",
        "*:*",
        "*",
        "kok)",
        "kok^9 (",
        '"kok',
        "kok OR enrolled:1",
        "/.*/",
    ],
)
def test_nothing_typed_is_read_as_a_query_of_the_engine(engine: Engine, text: Text, typed: str) -> None:
    snapshot = kept(engine, document(1, "Kok"), document(2, "Pedel"), document(3, "Smed"))
    wanted = {cv_id(1)} if "kok" in typed else set() if any(c.isalnum() for c in typed) else None
    ids = set(found(snapshot, text(typed)))
    assert ids == wanted if wanted is not None else len(ids) == 3


@pytest.fixture(scope="module")
def titled(open_one: OpenOne) -> Iterator[tuple[Snapshot, dict[str, UUID]]]:
    """Give CVs that each hold one word, an occupation for the most part."""
    titles = [occupation.title for occupation in default().occupations.values()]
    words = [normal(title) for title in titles if len(spelled(title)) == 1]
    words += ["lære", "læren", "lærerindernes", "elektrik", "kok", "kokkerer"]
    words = list(dict.fromkeys(words))
    engine = open_one("titled")
    engine.append([document(n, word) for n, word in enumerate(words)])
    engine.commit(1)
    yield engine.reader().snapshot(), {word: cv_id(n) for n, word in enumerate(words)}
    engine.close()


def test_with_an_asterisk_all_words_that_begin_so_are_found_whole_ones_too_and_no_others(
    titled: tuple[Snapshot, dict[str, UUID]], text: Text
) -> None:
    """The index holds stems: lær stands for lære, lærer and lærernes."""
    snapshot, words = titled
    begun = {word[:length] for word in list(words)[::40] for length in range(4, len(word))}
    every = sorted({*words, *begun, "lærer", "lærern", "lærerinder", "elektrike", "sygeplejersk"})
    searches = len(every) // 16
    for some in (every[first::searches] for first in range(searches)):
        query = Query(secondary=tuple(clause for one in some for clause in text(f"{one}*").text))
        wanted = {cv for word, cv in words.items() if word.startswith(tuple(some))}
        assert set(found(snapshot, query, len(words))) == wanted, some


def test_letters_that_only_meet_in_a_compound_hide_neither_its_words_nor_its_beginning(
    engine: Engine, text: Text
) -> None:
    analyst, electrician, town, other = (
        document(1, "Dataanalytiker"),
        document(2, "Kok", texts=("autoelektriker",)),
        document(3, texts=("Aarhus",)),
        document(4, texts=("Århus",)),
    )
    snapshot = kept(engine, analyst, electrician, town, other)
    for typed in ("data*", "dataa*", "dataanalytik*", "analytiker", "dataanalytiker", "DATAANALYTIKERE"):
        assert found(snapshot, text(typed)) == [analyst.cv_id], typed
    for typed in ("auto*", "autoe*", "elektriker"):
        assert found(snapshot, text(typed)) == [electrician.cv_id], typed
    for typed in ("aarhus", "århus", "aarh*", "århu*"):
        assert set(found(snapshot, text(typed))) == {town.cv_id, other.cv_id}, typed


def test_words_with_a_plus_between_are_two_and_a_language_keeps_its_signs(engine: Engine, text: Text) -> None:
    snapshot = kept(
        engine,
        document(1, texts=("Rutineret i Excel+Word og C5+SAP.",)),
        document(2, texts=("Har skrevet C++11 og C#.",)),
    )
    for typed in ("excel", "word", "c5", "sap", "excel+word", '"excel word"'):
        assert found(snapshot, text(typed)) == [cv_id(1)], typed
    for typed in ("c++", "c#", "C++/C#"):
        assert found(snapshot, text(typed)) == [cv_id(2)], typed


def test_another_number_is_no_typo(engine: Engine, text: Text) -> None:
    snapshot = kept(engine, document(1, texts=("Kvalitet efter ISO 9002",)), document(2, texts=("EN1091",)))
    assert found(snapshot, text("9001")) == found(snapshot, text("en1090")) == []
    assert found(snapshot, text("ISO 9001")) == [cv_id(1)]


def test_a_version_that_nobody_has_is_what_it_is_a_version_of(engine: Engine, text: Text) -> None:
    skills = "HTML", "CSS", "Windows", "Python", "Python2"
    snapshot = kept(engine, *(document(n, skills=(skill,)) for n, skill in enumerate(skills, 1)))
    for typed, wanted in (
        ("html5", {1}),
        ("CSS3", {2}),
        ("windows10", {3}),
        ("python3", {4}),
        ("python2", {5}),
        ("html5 css3", {1, 2}),
        ("c5", set()),
        ("5", set()),
    ):
        assert set(found(snapshot, text(typed))) == {cv_id(n) for n in wanted}, typed


def test_where_nobody_has_an_official_name_what_begins_with_it_is_found(engine: Engine, text: Text) -> None:
    titles = "Datalogi, cand.scient.", "Biologi, cand.scient.", "Kemi, cand.scient."
    snapshot = kept(
        engine,
        *(document(n, titles=(title,)) for n, title in enumerate(titles, 1)),
        document(4, texts=("biologisk",)),
    )
    assert found(snapshot, text("datalog")) == [cv_id(1)]
    assert found(snapshot, text("biolog")) == [cv_id(2)]
    assert set(found(snapshot, text("datalog kemi"))) == {cv_id(1), cv_id(3)}


def test_a_beginning_weighs_by_where_it_is_found_once_for_each_place(engine: Engine, text: Text) -> None:
    snapshot = kept(
        engine,
        document(1, "Lærer"),
        document(2, texts=("lærerig læreren lærerne lærerinde",)),
        document(3, titles=("Lærerinde", "Læreren")),
    )
    assert found(snapshot, text("lærer*")) == [cv_id(n) for n in (1, 3, 2)]


def test_another_reader_finds_the_same_without_being_told_how_words_are_read(
    open_one: OpenOne, names: Iterator[str], text: Text
) -> None:
    name = next(names)
    engine = open_one(name)
    kept(engine, document(1, "Intensivsygeplejerske"), document(2, "C#-udvikler"))
    engine.close()
    again = open_one(name)
    assert again.position() == 1
    again.apply([document(3, "Sygeplejersker")], [])
    again.commit(2)
    snapshot = shown(again)
    assert set(found(snapshot, text("sygeplejerske"))) == {cv_id(1), cv_id(3)}
    assert found(snapshot, text("C#")) == [cv_id(2)]
    again.close()
