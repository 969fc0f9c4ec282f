"""Every message has the seed's elements, in the seed's order and with its cardinality (wire_elements.txt)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cv_contracts import wire

OUTLINE = Path(__file__).with_name("wire_elements.txt")


def _messages() -> dict[str, list[str]]:
    messages: dict[str, list[str]] = {}
    for line in OUTLINE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            messages[line[3:]] = current = []
        elif line:
            current.append(line)
    return messages


MESSAGES = _messages()


def _outline(node: dict[str, Any], defs: dict[str, Any], depth: int = 0) -> Iterator[str]:
    node = _resolved(node, defs)
    if node.get("type") == "array":
        yield from _outline(node.get("items", {}), defs, depth)
    for name, child in node.get("properties", {}).items():
        occurs = "1" if name in node.get("required", []) else "0-1"
        many = " []" if _resolved(child, defs).get("type") == "array" else ""
        yield f"{'  ' * depth}{name} {occurs}{many}"
        yield from _outline(child, defs, depth + 1)


def _resolved(node: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in node:
        node = next(one for one in node["anyOf"] if one.get("type") != "null")
    return defs[node["$ref"].split("/")[-1]] if "$ref" in node else node


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_has_the_seeds_elements(name: str) -> None:
    schema = getattr(wire, name).model_json_schema(by_alias=True)
    assert list(_outline(schema, schema.get("$defs", {}))) == MESSAGES[name]


def test_all_messages_are_in_the_outline() -> None:
    public = {name for name in wire.__all__ if name.endswith(("Request", "Response", "Query"))} - {"Query"}
    assert set(MESSAGES) == public
