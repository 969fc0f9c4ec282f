"""What every engine promises; each of these was once lost in silence by an engine that was asked a little differently."""

from collections.abc import Iterator
from dataclasses import astuple, replace
from itertools import count

import pytest

from cv_search.documents_testing import cv_id
from cv_search.engine_testing import FIRST, OpenOne, Text, document, found, kept, shown
from cv_search.port import Count, Dimension, Engine, Query, cvs_of
from cv_search.reference import Reference
from cv_search.text import clauses


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
