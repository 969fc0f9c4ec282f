"""The SMS sink, an HTTP gateway like the real one, and the page that lists what all sinks were given."""

import hmac
import html
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from cvhub.sinks.kept import Kept, Message, Trouble
from cvhub.sinks.letters import LetterSink

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sent by cvhub</title>
<meta http-equiv="refresh" content="5"><style>body{{font:16px/1.5 system-ui;max-width:70rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;vertical-align:top;padding:.4rem;border-bottom:1px solid #888}}
pre{{white-space:pre-wrap;margin:0;font:inherit}}</style>
<h1>Sent by cvhub</h1><p>Nothing here has left this machine.</p>
<h2>Letters printed</h2><ul>{letters}</ul><h2>Mail and SMS</h2>
<table><tr><th>When<th>How<th>To<th>What</tr>{rows}</table>"""
LETTER = '<li>{at} <a href="/letters/{id}">{id}</a>'
ROW = "<tr><td>{at}<td>{channel}<td>{to}<td><b>{subject}</b><pre>{text}</pre></tr>"


class SmsSink:
    """Takes SMS for everyone and delivers none of them."""

    def __init__(self, kept: Kept, token: str) -> None:
        self._kept = kept
        self._token = token
        self.trouble: Trouble | None = None
        self.drops_answers = False
        """Takes a message and answers 500 all the same. For tests."""

    def app(self, letters: LetterSink) -> Starlette:
        """Give the web application of all sinks: letters are handed over to it too."""
        self._letters = letters
        return Starlette(
            routes=[
                *letters.routes(),
                Route("/messages", self._take, methods=["POST"]),
                Route("/sent", self._sent),
                Route("/health/ready", self._ready),
                Route("/", self._page),
            ]
        )

    async def _take(self, request: Request) -> Response:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(bearer.encode(), self._token.encode()):
            return JSONResponse({"error": "not logged in"}, 401)
        body: dict[str, Any] = await request.json()
        code = None if self.trouble is None else await self.trouble(body["to"])
        if code is not None:
            return JSONResponse({"error": "not taken"}, code)
        key = request.headers.get("idempotency-key", body["id"])
        self._kept.add(Message("sms", key, body["to"], "", body["text"]))
        return JSONResponse({"id": body["id"]}, 500 if self.drops_answers else 202)

    async def _sent(self, request: Request) -> Response:
        channel: Any = request.query_params.get("channel")
        return JSONResponse(self._kept.to_json(channel))

    async def _page(self, _request: Request) -> Response:
        rows = [{name: html.escape(str(text)) for name, text in row.items()} for row in self._kept.to_json()]
        listed = self._letters.listed()
        return HTMLResponse(
            PAGE.format(
                letters="".join(LETTER.format(**letter) for letter in listed) or "<li>None yet.",
                rows="".join(ROW.format(**row) for row in rows),
            )
        )

    async def _ready(self, _request: Request) -> Response:
        return JSONResponse({"status": "ready"})
