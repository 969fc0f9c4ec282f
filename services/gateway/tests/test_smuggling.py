"""One request in is one request out: framing tricks are refused and never reach an owner."""

import asyncio

import httpx
import pytest

from cv_gateway.testing import Provider, call_headers
from servicekit.web.upstream_testing import ScriptedOwner

pytestmark = pytest.mark.slow

HIDDEN = b"GET /internal/citizens HTTP/1.1\r\nhost: x\r\n\r\n"

TRICKS: dict[str, tuple[str, bytes]] = {
    "length and chunks": ("content-length: 4\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "chunks and length": ("transfer-encoding: chunked\r\ncontent-length: 4\r\n", b"0\r\n\r\n" + HIDDEN),
    "two lengths": ("content-length: 0\r\ncontent-length: 44\r\n", HIDDEN),
    "a list of lengths": ("content-length: 0, 44\r\n", HIDDEN),
    "a signed length": ("content-length: +44\r\n", HIDDEN),
    "a length in hexadecimal": ("content-length: 0x2c\r\n", HIDDEN),
    "an unknown encoding": ("transfer-encoding: xchunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "chunked not last": ("transfer-encoding: chunked, gzip\r\n", b"0\r\n\r\n" + HIDDEN),
    "a space before the colon": ("transfer-encoding : chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "a folded header": ("x-a: 1\r\n transfer-encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    "a bad chunk size": ("transfer-encoding: chunked\r\n", b"-1\r\n\r\n" + HIDDEN),
    "a huge chunk size": ("transfer-encoding: chunked\r\n", b"fffffffffffffffff\r\n" + HIDDEN),
    "a bare line feed in a header": ("x-requestid: a\nx-evil: 1\r\ncontent-length: 0\r\n", HIDDEN),
    "an identity header in a trailer": (
        "transfer-encoding: chunked\r\ntrailer: x-evil\r\n",
        b"0\r\nx-evil: 1\r\nx-activeorganisation-type: 101\r\n\r\n" + HIDDEN,
    ),
    "a chunk extension with a line feed": ("transfer-encoding: chunked\r\n", b"0;a\n\r\n\r\n" + HIDDEN),
    "chunks that end with line feeds": ("transfer-encoding: chunked\r\n", b"1\na\n0\n\n" + HIDDEN),
    "an upgrade to HTTP/2": ("upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n", HIDDEN),
    "a null in a header": ("x-requestid: a\x00b\r\ncontent-length: 0\r\n", HIDDEN),
}


async def sent(client: httpx.AsyncClient, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer


def head(
    provider: Provider, extra: str, line: str = "PUT /v6/Cv HTTP/1.1", connection: str = "close"
) -> bytes:
    headers = "".join(f"{name}: {value}\r\n" for name, value in call_headers(provider.token()).items())
    return f"{line}\r\nhost: x\r\nconnection: {connection}\r\n{headers}{extra}\r\n".encode("latin-1")


@pytest.mark.parametrize("trick", TRICKS)
async def test_a_framing_trick_brings_no_second_request_to_the_owner(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner, trick: str
) -> None:
    extra, body = TRICKS[trick]
    answer = await sent(client, head(provider, extra) + body)
    assert all("/internal" not in request.line for request in registry.received)
    assert len(registry.received) <= 1
    for request in registry.received:
        assert request.header("transfer-encoding") is None
        assert request.header("x-evil") is None
        assert HIDDEN not in request.body
    assert answer == b"" or answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 4"))


async def test_no_header_of_the_caller_is_one_between_services(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    """Nor can the caller have a header of theirs left out on the way, by naming it in Connection."""
    extra = (
        "connection: close, x-civilregistrationidentifier, authorization\r\n"
        "x-deadline-ms: 999999\r\nx-forwarded-for: 10.0.0.1\r\nx-original-url: /internal/citizens\r\n"
        "x-http-method-override: DELETE\r\nx_requestid: a\r\n"
    )
    answer = await sent(client, head(provider, extra, "GET /v6/Cv HTTP/1.1"))
    assert answer.startswith(b"HTTP/1.1 200")
    [request] = registry.received
    assert request.line == "GET /v6/Cv HTTP/1.1"
    assert request.header("x-civilregistrationidentifier") == "0101010000"
    assert int(request.header("x-deadline-ms") or 0) <= 10_000
    for name in ("x-forwarded-for", "x-original-url", "x-http-method-override", "x_requestid", "x-requestid"):
        assert request.header(name) is None


@pytest.mark.parametrize(
    "target",
    ["/v6/Cv/../../internal/citizens", "/v6/Cv/%2e%2e/internal", "//internal/x", "/V6/Cv", "/v6/Cv/"],
)
async def test_a_target_that_is_written_otherwise_is_no_route(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner, target: str
) -> None:
    answer = await sent(client, head(provider, "", f"GET {target} HTTP/1.1"))
    assert answer.startswith(b"HTTP/1.1 404")
    assert registry.received == []


async def test_the_body_of_a_get_stays_here(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    request = head(provider, f"content-length: {len(HIDDEN)}\r\n", "GET /v6/Cv HTTP/1.1") + HIDDEN
    answer = await sent(client, request)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1
    assert [r.line for r in registry.received] == ["GET /v6/Cv HTTP/1.1"]


async def test_chunks_arrive_at_the_owner_as_one_body_with_a_length(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    answer = await sent(client, head(provider, "transfer-encoding: chunked\r\n") + body)
    assert answer.startswith(b"HTTP/1.1 200")
    assert registry.received[0].body == b"abcde"
    assert registry.received[0].header("content-length") == "5"


async def test_pipelined_requests_are_answered_one_after_the_other(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    one = head(provider, "", "GET /v6/Cv HTTP/1.1", "keep-alive")
    two = head(provider, "", "GET /v6/Cv/pdf HTTP/1.1")
    answer = await sent(client, one + two)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert [request.line for request in registry.received] == [
        "GET /v6/Cv HTTP/1.1",
        "GET /v6/Cv/pdf HTTP/1.1",
    ]


async def test_a_target_with_another_host_in_it_goes_to_the_same_owner(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    await sent(client, head(provider, "", "GET http://evil.test/v6/Cv HTTP/1.1"))
    assert registry.received[0].line == "GET /v6/Cv HTTP/1.1"
    assert registry.received[0].header("host") == registry.url.removeprefix("http://")
