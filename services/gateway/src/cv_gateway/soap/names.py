"""Lets go of the names that envelopes bring: libxml2 keeps each one it has read as long as its dictionary lives.

lxml gives one dictionary to all parsers of a thread, and from version 7 one to each parser. So what ends the old one is a new
parser, in a thread that lxml takes for one it does not know yet.
"""

import ctypes
from typing import Any, Final, cast

from lxml import etree

__all__ = ["KEPT_BYTES", "ForgetfulParser"]

KEPT_BYTES: Final = 4 * 1024 * 1024
"""After so many bytes all names go. They take at most three times as much, and the new parser a microsecond."""

_OF_THREAD: Final = "_ParserDictionaryContext"
_thread_state = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThreadState_GetDict", ctypes.pythonapi))


class ForgetfulParser:
    """Parses XML without trust: no DTD, no entities, no network, bounded depth and size; keeps a bounded number of names."""

    def __init__(self) -> None:
        self._parser = _parser()
        self._kept = 0

    def parse(self, content: bytes) -> etree._Element:
        """Give the root element; raises XMLSyntaxError."""
        self._kept += len(content)
        if self._kept > KEPT_BYTES:
            _forget_dictionary()
            self._parser, self._kept = _parser(), len(content)
        return etree.fromstring(content, self._parser)


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _forget_dictionary() -> None:
    """Make lxml begin a new dictionary in this thread; the old one goes with the last parser and document that use it."""
    state = cast("dict[str, Any]", ctypes.cast(_thread_state(), ctypes.py_object).value)
    state.pop(_OF_THREAD, None)
