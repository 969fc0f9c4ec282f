"""GetCV and ReplaceCV as raw ASGI routes: the hottest read and write of the system, without a framework before the store."""

from collections.abc import Mapping
from typing import Final

from cv_contracts.faults import Fault
from cv_contracts.wire.common import is_person_number
from cv_contracts.wire.errors import bad_form
from cv_registry.reading import Reading
from cv_registry.receipts import WriteCall
from cv_registry.replacing import METHOD as REPLACE_CV
from cv_registry.replacing import Replacing
from servicekit.data.consistency import parse
from servicekit.data.idempotency import wrong_request_id
from servicekit.web.calls import caller_of
from servicekit.web.http import HotResponse
from servicekit.web.identity import Caller, ServiceVerifier

PERSON_NUMBER_HEADER: Final = "x-civilregistrationidentifier"

_JSON: Final = (b"content-type", b"application/json")
_PRIVATE: Final = (b"cache-control", b"no-store")


class GetCv:
    """Answers GET /v6/Cv."""

    def __init__(self, reading: Reading, verifier: ServiceVerifier) -> None:
        self._reading = reading
        self._verifier = verifier

    async def __call__(self, headers: Mapping[bytes, bytes], _query: bytes) -> HotResponse:
        caller = caller_of(self._verifier, headers.get(b"authorization"))
        person_number = headers.get(b"x-civilregistrationidentifier", b"").decode("latin-1")
        if not is_person_number(person_number):
            raise Fault(1014, errors=(bad_form(PERSON_NUMBER_HEADER, person_number),))
        seen = parse(headers.get(b"x-consistency-token", b"").decode("latin-1"))
        etag, body = await self._reading.get_cv(caller, person_number, seen)
        return 200, [_JSON, _PRIVATE, (b"etag", etag.encode())], body


class ReplaceCv:
    """Answers PUT /v6/Cv."""

    def __init__(self, replacing: Replacing, verifier: ServiceVerifier) -> None:
        self._replacing = replacing
        self._verifier = verifier

    async def __call__(self, headers: Mapping[bytes, bytes], body: bytes) -> HotResponse:
        caller = caller_of(self._verifier, headers.get(b"authorization"))
        person_number = _text(headers.get(b"x-civilregistrationidentifier"))
        call = write_call(REPLACE_CV, caller, person_number, _text(headers.get(b"x-requestid")))
        answer = await self._replacing.replace(call, body, _text(headers.get(b"if-match")))
        return (
            answer.status,
            [(name.encode(), value.encode()) for name, value in answer.headers.items()],
            answer.body,
        )


def write_call(method: int, caller: Caller, person_number: str | None, request_id: str | None) -> WriteCall:
    """Make the call of a write method from its headers; raises fault 1014 naming those that cannot be read."""
    number = person_number or ""
    errors = [] if is_person_number(number) else [bad_form(PERSON_NUMBER_HEADER, person_number)]
    if wrong := wrong_request_id(request_id):
        errors.append(wrong)
    if errors:
        raise Fault(1014, errors=tuple(errors))
    return WriteCall(method, caller, number, request_id)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
