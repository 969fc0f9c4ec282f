"""The tables that all translation goes by, made once from the schema: which element holds what, and how JSON spells it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from lxml import etree

NAMESPACE = "urn:cvhub:cvservice:v6"
SCHEMA = "v6.xsd"

Kind = Literal[
    "string", "integer", "boolean", "decimal", "date", "gYear", "gMonth", "dateTime", "base64Binary"
]

_XS = "{http://www.w3.org/2001/XMLSchema}"
_COLLECTION = "CollectionType"
_KINDS: dict[str, Kind] = {
    "string": "string",
    "int": "integer",
    "integer": "integer",
    "nonNegativeInteger": "integer",
    "boolean": "boolean",
    "decimal": "decimal",
    "date": "date",
    "gYear": "gYear",
    "gMonth": "gMonth",
    "dateTime": "dateTime",
    "base64Binary": "base64Binary",
}


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a message.

    A leaf has a `kind`; a collection has the `item` that repeats in it and is an array in JSON; anything else is an
    object of its `children`, in their order. A child that repeats by itself is an array under its own name.
    """

    name: str
    required: bool
    repeats: bool
    kind: Kind | None = None
    item: "Element | None" = None
    children: tuple["Element", ...] = ()


def schema_bytes(name: str) -> bytes:
    """Give a file of the interface description as it is under version control."""
    return files(__package__).joinpath(name).read_bytes()


@cache
def messages() -> dict[str, Element]:
    """Give the global elements of the schema by name."""
    root = etree.fromstring(schema_bytes(SCHEMA))
    types = {
        str(one.get("name")): one for one in root if one.tag in (_XS + "complexType", _XS + "simpleType")
    }
    return {str(one.get("name")): _element(one, types) for one in root.iterfind(_XS + "element")}


def _element(node: etree._Element, types: dict[str, etree._Element]) -> Element:
    name, required = str(node.get("name")), node.get("minOccurs", "1") != "0"
    repeats = node.get("maxOccurs", "1") != "1"
    kind = node.get("type", "")
    definition = node.find(_XS + "complexType") if not kind else types.get(kind)
    if definition is None or definition.tag == _XS + "simpleType":
        return Element(name, required, repeats, kind=_kind(kind, types))
    children = tuple(_children(definition, types))
    if len(children) == 1 and (children[0].repeats or kind.endswith(_COLLECTION)):
        return Element(name, required, repeats, item=children[0])
    return Element(name, required, repeats, children=children)


def _children(definition: etree._Element, types: dict[str, etree._Element]) -> Iterator[Element]:
    for child in definition.iterfind(f"{_XS}sequence/{_XS}element"):
        yield _element(child, types)


def _kind(name: str, types: dict[str, etree._Element]) -> Kind:
    """Follow the restrictions down to the type of XML Schema."""
    while name in types:
        restriction = types[name].find(_XS + "restriction")
        if restriction is None:
            raise ValueError(f"{name} restricts nothing")
        name = restriction.get("base", "")
    return _KINDS[name.removeprefix("xs:")]
