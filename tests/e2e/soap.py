"""Calling a method as SOAP, and reading the answer."""

from typing import Any

import httpx
from lxml import etree
from tests.e2e.caller import Caller, Json

from cv_contracts.methods import METHODS
from cv_gateway.soap.faults import ENVELOPE
from cv_gateway.soap.reading import read
from cv_gateway.soap.testing import call_envelope, caller_blocks

METHOD = {method.name: method for method in METHODS}


def blocks(organisation: str, **more: Any) -> dict[str, Any]:
    kind, _, code = organisation.partition(":")
    return caller_blocks(int(kind), code, **more)


async def post(caller: Caller, name: str, message: Json, **headers: str) -> httpx.Response:
    content = call_envelope(METHOD[name], message, blocks(caller.organisation, **headers))
    token = caller.system.token(caller.organisation, caller.scopes, caller.own, caller.client)
    sent = {"authorization": f"Bearer {token}", "content-type": "text/xml; charset=utf-8"}
    return await caller.http.post(f"{caller.system.url('gateway')}/soap/v6", content=content, headers=sent)


def answered(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return read(etree.fromstring(answer.content).find(f"{{{ENVELOPE}}}Body")[0])
