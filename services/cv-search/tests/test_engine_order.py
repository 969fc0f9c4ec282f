"""In which order every engine gives what it finds, and whom a place or an interval leaves out."""

from dataclasses import replace
from datetime import timedelta

import pytest

from cv_search.documents_testing import cv_id
from cv_search.engine_testing import AARHUS, CHANGED, ODENSE, Text, document, found, kept, shown
from cv_search.port import Circle, Dimension, Document, Engine, Query


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
