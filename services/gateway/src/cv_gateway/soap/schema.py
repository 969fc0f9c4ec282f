"""The compiled schema: what of a message it refuses, named as the REST interface names it, never with what was sent."""

import re
from collections.abc import Iterator

from lxml import etree

from cv_contracts.faults import FieldError
from cv_contracts.wire.errors import BODY, ERRORS_MAX
from cv_gateway.soap.tables import SCHEMA, Element, messages, schema_bytes

SIBLINGS_MAX = 1_000
"""So often an element may repeat in what is read: several times what owners take."""
_REASONS = {
    "SCHEMAV_CVC_PATTERN_VALID": "does not have the form required",
    "SCHEMAV_CVC_ENUMERATION_VALID": "is not one of the values allowed",
    "SCHEMAV_CVC_MAXLENGTH_VALID": "is longer than allowed",
    "SCHEMAV_CVC_MINLENGTH_VALID": "is shorter than allowed",
    "SCHEMAV_CVC_MAXINCLUSIVE_VALID": "is out of range",
    "SCHEMAV_CVC_DATATYPE_VALID_1_2_1": "is not a value of its type",
    "SCHEMAV_CVC_COMPLEX_TYPE_3_2_1": "has an attribute that is not known here",
    "SCHEMAV_CVC_COMPLEX_TYPE_2_3": "holds text between its elements",
    "SCHEMAV_CVC_TYPE_3_1_1": "has an attribute that is not known here",
    "SCHEMAV_CVC_TYPE_3_1_2": "holds elements in place of a value",
    "SCHEMAV_CVC_ELT_3_1": "cannot be nil",
}
_UNEXPECTED = "SCHEMAV_ELEMENT_CONTENT"
_EXPECTED = re.compile(r"(Missing child element\(s\)\. )?Expected is (?:one of )?\( (.*) \)\.$")
_NAME = re.compile(r"\{[^}]*\}([A-Za-z-]+)")
_STEP = re.compile(r"/\*(?:\[([0-9]+)\])?")


class Schema:
    """The schema, compiled. Not for two threads at once."""

    def __init__(self) -> None:
        # libxml2 finds the place of each error by counting its siblings: many errors side by side would take seconds.
        text = schema_bytes(SCHEMA).replace(b'maxOccurs="unbounded"', b'maxOccurs="%d"' % SIBLINGS_MAX)
        self._compiled = etree.XMLSchema(etree.fromstring(text))

    def accepts(self, element: etree._Element) -> bool:
        """Tell whether an element and all in it are valid."""
        return bool(self._compiled.validate(element))

    def errors(self, element: etree._Element) -> tuple[FieldError, ...]:
        """Tell what is wrong with an element that was not accepted just now, each place once."""
        found: dict[str, FieldError] = {}
        for entry in self._compiled.error_log:
            error = _error(entry, element)
            found.setdefault(error.element, error)
            if len(found) == ERRORS_MAX:
                break
        return tuple(found.values())


def _error(entry: etree._LogEntry, root: etree._Element) -> FieldError:
    place, known = _place(entry.path or "", root)
    if entry.type_name != _UNEXPECTED:
        return FieldError(place, _REASONS.get(entry.type_name, "is not valid"))
    expected = _EXPECTED.search(entry.message)
    if expected is None:
        return FieldError(
            place, "is not expected here" if known else "holds an element that is not known here"
        )
    names = ", ".join(_NAME.findall(expected.group(2)))
    if expected.group(1):
        return FieldError(place, f"lacks {names}")
    what = "is not expected here" if known else "holds an element that is not expected"
    return FieldError(place, f"{what}; expected: {names}")


def _place(path: str, root: etree._Element) -> tuple[str, bool]:
    """Spell a place in a message as JSON would; stop at an element that the schema does not have there, and tell so."""
    known: Element | None = messages().get(_name(root))
    found, place = root, ""
    for position in _positions(path):
        if known is None:
            return place or BODY, False
        found = found[position]
        if known.item is not None:
            known = known.item if known.item.name == _name(found) else None
            place += f"[{position}]" if known else ""
            continue
        known = next((one for one in known.children if one.name == _name(found)), None)
        if known is not None:
            place += f".{known.name}" if place else known.name
            if known.repeats:
                place += f"[{len(list(found.itersiblings(found.tag, preceding=True)))}]"
    return place or BODY, known is not None


def _positions(path: str) -> Iterator[int]:
    """Give which child each step of libxml2's path goes to, the root's own step left out."""
    for step in list(_STEP.finditer(path))[1:]:
        yield int(step.group(1) or 1) - 1


def _name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]
