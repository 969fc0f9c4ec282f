"""The print service of the local stack: takes each letter once by its id, keeps it as a file to look at, sends none of them."""

import asyncio
import hmac
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args
from uuid import UUID

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

Behaviour = Literal["works", "refuses", "fails", "hangs", "loses-answers", "hangs-afterwards", "breaks"]
"""The last three take the letter first: an answer that is lost, one that never comes, and failing ever after."""
BEHAVIOURS: Final[tuple[Behaviour, ...]] = get_args(Behaviour)
HANGS_SECONDS: Final = 60.0
_AFTERWARDS: Final = ("loses-answers", "hangs-afterwards", "breaks")


class LetterSink:
    """PUT /letters/{id} takes a PDF, DELETE withdraws it or says that it is too late; GET shows. `behaviour` may be changed."""

    def __init__(self, folder: Path, token: str) -> None:
        self._folder = folder
        self._token = token
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.behaviour: Behaviour = "works"
        self.handed: list[UUID] = []
        """Each hand-over that was tried here, in order."""

    def routes(self) -> list[Route]:
        return [
            Route("/letters", self._list),
            Route("/letters/{letter:uuid}", self._show, methods=["GET"]),
            Route("/letters/{letter:uuid}", self._take, methods=["PUT"]),
            Route("/letters/{letter:uuid}", self._withdraw, methods=["DELETE"]),
            Route("/letters/behaviour", self._behave, methods=["PUT"]),
        ]

    def taken(self) -> list[Path]:
        """Give the files of all letters taken, the newest first."""
        return sorted(self._folder.glob("*.pdf"), key=lambda file: file.stat().st_mtime_ns, reverse=True)

    def listed(self) -> list[dict[str, str]]:
        return [
            {
                "id": file.stem,
                "at": datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat("T", "seconds"),
            }
            for file in self.taken()
        ]

    async def _take(self, request: Request) -> Response:
        if not self._knows(request):
            return JSONResponse({"error": "not logged in"}, 401)
        letter: UUID = request.path_params["letter"]
        pdf = await request.body()
        self.handed.append(letter)
        if self.behaviour not in _AFTERWARDS and (trouble := await self._trouble()):
            return trouble
        if not pdf.startswith(b"%PDF") or self.behaviour == "refuses":
            return JSONResponse({"error": "no letter"}, 422)
        if self._withdrawn(letter).exists():
            return JSONResponse({"id": str(letter), "state": "withdrawn"}, 410)
        self._keep(letter, pdf)
        if self.behaviour == "breaks":
            self.behaviour = "fails"
        return await self._trouble() or JSONResponse({"id": str(letter), "state": "taken"})

    async def _withdraw(self, request: Request) -> Response:
        if not self._knows(request):
            return JSONResponse({"error": "not logged in"}, 401)
        if self.behaviour not in _AFTERWARDS and (trouble := await self._trouble()):
            return trouble
        letter: UUID = request.path_params["letter"]
        if self._file(letter).exists():
            return JSONResponse({"id": str(letter), "state": "taken"}, 409)
        self._withdrawn(letter).touch(mode=0o600)
        return JSONResponse({"id": str(letter), "state": "withdrawn"})

    async def _list(self, _request: Request) -> Response:
        return JSONResponse(self.listed())

    async def _show(self, request: Request) -> Response:
        file = self._file(request.path_params["letter"])
        return FileResponse(file) if file.exists() else JSONResponse({"error": "no such letter"}, 404)

    async def _behave(self, request: Request) -> Response:
        if not self._knows(request):
            return JSONResponse({"error": "not logged in"}, 401)
        told: Any = await request.json()
        if told not in BEHAVIOURS:
            return JSONResponse({"error": f"one of {', '.join(BEHAVIOURS)}"}, 422)
        self.behaviour = told
        return JSONResponse(self.behaviour)

    async def _trouble(self) -> Response | None:
        if self.behaviour in ("hangs", "hangs-afterwards"):
            await asyncio.sleep(HANGS_SECONDS)
        if self.behaviour in ("works", "refuses"):
            return None
        return JSONResponse({"error": "not now"}, 500)

    def _knows(self, request: Request) -> bool:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(bearer.encode(), self._token.encode())

    def _keep(self, letter: UUID, pdf: bytes) -> None:
        """Write the file whole, once; a repeated letter is the same letter."""
        file = self._file(letter)
        if not file.exists():
            partial = file.with_suffix(".partial")
            partial.touch(mode=0o600)
            partial.write_bytes(pdf)
            partial.replace(file)

    def _file(self, letter: UUID) -> Path:
        return self._folder / f"{letter}.pdf"

    def _withdrawn(self, letter: UUID) -> Path:
        return self._folder / f"{letter}.withdrawn"
