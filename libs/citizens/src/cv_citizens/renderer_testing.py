"""For tests: a small HTTP server in pdf-renderer's place, which does what a test asks of it."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, Literal

from servicekit.web.standin_testing import StandIn, reply

__all__ = ["Mode", "Renderer", "rendering"]

Mode = Literal["ok", "slow", "busy", "killed", "unprintable", "garbage", "misunderstood"]
_STATUS = {"busy": "503 Busy", "unprintable": "500 Oops", "misunderstood": "400 What"}


class Renderer(StandIn):
    """Gives for each body a PDF of its own. `asked` are the bodies; killed: cut off in mid-answer."""

    def noted(self, path: str, body: Any) -> None:
        if path == "/internal/documents":
            self.asked.append(body)

    def answer(self, mode: str, path: str, body: Any) -> bytes:
        raw = b"[1]" if mode == "garbage" else json.dumps(self.found(path, body)).encode()
        return reply(raw, _STATUS.get(mode, "200 OK"), missing=500 if mode == "killed" else 0)

    def found(self, path: str, body: Any) -> dict[str, str]:  # noqa: ARG002 - as it is asked for
        answer = {"pdf": base64.b64encode(self.pdf_of(body)).decode()}
        return answer if body["kind"] == "letter" else {**answer, "hash": _digest(body)}

    @staticmethod
    def pdf_of(body: dict[str, Any]) -> bytes:
        return b"%PDF-1.7 " + _digest(body).encode()


def _digest(body: dict[str, Any]) -> str:
    return sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


@asynccontextmanager
async def rendering() -> AsyncIterator[Renderer]:
    """Run one during the block."""
    renderer = Renderer()
    await renderer.start()
    yield renderer
    await renderer.stop()
