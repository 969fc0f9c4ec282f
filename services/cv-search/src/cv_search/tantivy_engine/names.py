"""Names and the small numbers that stand for them in the index, one vocabulary each; they are documents of the index too.

So they are there exactly as long as what refers to them. A number is given once and never again.
"""

from collections import defaultdict
from collections.abc import Iterable

import orjson
from tantivy import Document, FieldType, Query, Schema, Searcher

from cv_search.tantivy_engine.fields import ID, KEPT, KIND, NUMBER, TAG, Kind, tag

CHUNK = 10_000


class Names:
    """The names of one index, as far as they were read or given."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = defaultdict(dict)
        self._names: dict[str, list[str]] = defaultdict(list)
        self._count = 0
        self._new: list[tuple[int, str, int, str]] = []

    def number(self, vocabulary: str, name: str) -> int:
        """Give the number of a name, a new one where it has none."""
        numbers = self._numbers[vocabulary]
        number = numbers.get(name)
        if number is None:
            number = len(numbers)
            self._new.append((self._count, vocabulary, number, name))
            self._learn(vocabulary, number, name)
        return number

    def known(self, vocabulary: str, names: Iterable[str]) -> list[int]:
        """Give the numbers of those names that have one."""
        numbers = self._numbers.get(vocabulary, {})
        return [numbers[name] for name in names if name in numbers]

    def names(self, vocabulary: str) -> list[str]:
        """Give the names of a vocabulary, each at the place of its number."""
        return self._names.get(vocabulary, [])

    def take_new(self) -> list[Document]:
        """Give documents of the names that are new since the last call."""
        new, self._new = self._new, []
        return [_document(*one) for one in new]

    def read(self, searcher: Searcher, schema: Schema) -> None:
        """Learn the names that the index has and this does not."""
        of_names = Query.term_query(schema, TAG, tag(KIND, Kind.NAME))
        while True:
            unread = Query.range_query(
                schema, NUMBER, FieldType.Integer, self._count, self._count + CHUNK, include_upper=False
            )
            hits = searcher.search(of_names.and_must_match(unread), limit=CHUNK).hits
            rows = sorted(orjson.loads(searcher.doc(address).get_first(KEPT) or b"") for _, address in hits)
            for _, vocabulary, number, name in rows:
                self._learn(vocabulary, number, name)
            if len(rows) < CHUNK:
                return

    def _learn(self, vocabulary: str, number: int, name: str) -> None:
        names = self._names[vocabulary]
        if number != len(names):
            raise ValueError("a name is missing")
        names.append(name)
        self._numbers[vocabulary][name] = number
        self._count += 1


def _document(place: int, vocabulary: str, number: int, name: str) -> Document:
    document = Document()
    document.add_text(ID, f"name {place}")
    document.add_integer(TAG, tag(KIND, Kind.NAME))
    document.add_integer(NUMBER, place)
    document.add_bytes(KEPT, orjson.dumps([place, vocabulary, number, name]))
    return document
