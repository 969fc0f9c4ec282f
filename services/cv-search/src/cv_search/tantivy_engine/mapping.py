"""From a document of the port to one of tantivy."""

import struct
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Final

import orjson
import tantivy

from cv_search.port import Document
from cv_search.reference import Reference
from cv_search.tantivy_engine import fields as f
from cv_search.tantivy_engine.names import Names

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HALVES: Final = struct.Struct(">qq")


class Mapping:
    """Writes documents of one index."""

    def __init__(self, names: Names, reference: Reference) -> None:
        self._names = names
        self._reference = reference

    def document(self, document: Document) -> tantivy.Document:
        person = document.person
        row = tantivy.Document()
        row.add_text(f.ID, document.cv_id.hex)
        high, low = _HALVES.unpack(document.cv_id.bytes)
        number = f.NO_CV_NUMBER if person.cv_number is None else int(person.cv_number)
        for name, value in (
            (f.KIND, f.Kind.CV),
            (f.NUMBER, number),
            (f.CHANGED, microseconds(document.changed_at)),
            (f.ENROLLED, int(document.enrolled)),
            (f.ID_HIGH, high),
            (f.ID_LOW, low),
        ):
            row.add_integer(name, value)
        self._add_names(row, document)
        self._add_words(row, document)
        return row

    def _add_names(self, row: tantivy.Document, document: Document) -> None:
        person = document.person
        for dimension, values in document.values.items():
            self._add(row, f.VALUE_FIELDS[dimension], values)
        self._add_packed(row, document)
        self._add(row, f.ORGANISATION, (organisation_name(*one) for one in sorted(document.organisations)))
        self._add(row, f.ROLE, sorted(roles(document) & self._reference.titles))
        if person.latitude is not None and person.longitude is not None:
            self._add(row, f.PLACE, (place_name(person.latitude, person.longitude),))

    def _add_packed(self, row: tantivy.Document, document: Document) -> None:
        values = document.values
        flags: dict[str, int] = {}
        for bit, dimension in enumerate(f.TARGET_GROUPS):
            for name in values.get(dimension, ()):
                flags[name] = flags.get(name, 0) | 1 << bit
        for name, said in flags.items():
            number = self._names.number(f.VOCABULARY[f.ROLE], name)
            row.add_integer(f.TARGETS, (number << len(f.TARGET_GROUPS)) + said)
        profile = [values.get(dimension, ()) for dimension in f.PROFILE_GROUPS]
        self._add(row, f.PROFILE, (orjson.dumps(profile).decode(),))

    def _add(self, row: tantivy.Document, field: str, names: Iterable[str]) -> None:
        vocabulary = f.VOCABULARY[field]
        for name in names:
            row.add_integer(field, self._names.number(vocabulary, name))

    def _add_words(self, row: tantivy.Document, document: Document) -> None:
        """Each value is added by itself, so that a phrase does not reach from one into the next."""
        analysed = self._reference.compounds.analysed
        inside: dict[str, list[str]] = {f.TITLE_PART: [], f.TEXT_PART: []}
        for field, parts_field, texts in (
            (f.TARGET, f.TITLE_PART, document.person.occupation_names),
            (f.TITLE, f.TITLE_PART, document.titles),
            (f.SKILL, f.TEXT_PART, document.skills),
            (f.TEXT, f.TEXT_PART, document.texts),
        ):
            for text in texts:
                words, parts = analysed(text)
                row.add_text(field, words)
                if parts:
                    inside[parts_field].append(parts)
        for field, found in inside.items():
            row.add_text(field, " ".join(found))


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
