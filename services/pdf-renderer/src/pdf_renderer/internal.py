"""The one internal route: a document for whoever has authorised its reader. pdf-renderer decides no access."""

import base64
from typing import Final

import orjson
from fastapi import APIRouter, Request, Response

from pdf_renderer.document import LetterDocument, read
from pdf_renderer.parts import PartsDep
from servicekit.web.http import internal_only

CALLERS: Final = ("cv-registry", "cv-status")
HASH_HEADER: Final = "x-document-hash"
_PDF: Final = "application/pdf"
_JSON: Final = "application/json"
_NOT_KEPT: Final = {"cache-control": "no-store"}

router = APIRouter(prefix="/internal", dependencies=[internal_only(*CALLERS)])


@router.post("/documents")
async def document(request: Request, parts: PartsDep) -> Response:
    """Answer the PDF, or where JSON is asked for {"pdf": base 64, "hash"}. A letter has no hash."""
    asked = read(await request.body())
    as_json = _JSON in request.headers.get("accept", "")
    if isinstance(asked, LetterDocument):
        return _answer(await parts.documents.letter(asked), None, as_json=as_json)
    found = await parts.documents.get(asked)
    return _answer(found.pdf, found.hash.hex(), as_json=as_json)


def _answer(pdf: bytes, digest: str | None, *, as_json: bool) -> Response:
    headers = _NOT_KEPT if digest is None else {**_NOT_KEPT, HASH_HEADER: digest}
    if not as_json:
        return Response(pdf, media_type=_PDF, headers=headers)
    body = {"pdf": base64.b64encode(pdf).decode(), **({} if digest is None else {"hash": digest})}
    return Response(orjson.dumps(body), media_type=_JSON, headers=headers)
