"""XML that the schema has accepted, read as the JSON that owners take, by the tables."""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

from lxml import etree

from cv_gateway.soap.tables import NAMESPACE, Element, Kind, messages

Read = Callable[[etree._Element], Any]  # noqa: SLF001 - lxml has no other name for it

_DATE, _YEAR, _MONTH = len("2026-11-22"), len("2026"), len("--11")
_TRUE = ("true", "1")


def read(element: etree._Element) -> Any:
    """Read a valid message."""
    return _reader(element.tag.rpartition("}")[2])(element)


@cache
def _reader(name: str) -> Read:
    return _one(messages()[name])


def _one(element: Element) -> Read:
    if element.kind is not None:
        text = _VALUES[element.kind]
        return lambda found: text(found.text or "")
    if element.item is not None:
        item = _one(element.item)
        return lambda found: [item(one) for one in found]
    return _object(element)


def _object(element: Element) -> Read:
    once = {_tag(one): (one.name, _one(one)) for one in element.children if not one.repeats}
    many = {_tag(one): (one.name, _one(one)) for one in element.children if one.repeats}

    def read_object(found: etree._Element) -> dict[str, Any]:
        value: dict[str, Any] = {name: [] for name, _ in many.values()}
        for child in found:
            one = once.get(child.tag)
            if one is not None:
                value[one[0]] = one[1](child)
            else:
                name, read_one = many[child.tag]
                value[name].append(read_one(child))
        return value

    return read_object


def _tag(element: Element) -> str:
    return f"{{{NAMESPACE}}}{element.name}"


def _decimal(text: str) -> float | str:
    """Read a number; one that no number of JSON can be stays as it is written, and its owner refuses it."""
    value = float(text)
    return value if math.isfinite(value) else text


def _integer(text: str) -> int:
    """Read a whole number; `int` of a text counts the zeros before it, and takes 4,300 digits only."""
    return int(Decimal(text))


_VALUES: Mapping[Kind, Callable[[str], Any]] = {
    "string": str,
    "integer": _integer,
    "boolean": lambda text: text.strip() in _TRUE,
    "decimal": _decimal,
    "date": lambda text: text.strip()[:_DATE],
    "gYear": lambda text: text.strip()[:_YEAR],
    "gMonth": lambda text: text.strip()[:_MONTH],
    "dateTime": str.strip,
    "base64Binary": str,
}
