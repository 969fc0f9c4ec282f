"""What every engine promises; each of these was once lost in silence by an engine that was asked a little differently."""

from collections.abc import Callable, Iterator
from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

import pytest

from cv_contracts.codelists import default
from cv_search.danish import normal, spelled
from cv_search.documents_testing import cv_id
from cv_search.engine_testing import OpenOne
from cv_search.port import Circle, Count, Dimension, Document, Engine, Person, Query, Snapshot, cvs_of
from cv_search.reference import Reference
from cv_search.text import clauses

CHANGED = datetime(2026, 5, 1, 12, tzinfo=UTC)
FIRST = 100
ODENSE, AARHUS = (55.3959, 10.3883), (56.1567, 10.2108)
Text = Callable[[str], Query]


def document(number: int, *targets: str, **more: object) -> Document:
    """Give a CV with so many job targets and nothing else, changed so many seconds after the first."""
    person = Person(
        municipality_code="461",
        municipality_name="Odense",
        cv_number=str(10_000_000 + number),
        first_name="Fornavn",
        last_name="Efternavn",
        postal_code="5000",
        city="Odense C",
        max_education_name=None,
        occupation_names=targets or ("Pedel",),
        latitude=ODENSE[0],
        longitude=ODENSE[1],
    )
    plain = Document(
        cv_id=cv_id(number),
        person=person,
        changed_at=CHANGED + timedelta(seconds=number),
        enrolled=True,
        organisations=frozenset({(8, "46100")}),
        values={Dimension.OCCUPATION: person.occupation_names},
        titles=(),
        skills=(),
        texts=(),
    )
    return replace(plain, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def names() -> Iterator[str]:
    return (f"engine-{number}" for number in count())


@pytest.fixture
def engine(open_one: OpenOne, names: Iterator[str]) -> Iterator[Engine]:
    engine = open_one(next(names))
    yield engine
    engine.close()


@pytest.fixture
def text(reference: Reference) -> Text:
    return lambda typed: Query(text=clauses(typed, reference))


def shown(engine: Engine) -> Snapshot:
    return engine.reader().snapshot()


def found(snapshot: Snapshot, query: Query, first: int = FIRST) -> list[UUID]:
    return cvs_of(snapshot.search(query, first).ids)


def kept(engine: Engine, *documents: Document) -> Snapshot:
    engine.append(documents)
    engine.commit((engine.position() or 0) + 1)
    return shown(engine)


def test_a_cv_that_is_replaced_is_there_once(engine: Engine) -> None:
    some = [document(number) for number in range(300)]
    kept(engine, *some)
    for position in (2, 3, 4):
        engine.apply([replace(one, enrolled=position % 2 == 0) for one in some[:200]], [])
        engine.commit(position)
    snapshot = shown(engine)
    assert snapshot.count() == 300
    assert snapshot.search(Query(enrolled_only=True), FIRST).total == 300
    engine.apply([some[0], some[0]], [])
    engine.commit(5)
    assert shown(engine).count() == 300
    engine.apply([some[0]], [some[0].cv_id])
    engine.commit(6)
    assert shown(engine).count() == 300
    engine.apply([], [one.cv_id for one in some[:250]])
    engine.commit(7)
    assert shown(engine).count() == 50


@pytest.mark.parametrize("few", [1_000, 10])
def test_groups_are_exact_when_all_values_are_equally_rare_and_lie_in_many_segments(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Whether so few values are known that all are asked for at once, or more than are asked for at first."""
    monkeypatch.setattr("cv_search.tantivy_engine.counting.FEW", few)
    number = count()
    for position in range(1, 9):
        engine.append(
            [
                document(
                    next(number), values={Dimension.COMPETENCE: (f"evne {value:03}", f"kunnen {value:03}")}
                )
                for value in range(position % 3, 200, 2 if position % 2 else 3)
            ]
        )
        engine.commit(position)
    counts: dict[int, int] = {}
    for position in range(1, 9):
        for value in range(position % 3, 200, 2 if position % 2 else 3):
            counts[value] = counts.get(value, 0) + 1
    wanted = sorted((-n, f"{word} {value:03}") for value, n in counts.items() for word in ("evne", "kunnen"))
    groups = shown(engine).search(Query(group_limit=64), FIRST).groups
    assert groups[Dimension.COMPETENCE] == tuple(Count(name, -n) for n, name in wanted[:64])


def test_a_reader_that_stays_open_counts_what_each_commit_has_brought(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cv_search.tantivy_engine.names.CHUNK", 2)
    engine.commit(1)
    reader, levels, wanted = engine.reader(), ("Bachelor", "Faglært", "Ufaglært"), dict[str, int]()
    for number in range(9):
        level = levels[number // 2 % 3]
        values = {Dimension.EDUCATION_LEVEL: (level,), Dimension.WORK_TIME: ("Fuld tid", f"Tid {number}")}
        engine.apply([document(number, values=values)], [])
        engine.commit(number + 2)
        wanted[level] = wanted.get(level, 0) + 1
        snapshot = reader.snapshot()
        groups = snapshot.search(Query(), FIRST).groups
        assert dict(map(astuple, groups[Dimension.EDUCATION_LEVEL])) == wanted
        assert groups[Dimension.WORK_TIME][0] == Count("Fuld tid", number + 1)
        one = Query(filters=((Dimension.WORK_TIME, frozenset({f"Tid {number}"})),))
        groups = snapshot.search(one, FIRST).groups
        assert groups[Dimension.EDUCATION_LEVEL] == (Count(level, 1),)
        assert groups[Dimension.WORK_TIME] == (Count("Fuld tid", 1), Count(f"Tid {number}", 1))


def test_where_a_group_is_cut_among_equals_the_names_decide(engine: Engine) -> None:
    names = [f"sprog {n:02}" for n in range(30)]
    snapshot = kept(
        engine,
        *(document(n, values={Dimension.LANGUAGE: (name,)}) for n, name in enumerate(reversed(names))),
    )
    for limit in (0, 1, 7, 30, 64):
        groups = snapshot.search(Query(group_limit=limit), FIRST).groups
        assert [one.name for one in groups[Dimension.LANGUAGE]] == names[:limit]


def test_writing_the_same_again_changes_no_order(engine: Engine, text: Text) -> None:
    some = [document(n, "Pedel" if n % 3 else "Kok", changed_at=CHANGED) for n in range(400)]
    before = kept(engine, *some)
    queries = (Query(), text("pedel"), text("kok"), Query(circles=(Circle(*ODENSE, 40),)))
    orders = [found(before, query, first) for query in queries for first in (30, 150)]
    engine.apply(some[50:300:3], [])
    engine.commit(2)
    engine.apply(some[1:400:7], [])
    engine.commit(3)
    after = shown(engine)
    assert [found(after, query, first) for query in queries for first in (30, 150)] == orders


def test_a_pinned_moment_stays_as_it_was_however_the_index_goes_on(engine: Engine, text: Text) -> None:
    snapshot = kept(engine, *(document(n, "Kok") for n in range(60)))
    query, before = text("kok"), found(snapshot, text("kok"))
    engine.apply([document(n, "Kok") for n in range(100, 150)], [cv_id(n) for n in range(30)])
    engine.commit(2)
    assert (found(snapshot, query), snapshot.search(query, FIRST).total) == (before, 60)
    later = shown(engine)
    assert later.search(query, FIRST).total == 80
    assert later.generation > snapshot.generation
    snapshot.release()
    later.release()
    later.release()


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


def test_all_of_a_document_is_found_and_counted(engine: Engine, reference: Reference) -> None:
    values = {dimension: (f"værdi {dimension.name}",) for dimension in Dimension}
    one = document(
        7, "Kok", values=values, titles=("Smed",), skills=("Fransk",), texts=("Har sejlet på Grønland",)
    )
    snapshot = kept(engine, one, document(8, "Pedel", enrolled=False, organisations=frozenset()))
    queries = [Query(text=clauses(typed, reference)) for typed in ("kok", "smed", "fransk", "grønland")]
    queries += [Query(filters=((dimension, frozenset(names)),)) for dimension, names in values.items()]
    queries += [Query(organisation=(8, "46100")), Query(enrolled_only=True)]
    for query in queries:
        result = snapshot.search(query, FIRST)
        assert cvs_of(result.ids) == [one.cv_id], query
        assert result.groups[Dimension.CITY] == (Count("værdi CITY", 1),)


def test_a_commit_and_its_position_are_one(engine: Engine) -> None:
    assert engine.position() is None
    kept(engine, document(1))
    engine.apply([document(2)], [])
    assert (engine.position(), shown(engine).position, shown(engine).count()) == (1, 1, 1)
    engine.commit(77)
    assert (engine.position(), shown(engine).position, shown(engine).count()) == (77, 77, 2)


def test_what_was_not_committed_is_gone_after_a_close(open_one: OpenOne, names: Iterator[str]) -> None:
    name = next(names)
    engine = open_one(name)
    kept(engine, document(1, "Ny titel"))
    engine.apply([document(2, "Endnu en ny titel")], [cv_id(1)])
    engine.close()
    again = open_one(name)
    snapshot = shown(again)
    assert (again.position(), snapshot.count()) == (1, 1)
    snapshot = kept(again, document(3, "En tredje"))
    titles = {count.name for count in snapshot.search(Query(), FIRST).groups[Dimension.OCCUPATION]}
    assert titles == {"Ny titel", "En tredje"}
    again.close()


def test_a_filter_that_all_pass_changes_no_order(engine: Engine, text: Text) -> None:
    targets = ("Kok", "Smed", "Pedel", "Tjener")
    some = [
        document(n, *targets[: n % 4 + 1], texts=("kok " * (n % 5),), values={Dimension.LANGUAGE: ("Dansk",)})
        for n in range(80)
    ]
    snapshot, query = kept(engine, *some), text("kok")
    filtered = replace(
        query,
        filters=((Dimension.LANGUAGE, frozenset({"Dansk"})),),
        enrolled_only=True,
        organisation=(8, "46100"),
        changed_after=CHANGED - timedelta(days=1),
    )
    assert found(snapshot, filtered) == found(snapshot, query)


def test_distance_then_newest_change_then_cv_number_order_what_is_equally_relevant(
    engine: Engine, text: Text
) -> None:
    def at(number: int, place: tuple[float, float], second: int) -> Document:
        one = document(number, "Kok", changed_at=CHANGED + timedelta(seconds=second))
        return replace(one, person=replace(one.person, latitude=place[0], longitude=place[1]))

    snapshot = kept(
        engine, at(1, AARHUS, 9), at(2, ODENSE, 1), at(4, ODENSE, 5), at(3, ODENSE, 5), at(5, AARHUS, 9)
    )
    circle = Circle(55.4, 10.4, 200.0)
    for query in (Query(), text("kok")):
        near = replace(query, circles=(circle,))
        assert found(snapshot, near) == [cv_id(n) for n in (3, 4, 2, 1, 5)]
        assert found(snapshot, query) == [cv_id(n) for n in (1, 5, 3, 4, 2)]
        assert [found(snapshot, near, first) for first in (1, 2, 3)] == [
            [cv_id(3)],
            [cv_id(3), cv_id(4)],
            [cv_id(3), cv_id(4), cv_id(2)],
        ]
    beside = replace(Query(), circles=(Circle(*AARHUS, 10), circle))
    assert found(snapshot, beside) == [cv_id(1), cv_id(5)]


def test_places_are_taken_by_their_distance_however_many_live_there_and_are_asked_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cv_search.tantivy_engine.ordering.LARGE", 2)
    places = [(0.1, [7]), (0.2, [1, 5, 3]), (0.3, [9]), (0.4, [8]), (0.5, [2, 6, 4]), (0.6, [10])]
    some = [(document(number), north) for north, numbers in places for number in numbers]
    lat, lon = ODENSE
    snapshot = kept(
        engine,
        *(replace(one, person=replace(one.person, latitude=lat + north)) for one, north in some),
    )
    wanted = [cv_id(number) for _, numbers in places for number in sorted(numbers, reverse=True)]
    query = Query(circles=(Circle(lat, lon, 100.0),))
    for first in range(1, len(wanted) + 2):
        assert found(snapshot, query, first) == wanted[:first]


@pytest.mark.parametrize("shortest", [timedelta(microseconds=1), timedelta(seconds=1)])
def test_the_interval_of_changes_has_both_ends_outside(engine: Engine, shortest: timedelta) -> None:
    snapshot = kept(engine, *(document(n, changed_at=CHANGED + n * shortest) for n in range(5)))
    query = Query(changed_after=CHANGED, changed_before=CHANGED + 3 * shortest)
    assert found(snapshot, query) == [cv_id(2), cv_id(1)]


def test_who_lives_nowhere_known_is_in_no_circle(engine: Engine) -> None:
    one = document(1)
    abroad = replace(one, person=replace(one.person, latitude=None, longitude=None, cv_number=None))
    snapshot = kept(engine, abroad)
    assert found(snapshot, Query()) == [cv_id(1)]
    assert found(snapshot, Query(circles=(Circle(*ODENSE, 2_000),))) == []
