"""Refusals as SOAP 1.1 faults: the number, the text and the places of the problem document that REST would give."""

from collections.abc import Mapping
from typing import Any

from cv_contracts.faults import Fault, FieldError, Problem
from cv_gateway.soap.writing import escape, write

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
SOURCE = "CVService"
INVALID = 1014
CONTENT_TYPE = (b"content-type", b"text/xml; charset=utf-8")

_BEGIN = f'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope xmlns:soap="{ENVELOPE}">'
_END = "</soap:Envelope>"


class EnvelopeFault(Fault):
    """An envelope that SOAP itself refuses (1014); `faultcode` is SOAP's word for why."""

    faultcode = "Client"

    def __init__(self, element: str, reason: str) -> None:
        super().__init__(INVALID, (FieldError(element, reason),))


class VersionMismatch(EnvelopeFault):
    """An envelope of another SOAP."""

    faultcode = "VersionMismatch"


class NotUnderstood(EnvelopeFault):
    """A header that must be understood and is not."""

    faultcode = "MustUnderstand"


def envelope(body: str, header: str = "") -> bytes:
    """Put a body, and a header if there is one, into an envelope."""
    head = f"<soap:Header>{header}</soap:Header>" if header else ""
    return f"{_BEGIN}{head}<soap:Body>{body}</soap:Body>{_END}".encode()


def fault_of(problem: Problem, trace_id: str) -> bytes:
    """Give the envelope for a refusal."""
    faultcode = problem.faultcode if isinstance(problem, EnvelopeFault) else None
    return fault_of_members(problem.body(trace_id), faultcode)


def fault_of_members(members: Mapping[str, Any], faultcode: str | None = None) -> bytes:
    """Give the envelope for a problem document. What has no number of its own has the one of HTTP."""
    status, title = int(members["status"]), str(members["title"])
    detail: dict[str, Any] = {"ErrorCode": members.get("code", status), "Source": SOURCE, "Message": title}
    if errors := members.get("errors"):
        detail["Errors"] = [{"Element": one["element"], "Reason": one["reason"]} for one in errors]
    if trace_id := members.get("traceId"):
        detail["TraceIdentifier"] = trace_id
    code = faultcode or ("Server" if status >= 500 else "Client")
    return envelope(
        f"<soap:Fault><faultcode>soap:{code}</faultcode><faultstring>{escape(title)}</faultstring>"
        f"<detail>{write('ServiceFault', detail)}</detail></soap:Fault>"
    )
