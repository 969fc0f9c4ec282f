"""What the calls that the gateway passes on have in common: on whose behalf, under which request id, and a write's receipt."""

from collections.abc import Mapping
from typing import Annotated, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from cv_contracts.event import Event
from cv_contracts.faults import Fault
from servicekit.caller import Caller
from servicekit.data.consistency import CONSISTENCY_HEADER, ConsistencyToken
from servicekit.data.idempotency import REQUEST_ID_HEADER, FirstAnswer, wrong_request_id
from servicekit.web.http import at_once
from servicekit.web.identity import ServiceVerifier, require_service

__all__ = ["GATEWAY", "CallerDep", "caller_of", "receipt", "request_id_of", "response_of"]

GATEWAY: Final = frozenset({"gateway"})


def caller_of(verifier: ServiceVerifier, authorization: str | bytes | None) -> Caller:
    """Give on whose behalf the gateway calls; nobody else may call a public method."""
    caller = require_service(verifier.authenticate(authorization), GATEWAY).caller
    if caller is None:
        raise Fault(1012)
    return caller


def _calling(request: Request) -> Caller:
    return caller_of(request.app.state.verifier, request.headers.get("authorization"))


CallerDep = Annotated[Caller, at_once(_calling)]
"""The parameter of a public method's route that says on whose behalf the gateway calls."""


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Give the request id; raises fault 1014 for one that is empty or too long."""
    request_id = headers.get(REQUEST_ID_HEADER.lower())
    if wrong := wrong_request_id(request_id):
        raise Fault(1014, errors=(wrong,))
    return request_id


def receipt(event: Event, **more_headers: str) -> FirstAnswer:
    """Give the receipt of a write, whose message identifier is the id of its event."""
    body = {"ServiceReceipt": {"MessageIdentifier": str(event.id), "EventDate": event.time}}
    token = ConsistencyToken.of(event).encode()
    headers = {"content-type": "application/json", **more_headers, CONSISTENCY_HEADER: token}
    return FirstAnswer(200, orjson.dumps(body, option=orjson.OPT_UTC_Z), headers)


def response_of(answer: FirstAnswer) -> Response:
    """Give a write's answer as a route returns it."""
    return Response(answer.body, answer.status, dict(answer.headers))
