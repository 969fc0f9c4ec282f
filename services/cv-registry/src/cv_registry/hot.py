"""GetCV as a raw ASGI route: the hottest read of the system, without a framework between it and the store."""

from collections.abc import Mapping
from typing import Final

from cv_contracts.faults import Fault, FieldError
from cv_contracts.wire.common import is_person_number
from cv_registry.reading import Reading
from servicekit.data.consistency import parse
from servicekit.web.http import HotResponse
from servicekit.web.identity import ServiceVerifier, require_service

GATEWAY: Final = frozenset({"gateway"})
PERSON_NUMBER_HEADER: Final = "x-civilregistrationidentifier"
NOT_A_PERSON_NUMBER: Final = FieldError(PERSON_NUMBER_HEADER, "does not have the form required")

_JSON: Final = (b"content-type", b"application/json")
_PRIVATE: Final = (b"cache-control", b"no-store")


class GetCv:
    """Answers GET /v6/Cv."""

    def __init__(self, reading: Reading, verifier: ServiceVerifier) -> None:
        self._reading = reading
        self._verifier = verifier

    async def __call__(self, headers: Mapping[bytes, bytes], _query: bytes) -> HotResponse:
        identity = require_service(self._verifier.authenticate(headers.get(b"authorization")), GATEWAY)
        if identity.caller is None:
            raise Fault(1012)
        person_number = headers.get(b"x-civilregistrationidentifier", b"").decode("latin-1")
        if not is_person_number(person_number):
            raise Fault(1014, errors=(NOT_A_PERSON_NUMBER,))
        seen = parse(headers.get(b"x-consistency-token", b"").decode("latin-1"))
        etag, body = await self._reading.get_cv(identity.caller, person_number, seen)
        return 200, [_JSON, _PRIVATE, (b"etag", etag.encode())], body
