"""A good call reaches its owner as the specification says, and the answer comes back as it was."""

from typing import Any

import httpx
import pytest

from cv_contracts.faults import Fault, FieldError
from cv_gateway.forwarding import head_lines
from cv_gateway.testing import Provider, call_headers
from servicekit.caller import Organisation
from servicekit.web.identity import ServiceVerifier
from servicekit.web.upstream_testing import ScriptedOwner, plain

pytestmark = pytest.mark.slow


async def test_the_owners_answer_comes_back_byte_for_byte(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    body = b'{ "CVProfile" : {"x": 1.0} }'
    registry.answering = plain(
        body, "200 OK", 'etag: "7"', "x-consistency-token: abc", "x-secret: 1", "server: s"
    )
    answer = await client.get("/v6/Cv", headers=call_headers(provider.token()))
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["etag"] == '"7"'
    assert answer.headers["x-consistency-token"].startswith("abc.")
    assert "x-secret" not in answer.headers
    assert "server" not in answer.headers


async def test_the_owner_learns_who_calls_from_the_gateways_own_token(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner, verifier: ServiceVerifier
) -> None:
    answer = await client.get("/v6/Cv", headers=call_headers(provider.token()))
    assert answer.status_code == 200
    request = registry.received[0]
    assert request.line == "GET /v6/Cv HTTP/1.1"
    identity = verifier.authenticate(request.header("authorization"))
    assert identity.service == "gateway"
    assert identity.caller is not None
    assert identity.caller.active == Organisation(8, "10100")
    assert identity.caller.user.name == "Søren Test"
    assert request.header("x-civilregistrationidentifier") == "0101010000"
    assert 0 < int(request.header("x-deadline-ms") or 0) <= 10_000


async def test_the_owner_reads_the_query_of_a_method_that_has_one(
    start: Any, provider: Provider, registry: ScriptedOwner
) -> None:
    target = "/v6/Cv/versions?CVStatusIdentifier=%32"
    async with start(owners={"cv-status": registry.url}) as (_, client):
        answer = await client.get(target, headers=call_headers(provider.token()))
    assert answer.status_code == 200
    assert registry.received[0].line == f"GET {target} HTTP/1.1"


async def test_the_lines_of_a_list_reach_the_owner_as_one(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    lists = {
        "if-match": ('"1"', '"2"'),
        "if-none-match": ('"1"', "*"),
        "accept": ("application/json;q=0.5", "application/pdf"),
    }
    lines = [(name, value) for name, values in lists.items() for value in values]
    headers = [(name, value) for name, value in call_headers(provider.token()).items() if name not in lists]
    assert (await client.get("/v6/Cv", headers=[*headers, *lines])).status_code == 200
    sent = [(name, value) for name, value in registry.received[0].headers if name in lists]
    assert sent == [(name, ", ".join(values)) for name, values in lists.items()]


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_no_value_of_a_header_writes_another_line_to_the_owner(end: bytes) -> None:
    with pytest.raises(Fault) as refused:
        head_lines([(b"if-match", b'"1"' + end + b"x-smuggled: 1")], b"00-0-0-00")
    assert refused.value.errors == (FieldError("headers", "hold a line break"),)
