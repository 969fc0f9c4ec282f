"""Every exception becomes one RFC 9457 problem, in this one place; what is not ours says nothing about itself."""

from collections.abc import Mapping
from socket import gaierror
from typing import Any

import orjson
import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from cv_contracts.faults import Fault, FieldError, Problem, Unavailable, Unexpected
from cv_contracts.wire.errors import fault_of_details
from servicekit.data.postgres import passing_trouble
from servicekit.observe.redaction import mask
from servicekit.observe.telemetry import trace_id

log = structlog.get_logger(__name__)

INVALID = 1014
_PLACES = {"body", "query", "path", "header", "cookie"}
_HTTP_TITLES = {
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    413: "Content too large",
    415: "Unsupported media type",
}
_NETWORK = (ConnectionError, TimeoutError, gaierror)


class BodyTooLarge(Problem):
    """A request body longer than the limit, which is in bytes; the connection is closed after it."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            status=413,
            kind="problem:too-large",
            title="Content too large",
            detail=f"The request body is longer than {limit} bytes",
        )

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "connection": "close"}


class Refused(Problem):
    """A refusal of the HTTP layer itself: no such route, no such method."""

    def __init__(
        self, status: int, headers: Mapping[str, str] | None = None, detail: str | None = None
    ) -> None:
        title = _HTTP_TITLES.get(status, "Bad request")
        super().__init__(status=status, kind=f"problem:http-{status}", title=title, detail=detail or title)
        self._extra = dict(headers or {})

    def headers(self) -> dict[str, str]:
        return {**self._extra, **super().headers()}


def problem_of(error: BaseException) -> Problem:
    """Say what the caller is told about an exception. A mistake of ours is logged here, by type and place."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return invalid_request(error)
        case HTTPException() | ClientDisconnect():
            return _of_http(error)
        case _ if _is_away(error):
            log.warning("dependency_unavailable", error_type=type(error).__name__)
            return Unavailable()
        case _:
            log.error("request_failed", exc_info=error)
            return Unexpected()


def problem_response(problem: Problem) -> Response:
    return Response(problem_body(problem, trace_id()), status_code=problem.status, headers=problem.headers())


def problem_body(problem: Problem, trace: str | None) -> bytes:
    return orjson.dumps(problem.body(trace))


def invalid_request(error: RequestValidationError) -> Fault:
    """Make Fault 1014 of what FastAPI found: which element and why, never what was sent."""
    fault = fault_of_details([{**found, "loc": _inside(found)} for found in error.errors()])
    return Fault(INVALID, errors=tuple(FieldError(mask(one.element), one.reason) for one in fault.errors))


def _inside(found: Mapping[str, Any]) -> tuple[int | str, ...]:
    """Give the place without FastAPI's own first part (body, query, header); broken JSON has no place."""
    location: tuple[int | str, ...] = () if found["type"] == "json_invalid" else found["loc"]
    return location[1:] if location and location[0] in _PLACES else location


def _of_http(error: HTTPException | ClientDisconnect) -> Problem:
    if isinstance(error.__cause__, Problem):
        return error.__cause__
    if isinstance(error, ClientDisconnect) or error.status_code == 400:
        return Fault(INVALID, errors=(FieldError("body", "cannot be read"),))
    if error.status_code >= 500:
        return Unavailable() if error.status_code == 503 else Unexpected()
    return Refused(error.status_code, error.headers)


def _is_away(error: BaseException) -> bool:
    """Tell trouble with a dependency, which passes; an OSError of another kind, as a missing file, is a mistake of ours."""
    return isinstance(error, _NETWORK) if isinstance(error, OSError) else passing_trouble(error) is not None
