"""The rule for changing an event, with breaking changes planted."""

from copy import deepcopy
from typing import Any

import pytest

from cv_contracts.compatibility import breaking_changes

V1: dict[str, Any] = {
    "title": "Thing",
    "description": "A thing.",
    "type": "object",
    "properties": {
        "version": {"type": "integer", "minimum": 0},
        "change": {"type": "string", "enum": ["made", "gone"]},
        "note": {"type": "string", "maxLength": 10, "default": "-"},
        "place": {
            "type": "object",
            "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
            "required": ["x"],
        },
    },
    "required": ["version", "change"],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Set one place of the schema, or take it away with None."""
    schema = deepcopy(V1)
    *parents, last = path.split("/")
    place = schema
    for name in parents:
        place = place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return schema


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("title", "Other words"),
        ("description", "Other words."),
        ("properties/note/description", "What it is."),
        ("properties/note/default", "none"),
        ("properties/note", None),
        ("properties/more", {"type": "array", "items": {"type": "string"}}),
        ("properties/place/properties/y", None),
        ("properties/place/properties/z", {"type": "integer"}),
    ],
)
def test_texts_and_optional_fields_may_come_and_go(path: str, value: Any) -> None:
    assert breaking_changes([V1], changed(path, value)) == []
    assert breaking_changes([changed(path, value)], V1) == []


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("required", ["version", "change", "note"], "/note: required, but earlier writers may leave it out"),
        ("required", ["version"], "/change: no longer required, but earlier readers need it"),
        ("properties/version/type", "string", "/version: type was 'integer' and is 'string'"),
        ("properties/version/minimum", 1, "/version: minimum was 0 and is 1"),
        ("properties/version/minimum", None, "/version: minimum was 0 and is None"),
        ("properties/version/maximum", 9, "/version: maximum was None and is 9"),
        ("properties/note/maxLength", 5, "/note: maxLength was 10 and is 5"),
        ("properties/note/maxLength", 20, "/note: maxLength was 10 and is 20"),
        ("properties/note/pattern", "^a", "/note: pattern was None and is '^a'"),
        (
            "properties/change/enum",
            ["made", "gone", "sold"],
            "/change: earlier readers do not know the value 'sold'",
        ),
        ("properties/change/enum", ["made"], "/change: earlier writers may have written 'gone'"),
        ("properties/change/enum", None, "/change: earlier writers may have written 'made'"),
        ("properties/place/required", ["x", "y"], "/place/y: required, but earlier writers may leave it out"),
        ("properties/place/properties/x/type", "number", "/place/x: type was 'integer' and is 'number'"),
        (
            "properties/more",
            {"$ref": "#/$defs/More"},
            "/: refers to a schema elsewhere, which cannot be compared",
        ),
        ("additionalProperties", False, "/: unknown fields are refused"),
        ("type", "array", "/: type was 'object' and is 'array'"),
    ],
)
def test_a_planted_breaking_change_is_told(path: str, value: Any, told: str) -> None:
    assert told in breaking_changes([V1], changed(path, value))


def test_a_field_that_comes_back_must_be_what_it_was_in_every_earlier_version() -> None:
    without_note = changed("properties/note", None)
    other_note = changed("properties/note", {"type": "integer"})
    assert breaking_changes([without_note], other_note) == []
    assert breaking_changes([V1, without_note], other_note) != []


def test_a_change_is_told_once_however_many_versions_it_breaks() -> None:
    assert len(breaking_changes([V1, V1, V1], changed("properties/version/type", "string"))) == 1


def test_the_first_version_breaks_nothing() -> None:
    assert breaking_changes([], V1) == []
