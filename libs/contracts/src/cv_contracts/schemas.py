"""The JSON Schema of an event's data: what is in the value of its records, in a form that can be compared over time."""

from collections.abc import Mapping
from typing import Any

from cv_contracts.event import ENVELOPE_FIELDS, Event

Schema = Mapping[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ANNOTATIONS = frozenset({"$schema", "$id", "title", "description", "default", "examples"})


def name_of(event: type[Event]) -> str:
    """Give the event's short name, such as cv-registry.cv-changed.v1: its files and examples carry it."""
    return event.TYPE.removeprefix("dk.cvhub.")


def schema_of(event: type[Event]) -> dict[str, Any]:
    """Give the schema of the event's data. Unknown fields are allowed: a reader ignores them."""
    model = event.model_json_schema()
    return {
        "$schema": DIALECT,
        "$id": f"urn:cvhub:event:{event.TYPE}",
        "title": event.__name__,
        "description": " ".join((event.__doc__ or "").split()),
        "type": "object",
        "properties": {
            name: _without(field, {"title"})
            for name, field in model["properties"].items()
            if name not in ENVELOPE_FIELDS
        },
        "required": [name for name in model["required"] if name not in ENVELOPE_FIELDS],
    }


def shape_of(schema: Schema) -> dict[str, Any]:
    """Leave out of a schema what does not bind a reader or a writer, such as its texts."""
    shape = _without(schema, _ANNOTATIONS)
    if "properties" in shape:
        shape["properties"] = {name: shape_of(field) for name, field in shape["properties"].items()}
    return shape


def _without(schema: Schema, names: frozenset[str] | set[str]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name not in names}
