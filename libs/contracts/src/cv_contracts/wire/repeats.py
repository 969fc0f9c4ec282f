"""Finds elements that a JSON message has twice: the parsers keep the last one and say nothing, while XML and queries refuse them."""

import json
from collections.abc import Iterator
from typing import Any, Final

from pydantic_core import from_json, to_json

Place = tuple[int | str, ...]

_QUOTE_ESCAPED: Final = b"\\u0022"


def repeated(body: bytes) -> list[Place]:
    """Give the place of each element that its object has had before, in a message that was found valid.

    A message without any is known by its quotes: writing what the parser kept brings each of them again, also those that were
    escaped by their number, and an element that it dropped took at least two along. So nearly every message is read by the fast
    parser only, which takes about half as long as the validation.
    """
    kept = to_json(from_json(body, cache_strings="keys"))
    if kept.count(b'"') == body.count(b'"') + body.count(_QUOTE_ESCAPED):
        return []
    return list(_places(json.loads(body, object_pairs_hook=tuple), ()))


def _places(value: Any, place: Place) -> Iterator[Place]:
    """Go through what the parsers kept, where each name is an element's: an object is a tuple of its pairs, an array a list."""
    if isinstance(value, tuple):
        kept: dict[str, Any] = {}
        for name, inner in value:
            if name in kept:
                yield (*place, name)
            kept[name] = inner
        for name, inner in kept.items():
            yield from _places(inner, (*place, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _places(inner, (*place, number))
