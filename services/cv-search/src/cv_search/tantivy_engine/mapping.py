"""From a document of the port to one of tantivy."""

import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import orjson
import tantivy

from cv_search.port import Document
from cv_search.reference import Reference
from cv_search.tantivy_engine import fields as f
from cv_search.tantivy_engine.names import Names

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HALVES: Final = struct.Struct(">qq")


class Rows:
    """Writes documents of one index."""

    def __init__(self, names: Names, reference: Reference, schema: tantivy.Schema) -> None:
        self._names = names
        self._schema = schema
        self._reference = reference

    def row(self, document: Document) -> tantivy.Document:
        return tantivy.Document.from_dict({**self._numbers(document), **self._words(document)}, self._schema)

    def _numbers(self, document: Document) -> dict[str, Any]:
        person = document.person
        high, low = _HALVES.unpack(document.cv_id.bytes)
        profile = orjson.dumps([document.values.get(dimension, ()) for dimension in f.PROFILE_GROUPS])
        numbers = {name: self._numbers_of(name, values) for name, values in _named(document).items()}
        numbers[f.ROLE] = self._numbers_of(f.ROLE, sorted(roles(document) & self._reference.titles))
        tags = [f.tag(f.KIND, f.Kind.CV), f.tag(f.ENROLLED, int(document.enrolled))]
        tags += [f.tag(name, number) for name, of_name in numbers.items() for number in of_name]
        return {
            f.ID: document.cv_id.hex,
            f.TAG: tags,
            f.NUMBER: f.NO_CV_NUMBER if person.cv_number is None else int(person.cv_number),
            f.CHANGED: microseconds(document.changed_at),
            f.ID_HIGH: high,
            f.ID_LOW: low,
            f.TARGETS: self._targets(document),
            f.PROFILE: self._names.number(f.PROFILE, profile.decode()),
            **{name: numbers[name] for name in f.COUNTED_ALONE if name in numbers},
        }

    def _numbers_of(self, name: str, values: Iterable[str]) -> list[int]:
        vocabulary = f.VOCABULARY[name]
        return [self._names.number(vocabulary, value) for value in values]

    def _targets(self, document: Document) -> list[int]:
        flags: dict[str, int] = {}
        for bit, dimension in enumerate(f.TARGET_GROUPS):
            for name in document.values.get(dimension, ()):
                flags[name] = flags.get(name, 0) | 1 << bit
        numbers = self._numbers_of(f.ROLE, flags)
        return [
            (number << len(f.TARGET_GROUPS)) + said
            for number, said in zip(numbers, flags.values(), strict=True)
        ]

    def _words(self, document: Document) -> dict[str, list[str]]:
        """Each value is a text by itself, so that a phrase does not reach from one into the next."""
        analysed = self._reference.compounds.analysed
        found: dict[str, list[str]] = {f.UNSTEMMED: []}
        inside: dict[str, list[str]] = {f.TITLE_PART: [], f.TEXT_PART: []}
        for field, parts_field, texts in (
            (f.TARGET, f.TITLE_PART, document.person.occupation_names),
            (f.TITLE, f.TITLE_PART, document.titles),
            (f.SKILL, f.TEXT_PART, document.skills),
            (f.TEXT, f.TEXT_PART, document.texts),
        ):
            pieces = [analysed(text) for text in texts]
            found[field] = [one.stems for one in pieces]
            inside[parts_field] += [one.parts for one in pieces if one.parts]
            found[f.UNSTEMMED].append(
                f.marked(field, " ".join([one.unstemmed for one in pieces if one.unstemmed]))
            )
        return found | {field: [" ".join(parts)] for field, parts in inside.items()}


def _named(document: Document) -> dict[str, Sequence[str]]:
    """Give what has names of its own, by field."""
    person = document.person
    named: dict[str, Sequence[str]] = {f.VALUE_FIELDS[one]: values for one, values in document.values.items()}
    named[f.ORGANISATION] = [organisation_name(*one) for one in sorted(document.organisations)]
    if person.latitude is not None and person.longitude is not None:
        named[f.PLACE] = (place_name(person.latitude, person.longitude),)
    return named


def roles(document: Document) -> frozenset[str]:
    """Give the names that synonyms and broader names of occupations are looked up by."""
    return frozenset((*document.person.occupation_names, *document.titles))


def organisation_name(kind: int, code: str) -> str:
    return f"{kind} {code}"


def place_name(latitude: float, longitude: float) -> str:
    return f"{latitude!r} {longitude!r}"


@cache
def place_of(name: str) -> tuple[float, float]:
    latitude, longitude = name.split()
    return float(latitude), float(longitude)


def microseconds(time: datetime) -> int:
    """Give the whole microseconds since 1970."""
    gone = time - _EPOCH
    return (gone.days * 86_400 + gone.seconds) * 1_000_000 + gone.microseconds
