"""The peer of SOAP: GetCV by spyne, with the same schema, asking the same owner. `OWNER_PORT=... KEY=... PORT=... python -m bench.spyne_service`.

It checks the message and its headers against the schema as ours does, but no token, no scope and no organisation.
"""

import asyncio
import http.client
import json
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import uvicorn

from cv_gateway.soap.tables import NAMESPACE, Element, messages
from servicekit.caller import Caller, Organisation, User
from servicekit.web.identity import ServiceSigner, load_private_key

THREADS = 4
"""More of them only wait for each other: Python runs one at a time."""
CITIZEN = "PersonCivilRegistrationIdentifier"
_PRIMITIVES = {
    "string": "Unicode",
    "integer": "Integer",
    "boolean": "Boolean",
    "decimal": "Decimal",
    "date": "Date",
    "gYear": "Unicode",
    "gMonth": "Unicode",
    "dateTime": "DateTime",
    "base64Binary": "Unicode",
}
_READ: dict[str, Callable[[Any], Any]] = {"date": date.fromisoformat, "dateTime": datetime.fromisoformat}
spyne = import_module("spyne")
models: dict[str, Any] = {}


def model(element: Element, place: str) -> Any:
    """Give spyne's type for an element of our tables."""
    if element.kind is not None:
        return getattr(spyne, _PRIMITIVES[element.kind])
    children = [(element.item, True)] if element.item else [(one, one.repeats) for one in element.children]
    members = []
    for child, repeats in children:
        made = model(child, f"{place}{child.name}")
        most = "unbounded" if repeats else 1
        least = 1 if child.required and not repeats else 0
        members.append((child.name, made.customize(min_occurs=least, max_occurs=most)))
    kind = type(spyne.ComplexModel)(
        place, (spyne.ComplexModel,), {"__namespace__": NAMESPACE, "_type_info": members}
    )
    models[place] = kind
    return kind


def _as_it_is(value: Any) -> Any:
    return value


def made_of(element: Element, place: str, value: Any) -> Any:
    """Make spyne's object of an owner's JSON."""
    if element.kind is not None:
        return _READ.get(element.kind, _as_it_is)(value)
    made = models[place]()
    if element.item is not None:
        inner = f"{place}{element.item.name}"
        setattr(made, element.item.name, [made_of(element.item, inner, one) for one in value])
        return made
    for child in element.children:
        given = value.get(child.name)
        if given is None:
            continue
        inner = f"{place}{child.name}"
        one = (
            [made_of(child, inner, each) for each in given] if child.repeats else made_of(child, inner, given)
        )
        setattr(made, child.name, one)
    return made


def application() -> Any:
    asked, answered = messages()["GetCV"], messages()["GetCVResponse"]
    request, response = model(asked, "GetCV"), model(answered, "GetCVResponse")
    headers = tuple(
        model(messages()[name], name) for name in ("ActiveOrganisationHeader", "RequestUserMetadataHeader")
    )
    owner = Owner()

    def get_cv(_context: Any, message: Any) -> Any:
        return made_of(answered, "GetCVResponse", owner.get_cv(getattr(message, CITIZEN)))

    get_cv.__name__ = "GetCV"
    decorated = spyne.rpc(request, _returns=response, _body_style="bare", _in_header=headers)(get_cv)
    service = type("CVService", (spyne.Service,), {"GetCV": decorated})
    soap = import_module("spyne.protocol.soap").Soap11
    return spyne.Application([service], NAMESPACE, in_protocol=soap(validator="lxml"), out_protocol=soap())


class Owner:
    """The owner of GetCV, by one connection per thread."""

    def __init__(self) -> None:
        self._signer = ServiceSigner("gateway", load_private_key(Path(os.environ["KEY"])))
        jobnet = Organisation(101, "1")
        user = User("Søren Test", 2, "user-1")
        self._caller = Caller("client-1", jobnet, jobnet, jobnet, user)
        self._connections = threading.local()

    def get_cv(self, person: str) -> Any:
        connection = getattr(self._connections, "one", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["OWNER_PORT"]))
            self._connections.one = connection
        token = self._signer.token("cv-registry", self._caller)
        headers = {"authorization": f"Bearer {token}", "x-civilregistrationidentifier": person}
        connection.request("GET", "/v6/Cv", headers=headers)
        return json.loads(connection.getresponse().read())


Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Served:
    """spyne speaks WSGI: each request in one of a few threads, its body read whole before."""

    def __init__(self) -> None:
        self._wsgi = import_module("spyne.server.wsgi").WsgiApplication(application())
        self._threads = ThreadPoolExecutor(THREADS)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if scope["method"] == "GET":
            status, content = 200, b"{}"
        else:
            loop = asyncio.get_running_loop()
            status, content = await loop.run_in_executor(self._threads, self._call, body)
        headers = [(b"content-type", b"text/xml"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _call(self, body: bytes) -> tuple[int, bytes]:
        statuses: list[str] = []

        def start(status: str, _headers: Any, _error: Any = None) -> None:
            statuses.append(status)

        environment = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/",
            "QUERY_STRING": "",
            "CONTENT_TYPE": "text/xml; charset=utf-8",
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(body),
        }
        parts: Iterable[bytes] = self._wsgi(environment, start)
        content = b"".join(parts)
        return int(statuses[0].split()[0]), content


if __name__ == "__main__":
    uvicorn.run(
        Served(),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
