"""The fields of the index. All numbers are signed, for a term of a signed field is always what it looks like."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from tantivy import Schema, SchemaBuilder

from cv_search.port import Dimension

FORMAT: Final = 7
"""Raised when fields, or what they hold, change: an index of another format is built anew."""

ID: Final = "id"
TAG: Final = "tag"
"""All numbers that are looked for, each with what it is a number of. One field for all: tantivy fills a megabyte of tables
for each field it looks in, with every commit and merge."""
KIND: Final = "kind"
KEPT: Final = "kept"
"""What is read back of a name or a checkpoint: JSON."""
NUMBER: Final = "number"
CHANGED: Final = "changed"
"""Microseconds since 1970."""
ENROLLED: Final = "enrolled"
PLACE: Final = "place"
ORGANISATION: Final = "organisation"
ROLE: Final = "role"
"""Every occupation the CV names in a title."""
ID_HIGH: Final = "id_high"
ID_LOW: Final = "id_low"

TARGET: Final = "target"
TITLE: Final = "title"
SKILL: Final = "skill"
TEXT: Final = "text"
TITLE_PART: Final = "title_part"
TEXT_PART: Final = "text_part"
WORD_FIELDS: Final = (TARGET, TITLE, SKILL, TEXT)
PART_FIELDS: Final = (TITLE_PART, TEXT_PART)
TITLE_FIELDS: Final = (TARGET, TITLE, TITLE_PART)
UNSTEMMED: Final = "unstemmed"
"""Spellings that are not the stem, each behind a mark of its word field: only beginnings are looked for here."""

NO_CV_NUMBER: Final = 100_000_000
"""Stands behind every CV number."""

VALUE_FIELDS: Final = {dimension: f"v_{dimension.name.lower()}" for dimension in Dimension}

COUNTED: Final = (Dimension.COMPETENCE, Dimension.LANGUAGE, Dimension.LICENCE, Dimension.CITY)
"""Groups that are counted by their own field."""
TARGETS: Final = "targets"
"""An occupation and what the CV says of it: the three groups of occupations are counted in one go."""
TARGET_GROUPS: Final = (Dimension.OCCUPATION, Dimension.WITH_EDUCATION, Dimension.WITH_EXPERIENCE)
PROFILE: Final = "profile"
"""One number for the values of five groups with few values, which are counted in one go too."""
PROFILE_GROUPS: Final = (
    Dimension.EDUCATION_LEVEL,
    Dimension.CONDITION,
    Dimension.EMPLOYMENT,
    Dimension.WORK_TIME,
    Dimension.WORK_START,
)

VOCABULARY: Final = {
    **{VALUE_FIELDS[dimension]: dimension.name.lower() for dimension in Dimension},
    **{
        VALUE_FIELDS[one]: "occupation"
        for one in (
            Dimension.OCCUPATION,
            Dimension.WITH_EDUCATION,
            Dimension.WITH_EXPERIENCE,
            Dimension.WITHOUT_EDUCATION,
            Dimension.WITHOUT_EXPERIENCE,
        )
    },
    ROLE: "occupation",
    PROFILE: PROFILE,
    PLACE: "place",
    ORGANISATION: "organisation",
}
"""Which names the numbers of a field stand for."""

COUNTED_ALONE: Final = (PLACE, *(VALUE_FIELDS[dimension] for dimension in COUNTED))
"""Named values that are counted, so that their numbers are columns too."""
TAGGED: Final = (KIND, ENROLLED, PLACE, ORGANISATION, ROLE, *VALUE_FIELDS.values())
"""What there are tags of. The order is part of the format."""
_TAGS: Final = {name: place << 32 for place, name in enumerate(TAGGED)}


def tag(name: str, number: int) -> int:
    """Give the number by which a number of one of the tagged is looked for."""
    return _TAGS[name] + number


def tags(name: str, numbers: Iterable[int]) -> list[int]:
    """Give the tags of several numbers of one of the tagged."""
    first = _TAGS[name]
    return [first + number for number in numbers]


def marked(name: str, words: str) -> str:
    """Give the terms of words of a word field, or of beginnings of some, as UNSTEMMED has them."""
    mark = WORD_FIELDS.index(name)
    return f"{mark}{words.replace(' ', f' {mark}')}" if words else ""


class Kind(IntEnum):
    """What a document of the index is."""

    CV = 0
    NAME = 1
    CHECKPOINT = 2


def schema() -> Schema:
    """Build the schema."""
    builder = SchemaBuilder()
    builder.add_text_field(ID, tokenizer_name="raw", index_option="basic")
    builder.add_bytes_field(KEPT, stored=True)
    builder.add_integer_field(TAG, indexed=True)
    for name in (NUMBER, CHANGED, ID_HIGH, ID_LOW, TARGETS, PROFILE, *COUNTED_ALONE):
        builder.add_integer_field(name, fast=True)
    for name in WORD_FIELDS:
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="position")
    for name in PART_FIELDS:
        builder.add_text_field(name, tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field(UNSTEMMED, tokenizer_name="whitespace", index_option="basic")
    return builder.build()
