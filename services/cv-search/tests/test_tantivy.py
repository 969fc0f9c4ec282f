"""What is promised of tantivy's files: a kill in mid-commit, torn and foreign indexes, files deleted under a reader."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from tantivy import Index, SchemaBuilder

from cv_contracts.codelists import default
from cv_search.engine_testing import tantivy_in
from cv_search.port import EngineError, IndexBroken, Query, TooCostly
from cv_search.reference import Reference
from cv_search.tantivy_engine import TantivyReader, open_engine, open_reader
from cv_search.tantivy_engine.fields import schema
from cv_search.text import clauses

# Commits one CV more each time, position = how many there are; says so, and goes on until it is killed.
WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID
from cv_contracts.codelists import default
from cv_search.port import Dimension, Document, Person
from cv_search.reference import Reference
from cv_search.tantivy_engine import open_engine

engine = open_engine(Path(sys.argv[1]), Reference(default()))
number = engine.position() or 0
while True:
    number += 1
    titles = (f"Titel {number}",)
    person = Person("461", "Odense", None, "A", "B", None, None, None, titles, None, None)
    values = {Dimension.OCCUPATION: titles}
    engine.append([Document(UUID(int=number), person, datetime.now(UTC), True, frozenset(), values, (), (), ())])
    engine.commit(number)
    print(number, flush=True)
"""


@pytest.mark.slow
def test_after_a_kill_in_mid_commit_the_position_is_that_of_what_is_there(
    tmp_path: Path, reference: Reference
) -> None:
    said = 0
    for commits in (3, 7, 12):
        with subprocess.Popen(  # noqa: S603 - a program of this test
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(commits):
                said = int(process.stdout.readline())
            os.kill(process.pid, signal.SIGKILL)
        engine = open_engine(tmp_path, reference)
        snapshot = engine.reader().snapshot()
        assert engine.position() == snapshot.position == snapshot.count() >= said
        names = {
            one.name for group in snapshot.search(Query(group_limit=99), 1).groups.values() for one in group
        }
        assert names == {f"Titel {number}" for number in range(1, snapshot.count() + 1)}
        engine.close()


@pytest.fixture
def written(tmp_path: Path, reference: Reference) -> Path:
    engine = tantivy_in(tmp_path, reference)("whole")
    engine.commit(5)
    engine.close()
    return tmp_path / "whole"


@pytest.mark.parametrize("suffix", ["term", "idx", "fieldnorm", "fast", "store", "pos", "json"])
@pytest.mark.parametrize("harm", ["shortened", "changed", "deleted"])
def test_a_torn_index_is_told(written: Path, reference: Reference, suffix: str, harm: str) -> None:
    victim = next(path for path in written.glob(f"*.{suffix}") if path.name != ".managed.json")
    whole = victim.read_bytes()
    middle = len(whole) // 3
    changed = whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :]
    if harm == "deleted":
        victim.unlink()
    else:
        victim.write_bytes(whole[:middle] if harm == "shortened" else changed)
    with pytest.raises(IndexBroken):
        open_engine(written, reference)


def test_a_foreign_index_is_told(
    tmp_path: Path, written: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "somebody.txt").write_text("else's")
    (tmp_path / "begun").mkdir()
    Index(schema(), path=str(tmp_path / "begun"))
    (tmp_path / "other").mkdir()
    fields = SchemaBuilder()
    fields.add_text_field("title", stored=True)
    Index(fields.build(), path=str(tmp_path / "other")).writer(15_000_000, 1).commit()
    for name in ("foreign", "begun", "other"):
        with pytest.raises(IndexBroken):
            open_engine(tmp_path / name, reference)
    lists = default()
    first = next(iter(lists.occupations))
    fewer = {number: one for number, one in lists.occupations.items() if number != first}
    others = Reference(type(lists)(**{**vars(lists), "occupations": fewer}))
    with pytest.raises(IndexBroken):
        open_engine(written, others)
    assert open_reader(written).snapshot().position == 5, "whoever only reads takes it as it was made"
    with pytest.raises(EngineError):
        open_reader(tmp_path / "foreign")
    monkeypatch.setattr("cv_search.tantivy_engine.checkpoint.FORM", "another format")
    with pytest.raises(IndexBroken):
        open_reader(written).snapshot()
    with pytest.raises(IndexBroken):
        open_engine(written, reference)


def test_a_second_writer_is_refused(written: Path, reference: Reference) -> None:
    engine = open_engine(written, reference)
    with pytest.raises(EngineError):
        open_engine(written, reference)
    engine.close()
    open_engine(written, reference).close()


def test_when_the_files_go_the_reader_goes_on_and_the_writer_says_so(
    written: Path, reference: Reference
) -> None:
    engine = open_engine(written, reference)
    reader = engine.reader()
    before = reader.snapshot()
    for path in written.iterdir():
        path.unlink()
    written.rmdir()
    with pytest.raises(EngineError):
        engine.commit(6)
    assert (before.position, reader.snapshot().position, before.count()) == (5, 5, 0)


class Counted:
    """An index that counts how often it is opened anew."""

    def __init__(self, index: Index) -> None:
        self.schema, self.searcher = index.schema, index.searcher
        self._index = index
        self.times = 0

    def reload(self) -> None:
        self.times += 1
        self._index.reload()


def test_an_index_is_opened_anew_where_something_was_committed_and_else_not(
    written: Path, reference: Reference
) -> None:
    engine = open_engine(written, reference)
    counted = Counted(Index.open(str(written)))
    reader = TantivyReader(written, cast("Index", counted))
    for position in (5, 6, 7):
        if position > 5:
            engine.commit(position)
        assert [reader.snapshot().position for _ in range(3)] == [position] * 3
    assert counted.times == 3
    engine.close()


def test_a_search_that_costs_too_much_is_given_up(written: Path, reference: Reference) -> None:
    snapshot = open_reader(written).snapshot()
    for query in (Query(), Query(text=clauses("kok smed", reference))):
        with pytest.raises(TooCostly):
            snapshot.search(query, 10, budget=0.0)
