"""What the gateway shows of itself: the interface descriptions and pages to read them, without a word from the internet."""

from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from cv_contracts import asyncapi
from cv_gateway import openapi

Header = tuple[bytes, bytes]

_HTML = b"text/html; charset=utf-8"
_CONTENT_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        _CONTENT_POLICY,
    ),
)
_DOCS = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>cvhub</title><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><p style="margin:1em 2em;font-family:sans-serif"><a href="/docs/events">Events</a></p>
<div id="ui"></div><script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
"""
_START = 'SwaggerUIBundle({url: "/openapi.json", dom_id: "#ui", deepLinking: true, validatorUrl: null});\n'


@dataclass(frozen=True, slots=True)
class Page:
    """A document that never changes while the process lives."""

    content_type: bytes
    body: bytes

    def response(self) -> tuple[int, list[Header], bytes]:
        """Give status, headers and body."""
        return 200, [(b"content-type", self.content_type), *_HEADERS], self.body


@cache
def pages() -> dict[bytes, Page]:
    """Give the pages by path."""
    events = asyncapi.document()
    return {
        b"/openapi.json": Page(b"application/json", orjson.dumps(openapi.document())),
        b"/asyncapi.json": Page(b"application/json", orjson.dumps(events)),
        b"/docs": Page(_HTML, _DOCS.encode()),
        b"/docs/start.js": Page(b"text/javascript", _START.encode()),
        b"/docs/swagger-ui-bundle.js": Page(b"text/javascript", _asset("swagger-ui-bundle.js")),
        b"/docs/swagger-ui.css": Page(b"text/css", _asset("swagger-ui.css")),
        b"/docs/events": Page(_HTML, _events_page(events).encode()),
    }


def _asset(name: str) -> bytes:
    """Read an asset of Swagger UI from the package that ships it; importing the package would import more than that."""
    spec = find_spec("fastapi_offline")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("fastapi-offline, which ships Swagger UI, is not installed")
    return (Path(spec.submodule_search_locations[0]) / "static" / name).read_bytes()


def _events_page(document: dict[str, Any]) -> str:
    channels = "".join(_channel(name, channel, document) for name, channel in document["channels"].items())
    info = document["info"]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>cvhub events</title></head>\n'
        '<body style="font-family:sans-serif;max-width:60em;margin:2em auto">'
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>"
        f'<p><a href="/asyncapi.json">AsyncAPI {escape(document["asyncapi"])}</a> · <a href="/docs">Methods</a></p>'
        f"{channels}</body></html>\n"
    )


def _channel(name: str, channel: dict[str, Any], document: dict[str, Any]) -> str:
    messages = "".join(
        f"<h3>{escape(message)}</h3>"
        f'<pre style="white-space:pre-wrap">{escape(_payload(document["components"]["messages"][message]))}</pre>'
        for message in channel["messages"]
    )
    return f"<h2>{escape(name)}</h2><p>{escape(str(channel.get('description', '')))}</p>{messages}"


def _payload(message: dict[str, Any]) -> str:
    return orjson.dumps(message.get("payload"), option=orjson.OPT_INDENT_2).decode()
