"""Who has the description of the interface alone can follow the feed: each field is told, and each answer has an example."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from cv_gateway.openapi import document

Json = dict[str, Any]
PATHS = ("/v1/feed/cv", "/v1/feed/cv/snapshot")
MET = [(path, status) for path in PATHS for status in ("200", "409", "410")]


def schemas() -> Json:
    found: Json = document()["components"]["schemas"]
    return {name: schema for name, schema in found.items() if name.startswith("Feed")}


def media(path: str, status: str) -> tuple[str, Json]:
    [(name, found)] = document()["paths"][path]["get"]["responses"][status]["content"].items()
    return name, found


def properties(schema: Any) -> Iterator[tuple[str, Json]]:
    """Give every property of a schema, however deep, with its name."""
    if isinstance(schema, list):
        for one in schema:
            yield from properties(one)
    elif isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
        for one in schema.values():
            yield from properties(one)


def test_each_property_is_described() -> None:
    assert schemas().keys() == {"FeedEvent", "FeedEventData", "FeedSnapshot", "FeedSnapshotItem", "FeedMoved"}
    told = [(name, schema.get("description")) for name, schema in properties(list(schemas().values()))]
    assert len(told) > 15
    assert [name for name, description in told if not description] == []
    assert all(schema.get("description") for schema in schemas().values())


@pytest.mark.parametrize(("path", "status"), MET)
def test_each_answer_has_examples_that_are_as_it_says(path: str, status: str) -> None:
    _, found = media(path, status)
    assert found["examples"]
    schema = {**found["schema"], "components": document()["components"]}
    for example in found["examples"].values():
        jsonschema.validate(example["value"], schema)


@pytest.mark.parametrize(("path", "status"), MET)
def test_answers_are_of_named_schemas(path: str, status: str) -> None:
    schema = media(path, status)[1]["schema"]
    assert "$ref" in schema.get("items", schema), json.dumps(schema)


def test_a_page_shows_an_erasure_too_which_has_no_data() -> None:
    [example] = media(PATHS[0], "200")[1]["examples"].values()
    assert [("method" in one, "data" in one) for one in example["value"]] == [(False, True), (True, False)]
