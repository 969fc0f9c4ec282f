"""150 and more judged searches: what case workers type, and which CVs they want, want too, and do not want to see above."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import log2
from pathlib import Path
from statistics import fmean

import pytest
import tantivy
from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

from cv_search.documents_testing import cv_id
from cv_search.engine_testing import OpenOne
from cv_search.port import Dimension, Document, Person, Query, cvs_of
from cv_search.reference import Reference
from cv_search.text import clauses

JUDGED = Path(__file__).parent / "judged"
TEN = 10
Search = Callable[[str], list[str]]


@dataclass(frozen=True)
class Judged:
    typed: str
    gains: dict[str, int]
    unwanted: frozenset[str]


def rows(name: str) -> Iterator[list[str]]:
    for line in (JUDGED / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield [column.strip() for column in line.split("|")]


def judged() -> list[Judged]:
    return [
        Judged(
            typed,
            {**dict.fromkeys(also.split(), 1), **dict.fromkeys(most.split(), 2)},
            frozenset(unwanted.split()),
        )
        for typed, most, also, unwanted in rows("queries.txt")
    ]


def cvs() -> dict[str, Document]:
    return {
        row[0]: document(
            number, *(tuple(filter(None, map(str.strip, column.split(";")))) for column in row[1:])
        )
        for number, row in enumerate(rows("cvs.txt"))
    }


def document(  # noqa: PLR0917 - the columns of the file
    number: int,
    targets: tuple[str, ...],
    jobs: tuple[str, ...],
    educations: tuple[str, ...],
    skills: tuple[str, ...],
    texts: tuple[str, ...],
    city: tuple[str, ...],
) -> Document:
    person = Person(
        "999", "Ukendt", str(10_000_000 + number), "A", "B", None, city[0], None, targets, None, None
    )
    return Document(
        cv_id=cv_id(number),
        person=person,
        changed_at=datetime(2026, 5, 1, tzinfo=UTC),
        enrolled=True,
        organisations=frozenset(),
        values={Dimension.OCCUPATION: targets},
        titles=(*jobs, *educations),
        skills=skills,
        texts=(*texts, *city),
    )


def ndcg(found: list[str], gains: dict[str, int]) -> float:
    best = sum(
        (2**gain - 1) / log2(i + 2) for i, gain in enumerate(sorted(gains.values(), reverse=True)[:TEN])
    )
    got = sum((2 ** gains.get(name, 0) - 1) / log2(i + 2) for i, name in enumerate(found[:TEN]))
    return float(got / best)


def plain_bm25(every: dict[str, Document]) -> Search:
    """Search as a text index does out of the box: one field, Danish stems and stop words, any of the words."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("name", stored=True, tokenizer_name="raw")
    builder.add_text_field("all", tokenizer_name="danish")
    index = tantivy.Index(builder.build())
    analyzer = TextAnalyzerBuilder(Tokenizer.simple())
    for step in (Filter.lowercase(), Filter.stopword("danish"), Filter.stemmer("danish")):
        analyzer = analyzer.filter(step)
    danish = analyzer.build()
    index.register_tokenizer("danish", danish)
    writer = index.writer(15_000_000, 1)
    for name, one in every.items():
        texts = (*one.person.occupation_names, *one.titles, *one.skills, *one.texts)
        row = tantivy.Document()
        row.add_text("name", name)
        row.add_text("all", "\n".join(texts))
        writer.add_document(row)
    writer.commit()
    index.reload()
    searcher, schema = index.searcher(), index.schema

    def search(typed: str) -> list[str]:
        words = [
            (tantivy.Occur.Should, tantivy.Query.term_query(schema, "all", word, "freq"))
            for word in danish.analyze(typed)
        ]
        hits = searcher.search(tantivy.Query.boolean_query(words), limit=TEN).hits
        return [str(searcher.doc(address).get_first("name")) for _, address in hits]

    return search


@pytest.fixture(scope="module")
def every() -> dict[str, Document]:
    return cvs()


@pytest.fixture(scope="module")
def search(open_one: OpenOne, every: dict[str, Document], reference: Reference) -> Iterator[Search]:
    engine = open_one("judged")
    engine.append(list(every.values()))
    engine.commit(1)
    snapshot = engine.reader().snapshot()
    names = {one.cv_id: name for name, one in every.items()}

    def search(typed: str) -> list[str]:
        found = snapshot.search(Query(text=clauses(typed, reference)), 30)
        return [names[cv] for cv in cvs_of(found.ids)]

    yield search
    engine.close()


def test_the_judged_searches_are_answered_well_and_better_than_by_plain_bm25(
    every: dict[str, Document], search: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted, plain = judged(), plain_bm25(every)
    ours = {one.typed: ndcg(search(one.typed), one.gains) for one in wanted}
    theirs = {one.typed: ndcg(plain(one.typed), one.gains) for one in wanted}
    with capsys.disabled():
        line = f"\n{len(wanted)} judged searches: nDCG@10 {fmean(ours.values()):.3f}, plain BM25 {fmean(theirs.values()):.3f}"
        print(line)  # noqa: T201
    assert len(wanted) >= 150
    assert fmean(ours.values()) >= 0.93
    assert fmean(ours.values()) >= fmean(theirs.values()) + 0.15


def test_nobody_unwanted_stands_above_one_who_is_wanted_most(search: Search) -> None:
    wrong = []
    for one in judged():
        found = search(one.typed)
        best = [name for name, gain in one.gains.items() if gain == 2]
        last = max(found.index(name) if name in found else len(found) for name in best)
        if one.unwanted & set(found[:last]):
            wrong.append(one.typed)
    assert len(wrong) <= len(judged()) // 50, wrong


def test_no_judged_search_finds_nobody(search: Search) -> None:
    assert [one.typed for one in judged() if not search(one.typed)] == []
