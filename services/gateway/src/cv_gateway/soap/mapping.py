"""The one place that says where what a message holds goes in the REST call of its method."""

from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

from cv_contracts.methods import Method
from cv_gateway.forwarding import Header
from cv_gateway.messages import messages_of

CITIZEN, CV_NUMBER = "PersonCivilRegistrationIdentifier", "CvCustomerIdentifier"
IN_HEADERS = {
    CITIZEN: b"x-civilregistrationidentifier",
    CV_NUMBER: b"x-cvcustomeridentifier",
}
JSON = (b"content-type", b"application/json")


class Mapped(NamedTuple):
    """Headers, query and body of the REST call."""

    headers: list[Header]
    query: str
    body: bytes


def mapped(method: Method, message: dict[str, Any]) -> Mapped:
    """Map a message: numbers of persons to headers, the rest to the query of a GET and else to the body.

    In the body of SetCvStatus they stay where they are: there they stand within another element.
    """
    headers = [
        (IN_HEADERS[name], message.pop(name).encode("ascii")) for name in IN_HEADERS if name in message
    ]
    if method.verb == "GET":
        return Mapped(headers, urlencode(message), b"")
    if messages_of(method).body is None:
        return Mapped(headers, "", b"")
    return Mapped([*headers, JSON], "", orjson.dumps(message))
