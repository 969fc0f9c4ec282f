"""What an index of OpenSearch holds: the words as they are finished here, so it only has to split at blanks."""

from typing import Any, Final

from cv_search.port import Dimension, Document
from cv_search.reference import Reference
from cv_search.settings import MOST_PERSONS
from cv_search.tantivy_engine.mapping import microseconds, organisation_name, place_name, roles

FORMAT: Final = 5
NO_CV_NUMBER: Final = 100_000_000
CHECKPOINT: Final = "checkpoint"
WORD_FIELDS: Final = ("target", "title", "skill", "text")
PART_FIELDS: Final = ("title_part", "text_part")
TITLE_FIELDS: Final = ("target", "title", "title_part")
UNSTEMMED_FIELDS: Final = {name: f"{name}_unstemmed" for name in WORD_FIELDS}
"""Spellings that are not the stem, of each word field: only beginnings are looked for here."""
VALUE_FIELDS: Final = {dimension: f"v_{dimension.name.lower()}" for dimension in Dimension}


def settings() -> dict[str, Any]:
    """Give the body that makes an index. One shard: counts of several would not be exact, nor scores comparable."""
    words = {"type": "text", "analyzer": "whitespace"}
    parts = {**words, "index_options": "freqs"}
    unstemmed = {**words, "index_options": "docs", "norms": False}
    keyword, number = {"type": "keyword"}, {"type": "long"}
    return {
        "settings": {
            "number_of_shards": 1,
            "number_of_replicas": 0,
            # Nothing is seen before the commit that holds it.
            "refresh_interval": "-1",
            # So long the version of what was deleted is known.
            "gc_deletes": "1h",
            "max_result_window": MOST_PERSONS,
        },
        "mappings": {
            "dynamic": "strict",
            "properties": {
                "kept": {"type": "object", "enabled": False},
                "kind": keyword,
                "number": number,
                "changed": number,
                "enrolled": {"type": "boolean"},
                "organisation": keyword,
                "role": keyword,
                "place": keyword,
                "point": {"type": "geo_point"},
                **dict.fromkeys(VALUE_FIELDS.values(), keyword),
                **dict.fromkeys(WORD_FIELDS, words),
                **dict.fromkeys(PART_FIELDS, parts),
                **dict.fromkeys(UNSTEMMED_FIELDS.values(), unstemmed),
            },
        },
    }


def source(document: Document, reference: Reference) -> dict[str, Any]:
    """Write a document."""
    person = document.person
    row: dict[str, Any] = {
        "kind": "cv",
        "number": NO_CV_NUMBER if person.cv_number is None else int(person.cv_number),
        "changed": microseconds(document.changed_at),
        "enrolled": document.enrolled,
        "organisation": [organisation_name(*one) for one in sorted(document.organisations)],
        "role": sorted(roles(document) & reference.titles),
        **{VALUE_FIELDS[dimension]: values for dimension, values in document.values.items()},
        **_words(document, reference),
    }
    if person.latitude is not None and person.longitude is not None:
        row["place"] = place_name(person.latitude, person.longitude)
        row["point"] = {"lat": person.latitude, "lon": person.longitude}
    return row


def _words(document: Document, reference: Reference) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {
        name: [] for name in (*WORD_FIELDS, *PART_FIELDS, *UNSTEMMED_FIELDS.values())
    }
    for field, parts_field, texts in (
        ("target", "title_part", document.person.occupation_names),
        ("title", "title_part", document.titles),
        ("skill", "text_part", document.skills),
        ("text", "text_part", document.texts),
    ):
        for text in texts:
            words, parts, unstemmed = reference.compounds.analysed(text)
            rows[field].append(words)
            rows[parts_field].append(parts)
            rows[UNSTEMMED_FIELDS[field]].append(unstemmed)
    return rows
