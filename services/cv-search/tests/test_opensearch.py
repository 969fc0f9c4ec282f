"""What is promised of an index in a cluster, which more than one instance can reach."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest

from cv_search.engine_testing import OpenOne, opensearch_at
from cv_search.port import Document, EngineError, Person, Query
from cv_search.reference import Reference
from cv_search.text import clauses

pytestmark = pytest.mark.opensearch


@pytest.fixture
def open_shared(opensearch: str, reference: Reference) -> Iterator[OpenOne]:
    with opensearch_at(opensearch, "shared", reference) as open_one:
        yield open_one


def cv(number: int, title: str) -> Document:
    person = Person("461", "Odense", None, "A", "B", None, None, None, (title,), None, None)
    now = datetime(2026, 5, 1, tzinfo=UTC)
    return Document(UUID(int=number), person, now, True, frozenset(), {}, (), (), ())


def test_a_writer_that_was_held_up_changes_nothing_that_is_newer(
    open_shared: OpenOne, reference: Reference
) -> None:
    first = open_shared("held-up")
    first.append([cv(1, "Pedel"), cv(2, "Pedel")])
    first.commit(5)
    second = open_shared("held-up")
    second.apply([cv(1, "Kok")], [cv(2, "Pedel").cv_id])
    second.commit(7)
    first.apply([cv(1, "Smed"), cv(2, "Smed")], [])
    with pytest.raises(EngineError):
        first.commit(6)
    second.commit(8)
    snapshot = second.reader().snapshot()
    found = {
        typed: snapshot.search(Query(text=clauses(typed, reference)), 9).total for typed in ("kok", "smed")
    }
    assert found == {"kok": 1, "smed": 0}
    assert (snapshot.count(), snapshot.position) == (1, 8)
