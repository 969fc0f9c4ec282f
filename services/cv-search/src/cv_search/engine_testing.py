"""For the tests that hold for every engine: indexes of one kind, made where a test may have them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from cv_search.documents_testing import cv_id
from cv_search.opensearch_engine import open_engine as open_in_cluster
from cv_search.opensearch_engine.calling import Cluster
from cv_search.port import Dimension, Document, Engine, Person, Query, Snapshot, cvs_of
from cv_search.reference import Reference
from cv_search.tantivy_engine import open_engine

__all__ = [
    "AARHUS",
    "CHANGED",
    "FIRST",
    "ODENSE",
    "OpenOne",
    "Text",
    "document",
    "found",
    "kept",
    "opensearch_at",
    "shown",
    "tantivy_in",
]

CHANGED: Final = datetime(2026, 5, 1, 12, tzinfo=UTC)
FIRST: Final = 100
ODENSE, AARHUS = (55.3959, 10.3883), (56.1567, 10.2108)

OpenOne = Callable[[str], Engine]
"""Opens the index of that name for writing, or begins it."""
Text = Callable[[str], Query]
"""Gives the query for a text as it is typed."""


def tantivy_in(folder: Path, reference: Reference) -> OpenOne:
    """Open tantivy's indexes below a folder."""

    def open_one(name: str) -> Engine:
        place = folder / name
        place.mkdir(exist_ok=True)
        return open_engine(place, reference)

    return open_one


@contextmanager
def opensearch_at(url: str, prefix: str, reference: Reference) -> Iterator[OpenOne]:
    """Open indexes of a cluster whose names begin alike."""
    cluster = Cluster(url)
    yield lambda name: open_in_cluster(cluster, f"{prefix}-{name}", reference)
    cluster.close()


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


def shown(engine: Engine) -> Snapshot:
    """Give what a search sees now."""
    return engine.reader().snapshot()


def found(snapshot: Snapshot, query: Query, first: int = FIRST) -> list[UUID]:
    """Give the CVs found, the best first."""
    return cvs_of(snapshot.search(query, first).ids)


def kept(engine: Engine, *documents: Document) -> Snapshot:
    """Write documents into an index that has none of them, and give it as it is then."""
    engine.append(documents)
    engine.commit((engine.position() or 0) + 1)
    return shown(engine)
