"""The WSDL and its schema, as they are under version control; only the address is the one that callers use."""

import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import quoteattr

from cv_gateway.pages import Page
from cv_gateway.soap.tables import SCHEMA, schema_bytes

WSDL = "v6.wsdl"
PATH = "/soap/v6"

_XML = b"text/xml; charset=utf-8"
_ADDRESS = '"http://127.0.0.1:8080/soap/v6"'
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:]{2,45}\](:[0-9]{1,5})?")


class Description:
    """Shows the interface to callers' tools; `public_url` is where they reach the gateway, if it is known."""

    def __init__(self, public_url: str | None) -> None:
        self._public_url = None if public_url is None else public_url.rstrip("/")
        self._wsdl = schema_bytes(WSDL).decode()
        self._schema = Page(_XML, schema_bytes(SCHEMA))

    def page(self, path: bytes, scope: Mapping[str, Any]) -> Page | None:
        """Give `/soap/v6?wsdl`, `/soap/v6.wsdl` or `/soap/v6.xsd`."""
        query = scope["query_string"].lower()
        if path == b"/soap/v6.xsd" or (path == PATH.encode() and query.startswith(b"xsd")):
            return self._schema
        if path == b"/soap/v6.wsdl" or (path == PATH.encode() and query == b"wsdl"):
            address = quoteattr(f"{self._public_url or _asked_at(scope)}{PATH}")
            return Page(_XML, self._wsdl.replace(_ADDRESS, address).encode())
        return None


def _asked_at(scope: Mapping[str, Any]) -> str:
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    return f"{scope['scheme']}://{host if _HOST.fullmatch(host) else '127.0.0.1:8080'}"
