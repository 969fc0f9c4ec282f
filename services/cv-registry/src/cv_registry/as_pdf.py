"""GetCVAsPdf: the CV as it is now, as a document in base 64 or as the PDF itself."""

import base64
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from cv_citizens.documents import Documents
from cv_contracts.methods import METHOD_BY_NUMBER
from cv_registry.reading import Reading, access_row
from cv_registry.store_cvs import ReadableCv
from servicekit.caller import Caller
from servicekit.data.access_log import AccessLog
from servicekit.data.consistency import ConsistencyToken

METHOD: Final = 2
UNREACHABLE: Final = METHOD_BY_NUMBER[METHOD].unreachable_fault
JSON: Final = "application/json"
PDF: Final = "application/pdf"


@dataclass(frozen=True, slots=True)
class Shown:
    """One form of the answer; each form has an ETag of its own."""

    media_type: str
    etag: str
    body: bytes = field(repr=False)


class AsPdf:
    """Answers GetCVAsPdf. No document leaves before its access row."""

    def __init__(self, reading: Reading, documents: Documents, access_log: AccessLog) -> None:
        self._reading = reading
        self._documents = documents
        self._access_log = access_log

    async def __call__(
        self, caller: Caller, person_number: str, seen: ConsistencyToken, *, as_pdf: bool
    ) -> Shown:
        """Answer method 2, or raise the first fault that applies."""
        cv, with_address = await self._reading.readable(METHOD, caller, person_number, seen, unknown=4103)
        document = await self._documents.get(self._document(cv, with_address=with_address), UNREACHABLE)
        await self._access_log.record(access_row(cv, "GetCVAsPdf", caller))
        if as_pdf:
            return Shown(PDF, f'"{document.hash}"', base64.b64decode(document.base64))
        municipality = self._reading.municipality(cv)
        code = orjson.loads(municipality)["MunicipalityCode"]
        body = b'{"Municipality":%b,"GetCVAsPdfResult":"%b"}' % (municipality, document.base64.encode())
        return Shown(JSON, f'"{document.hash}.{code}"', body)

    def _document(self, cv: ReadableCv, *, with_address: bool) -> dict[str, Any]:
        return {
            "kind": "cv",
            "personId": str(cv.citizen.person_id),
            "cvId": str(cv.citizen.cv_id),
            "timestamp": cv.revised_at,
            "content": orjson.Fragment(self._reading.profile(cv, with_address=with_address)),
        }


def wants_pdf(accept: str) -> bool:
    """Tell whether Accept prefers the PDF itself; the seed's form is given to whoever says nothing of it."""
    quality: dict[str, float] = {}
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        quality[media] = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                with suppress(ValueError):
                    quality[media] = float(parameter[2:])
    return quality.get(PDF, 0.0) > quality.get(JSON, 0.0)


def is_known(etag: str, if_none_match: str) -> bool:
    """Tell whether If-None-Match names what would be answered, by the weak comparison of RFC 9110 13.1.2."""
    known = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return etag in known or "*" in known
