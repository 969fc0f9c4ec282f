"""JSON as owners answer it, written as XML by the tables. An answer that does not fit them is never half told."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

from cv_gateway.soap.tables import NAMESPACE, Element, Kind, messages

Add = Callable[[str], None]
Write = Callable[[Any, Add], None]
Text = Callable[[Any], str]

_SPECIAL = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]").search
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_ENTITIES |= {chr(code): "\ufffd" for code in (*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF)}
_TRANSLATION = str.maketrans(_ENTITIES)


class DoesNotFit(Exception):  # noqa: N818 - a finding about an answer
    """JSON that is not what the schema says; tells nothing of the content."""


def escape(text: str) -> str:
    """Write text as XML carries it; a character that XML cannot carry becomes the one for such."""
    return text.translate(_TRANSLATION) if _SPECIAL(text) else text


def write(name: str, value: Any) -> str:
    """Write a message by the name of its element; raises DoesNotFit."""
    parts: list[str] = []
    try:
        _writer(name)(value, parts.append)
    except (TypeError, AttributeError) as error:
        raise DoesNotFit from error
    return "".join(parts)


@cache
def _writer(name: str) -> Write:
    return _one(messages()[name], f' xmlns="{NAMESPACE}"')


def _one(element: Element, namespace: str = "") -> Write:
    begin, end = f"<{element.name}{namespace}>", f"</{element.name}>"
    if element.kind is not None:
        text = _TEXTS[element.kind]
        return lambda value, add: add(f"{begin}{text(value)}{end}")
    if element.item is not None:
        return _array(_one(element.item), begin, end, most=None if element.item.repeats else 1)
    return _object(element, begin, end)


def _array(item: Write, begin: str, end: str, most: int | None = None) -> Write:
    def write_array(value: Any, add: Add) -> None:
        if type(value) is not list or (most is not None and len(value) > most):
            raise DoesNotFit
        add(begin)
        for one in value:
            item(one, add)
        add(end)

    return write_array


def _object(element: Element, begin: str, end: str) -> Write:
    children = [(one.name, one.required, *_leaf(one), _member(one)) for one in element.children]

    def write_object(value: Any, add: Add) -> None:
        if type(value) is not dict:
            raise DoesNotFit
        left, get = len(value), value.get
        add(begin)
        for name, required, text, before, after, write_child in children:
            one = get(name)
            if one is not None:
                left -= 1
                if text is None:
                    write_child(one, add)
                else:
                    add(before + text(one) + after)
            elif required:
                raise DoesNotFit
            elif name in value:
                left -= 1
        if left:
            raise DoesNotFit
        add(end)

    return write_object


def _leaf(element: Element) -> tuple[Text | None, str, str]:
    """Give how the text of a child is written without a call of its own: there are many of them."""
    if element.kind is None or element.repeats:
        return None, "", ""
    return _TEXTS[element.kind], f"<{element.name}>", f"</{element.name}>"


def _member(element: Element) -> Write:
    return _array(_one(element), "", "") if element.repeats else _one(element)


def _string(value: Any) -> str:
    return value.translate(_TRANSLATION) if _SPECIAL(value) else value  # type: ignore[no-any-return]


def _integer(value: Any) -> str:
    if type(value) is not int:
        raise DoesNotFit
    return str(value)


def _boolean(value: Any) -> str:
    if value is True:
        return "true"
    if value is False:
        return "false"
    raise DoesNotFit


def _decimal(value: Any) -> str:
    if type(value) not in (int, float):
        raise DoesNotFit
    return format(Decimal(repr(value)), "f")


_TEXTS: Mapping[Kind, Text] = {
    "string": _string,
    "integer": _integer,
    "boolean": _boolean,
    "decimal": _decimal,
    "date": _string,
    "gYear": _string,
    "gMonth": _string,
    "dateTime": _string,
    "base64Binary": _string,
}
