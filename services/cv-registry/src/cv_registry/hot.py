"""GetCV and ReplaceCV as raw ASGI routes: the hottest read and write of the system, without a framework before the store."""

from collections.abc import Mapping
from typing import Final

from cv_contracts.faults import Fault
from cv_contracts.wire.common import PERSON_NUMBER_HEADER, is_person_number
from cv_contracts.wire.errors import bad_form
from cv_registry.calls import write_call
from cv_registry.reading import Reading
from cv_registry.replacing import METHOD as REPLACE_CV
from cv_registry.replacing import Replacing
from servicekit.data.consistency import CONSISTENCY_HEADER, parse
from servicekit.data.idempotency import REQUEST_ID_HEADER
from servicekit.web.calls import caller_of
from servicekit.web.http import HotResponse
from servicekit.web.identity import ServiceVerifier

_PERSON_NUMBER: Final = PERSON_NUMBER_HEADER.encode()
_SEEN: Final = CONSISTENCY_HEADER.encode()
_WRITTEN: Final = {
    name.encode(): name for name in (PERSON_NUMBER_HEADER, REQUEST_ID_HEADER.lower(), "if-match")
}
_JSON: Final = (b"content-type", b"application/json")
_PRIVATE: Final = (b"cache-control", b"no-store")


class GetCv:
    """Answers GET /v6/Cv."""

    def __init__(self, reading: Reading, verifier: ServiceVerifier) -> None:
        self._reading = reading
        self._verifier = verifier

    async def __call__(self, headers: Mapping[bytes, bytes], _query: bytes) -> HotResponse:
        caller = caller_of(self._verifier, headers.get(b"authorization"))
        person_number = headers.get(_PERSON_NUMBER, b"").decode("latin-1")
        if not is_person_number(person_number):
            raise Fault(1014, errors=(bad_form(PERSON_NUMBER_HEADER, person_number),))
        seen = parse(headers.get(_SEEN, b"").decode("latin-1"))
        etag, body = await self._reading.get_cv(caller, person_number, seen)
        return 200, [_JSON, _PRIVATE, (b"etag", etag.encode())], body


class ReplaceCv:
    """Answers PUT /v6/Cv."""

    def __init__(self, replacing: Replacing, verifier: ServiceVerifier) -> None:
        self._replacing = replacing
        self._verifier = verifier

    async def __call__(self, headers: Mapping[bytes, bytes], body: bytes) -> HotResponse:
        caller = caller_of(self._verifier, headers.get(b"authorization"))
        named = {name: headers[raw].decode("latin-1") for raw, name in _WRITTEN.items() if raw in headers}
        call = write_call(REPLACE_CV, caller, named)
        answer = await self._replacing.replace(call, body, named.get("if-match"))
        return (
            answer.status,
            [(name.encode(), value.encode()) for name, value in answer.headers.items()],
            answer.body,
        )
