"""GetCvStatus as a raw ASGI route: asked for each event that a system hears of, so without a framework in between."""

from collections.abc import Mapping
from typing import Final

from cv_contracts.wire.common import PERSON_NUMBER_HEADER
from cv_status.calls import CV_NUMBER_HEADER, read_call
from cv_status.reading import GET_CV_STATUS, Reading
from servicekit.data.consistency import CONSISTENCY_HEADER
from servicekit.web.calls import caller_of
from servicekit.web.http import HotResponse
from servicekit.web.identity import ServiceVerifier

_READ: Final = {name.encode(): name for name in (PERSON_NUMBER_HEADER, CV_NUMBER_HEADER, CONSISTENCY_HEADER)}
_HEADERS: Final = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]


class GetCvStatus:
    """Answers GET /v6/Cv/cvstatus."""

    def __init__(self, reading: Reading, verifier: ServiceVerifier) -> None:
        self._reading = reading
        self._verifier = verifier

    async def __call__(self, headers: Mapping[bytes, bytes], _query: bytes) -> HotResponse:
        caller = caller_of(self._verifier, headers.get(b"authorization"))
        named = {name: headers[raw].decode("latin-1") for raw, name in _READ.items() if raw in headers}
        call = read_call(GET_CV_STATUS, caller, named)
        return 200, _HEADERS, await self._reading.get_cv_status(call)
