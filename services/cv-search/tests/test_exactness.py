"""Every total, id and count of 5,000 CVs as plain Python finds them, over an index that was changed in many commits."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from random import Random

import pytest

from cv_contracts.codelists import default
from cv_search.documents_testing import MadeUp
from cv_search.engine_testing import OpenOne
from cv_search.plain_testing import PlainSearch
from cv_search.port import GROUPS, Circle, Clause, Dimension, Document, Query, Snapshot, cvs_of
from cv_search.reference import Reference
from cv_search.text import clauses
from cvhub.synthetic import citizens

FEW, MANY, PAGE = 1_200, 5_000, 500
PATIENT = 60.0
"""Seconds: a server's budget is counted by the clock, and this is about what is found, not about how soon."""
DAY = date(2026, 11, 22)


def documents(count: int) -> list[Document]:
    made_up = MadeUp(default())
    made = (
        made_up.document(one.index, one.citizen, one.cv, one.cv_state or "ACTIVE", day=DAY)
        for one in citizens(7, count, today=DAY)
        if one.cv is not None
    )
    return [document for document in made if document is not None]


@pytest.fixture(
    scope="module",
    params=[pytest.param(FEW, marks=pytest.mark.slow), pytest.param(MANY, marks=pytest.mark.long)],
)
def indexed(open_one: OpenOne, request: pytest.FixtureRequest) -> Iterator[tuple[Snapshot, list[Document]]]:
    """Build in many commits, with one in five changed and one in twenty deleted later."""
    rng, every = Random(1), documents(request.param)  # noqa: S311
    kept = {document.cv_id: document for document in every}
    engine = open_one(f"exact-{request.param}")
    for position, begin in enumerate(range(0, len(every), len(every) // 6), 1):
        engine.append(every[begin : begin + len(every) // 6])
        engine.commit(position)
    for position in range(100, 108):
        changed = [_changed(rng, one) for one in rng.sample(list(kept.values()), len(every) // 40)]
        gone = rng.sample(
            [one for one in kept if one not in {new.cv_id for new in changed}], len(every) // 160
        )
        engine.apply(changed, gone)
        engine.commit(position)
        kept = {**kept, **{one.cv_id: one for one in changed}}
        for cv_id in gone:
            del kept[cv_id]
    reader = engine.reader()
    snapshot = reader.snapshot()
    yield snapshot, list(kept.values())
    snapshot.release()
    reader.close()
    engine.close()


def _changed(rng: Random, document: Document) -> Document:
    values = {**document.values, Dimension.LANGUAGE: ("Dansk", rng.choice(("Tysk", "Fransk", "Latin")))}
    return replace(
        document,
        values=values,
        enrolled=not document.enrolled,
        changed_at=document.changed_at + timedelta(days=rng.randrange(3)),
        texts=(*document.texts, rng.choice(("Har kørt kran i havnen", "Underviste i jura"))),
    )


class Wishes:
    """Makes up what case workers search for, out of what is in the CVs and a little that is not."""

    def __init__(self, every: list[Document], reference: Reference) -> None:
        self._rng = Random(2)  # noqa: S311
        self._every = every
        self._reference = reference

    def query(self) -> Query:
        rng, one = self._rng, self._rng.choice(self._every)
        filters = [self._filter(one, dimension) for dimension in Dimension if rng.random() < 0.09]
        after = one.changed_at - timedelta(days=rng.randrange(1, 3))
        dated = rng.random() < 0.15
        return Query(
            text=self._text(one) if rng.random() < 0.7 else (),
            secondary=self._text(rng.choice(self._every)) if rng.random() < 0.15 else (),
            circles=tuple(self._circle(one) for _ in range(rng.choice((0, 0, 0, 1, 1, 2)))),
            filters=tuple(filters),
            organisation=rng.choice(sorted(one.organisations) or [None]) if rng.random() < 0.15 else None,
            enrolled_only=rng.random() < 0.2,
            changed_after=after if dated else None,
            changed_before=one.changed_at + timedelta(seconds=rng.randrange(3)) if dated else None,
            group_limit=rng.choice((1, 5, 64, 1_000)),
        )

    def _filter(self, one: Document, dimension: Dimension) -> tuple[Dimension, frozenset[str]]:
        other = self._rng.choice(self._every)
        values = (*one.values.get(dimension, ())[:2], *other.values.get(dimension, ())[:1], "findes ikke")
        return dimension, frozenset(values)

    def _circle(self, one: Document) -> Circle:
        person = one.person
        return Circle(
            person.latitude or 55.4, person.longitude or 10.4, float(self._rng.choice((0, 3, 40, 90)))
        )

    def _text(self, one: Document) -> tuple[Clause, ...]:
        rng = self._rng
        text = rng.choice((*one.person.occupation_names, *one.titles, *one.skills, *one.texts))
        words = text.split()
        begin = rng.randrange(len(words))
        some = " ".join(words[begin : begin + rng.randrange(1, 4)])
        match rng.randrange(6):
            case 0:
                some = f'"{some}"'
            case 1 if len(some) > 5:
                at = rng.randrange(1, len(some) - 2)
                some = some[:at] + some[at + 1] + some[at] + some[at + 2 :]
            case 2 if words[begin][:4].isalpha() and len(words[begin]) > 4:
                some = f"{words[begin][:4]}*"
            case 3:
                some = f"{some} {rng.choice(('xylofonstemmer', 'med', 'odense'))}"
            case _:
                pass
        return clauses(some, self._reference)


@pytest.mark.slow
def test_random_queries_find_and_count_what_plain_python_does(
    indexed: tuple[Snapshot, list[Document]], reference: Reference
) -> None:
    snapshot, every = indexed
    plain, wishes = PlainSearch(every, reference), Wishes(every, reference)
    assert snapshot.count() == len(every)
    found_any = 0
    queries = len(every) // 30
    for _ in range(queries):
        query = wishes.query()
        wanted, found = plain.result(query), snapshot.search(query, PAGE, PATIENT)
        assert found.total == len(wanted.ids), query
        assert {dimension: found.groups[dimension] for dimension in GROUPS} == wanted.groups, query
        ids = cvs_of(snapshot.search(query, found.total or 1, PATIENT).ids)
        assert cvs_of(found.ids) == ids[:PAGE], query
        assert (set(ids), len(ids)) == (wanted.ids, found.total), query
        if not query.text and not query.secondary:
            assert tuple(ids) == wanted.unscored, query
        found_any += bool(ids)
    assert found_any > queries // 2


def test_the_first_of_a_result_are_the_same_however_many_are_asked_for(
    indexed: tuple[Snapshot, list[Document]], reference: Reference
) -> None:
    snapshot, _ = indexed
    circle = Circle(55.6761, 12.5683, 40.0)
    for query in (
        Query(),
        Query(circles=(circle,)),
        Query(text=clauses("dansk", reference), circles=(circle,)),
        Query(text=clauses("humor", reference)),
    ):
        whole = cvs_of(snapshot.search(query, MANY, PATIENT).ids)
        assert 100 < len(whole) == snapshot.search(query, 1, PATIENT).total
        for count in (1, 7, 100, 101, 250, len(whole) - 1, len(whole), len(whole) + 7):
            assert cvs_of(snapshot.search(query, count, PATIENT).ids) == whole[:count]
