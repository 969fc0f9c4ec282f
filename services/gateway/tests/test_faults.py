"""What the caller is told when the owner is away, slow or unreadable, and when the gateway itself has had enough."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from cv_contracts.faults import FAULTS, Unavailable
from cv_contracts.methods import METHOD_BY_NUMBER, METHODS, Method
from cv_gateway.soap.testing import Generator, call_envelope, caller_blocks
from cv_gateway.testing import Provider, call_headers
from servicekit.observe import metrics
from servicekit.settings import TelemetrySettings
from servicekit.testing import eventually, is_now
from servicekit.web.problems import problem_body
from servicekit.web.upstream_testing import Answering, Received, ScriptedOwner, cut, hang, plain, raw

pytestmark = pytest.mark.slow

Start = Any
AWAY = {1: 4430, 2: 4430, 3: 4430, 4: 8236}
"""The faults of the seeds for an owner that is away, by the methods that list one."""
JOBNET = {"organisation": {"type": 101, "code": "1"}, "may_act_as": []}


def jobnet_headers(provider: Provider) -> dict[str, str]:
    return call_headers(
        provider.token(**JOBNET), x_activeorganisation_type="101", x_activeorganisation_code="1"
    )


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
@pytest.mark.slow
async def test_an_owner_that_is_not_there_is_the_methods_own_fault_with_a_time_to_come_back(
    start: Start, provider: Provider, method: Method
) -> None:
    for owners in ({}, {method.owner: "http://127.0.0.1:9"}):
        async with start(owners=owners) as (_, client):
            answer = await client.request(method.verb, method.path, headers=jobnet_headers(provider))
            assert (answer.status_code, answer.json()["code"]) == (503, AWAY.get(method.number, 1011))
            assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("number", [1, 2, 3, 4, 6])
async def test_an_owner_that_cannot_answer_now_is_the_methods_own_fault_and_says_why_and_how_long(
    start: Start, provider: Provider, registry: ScriptedOwner, number: int
) -> None:
    method = METHOD_BY_NUMBER[number]
    refused = problem_body(Unavailable(7, "Its database starts again"), "0" * 32)
    registry.answering = plain(refused, "503 Service Unavailable", "retry-after: 7")
    sent = call_envelope(method, Generator(3).request(method), caller_blocks(101, "1"))
    async with start(owners={method.owner: registry.url}) as (_, client):
        headers = jobnet_headers(provider)
        answer = await client.request(method.verb, method.path, headers=headers)
        by_soap = await client.post("/soap/v6", content=sent, headers=headers)
    code, told = AWAY.get(number, 1011), json.loads(refused)
    if number in AWAY:
        told |= {"type": f"urn:cvhub:fault:{code}", "title": FAULTS[code].title, "code": code}
    assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (503, told, "7")
    assert f"<ErrorCode>{code}<" in by_soap.text
    assert by_soap.headers["retry-after"] == "7"


async def test_before_a_key_of_the_provider_is_known_a_call_is_the_methods_own_fault(
    start: Start, provider: Provider
) -> None:
    provider.published.clear()
    async with start() as (_, client):
        for method in METHODS:
            answer = await client.request(method.verb, method.path, headers=jobnet_headers(provider))
            assert (answer.status_code, answer.json()["code"]) == (503, AWAY.get(method.number, 1011))


@pytest.mark.parametrize(("answering", "code"), [(hang, 4430), (cut, 4430), (raw(b"rubbish\r\n\r\n"), 1011)])
async def test_getcv_answers_4430_for_a_silent_registry_and_1011_for_rubbish(
    start: Start, provider: Provider, registry: ScriptedOwner, answering: Answering, code: int
) -> None:
    registry.answering = answering
    limits = {"deadlines": {"GetCV": timedelta(milliseconds=200)}}
    async with start(limits=limits) as (_, client):
        answer = await client.get("/v6/Cv", headers=call_headers(provider.token()))
    assert (answer.status_code, answer.json()["code"]) == (503, code)
    assert b"0101010000" not in answer.content


async def test_a_search_answer_that_cannot_be_read_is_1002(
    start: Start, provider: Provider, registry: ScriptedOwner
) -> None:
    registry.answering = raw(b"rubbish\r\n\r\n")
    async with start(owners={"cv_search": registry.url}) as (_, client):
        answer = await client.post("/v6/Cv/search", headers=call_headers(provider.token()), content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (502, 1002)


NO_PROBLEM = {
    "a server's own 500": (
        b"500 Internal Server Error\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 5\r\n\r\nOops!",
        4430,
    ),
    "a mesh's 503": (
        b"503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 19\r\n\r\nno healthy upstream",
        4430,
    ),
    "a 502 without a word": (b"502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", 4430),
    "an empty 431": (b"431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n", 1011),
    "a page for a 404": (b"404 x\r\ncontent-type: text/html\r\ncontent-length: 3\r\n\r\n<p>", 1011),
    "a way to elsewhere": (b"302 Found\r\nlocation: http://x/\r\ncontent-length: 0\r\n\r\n", 1011),
}


@pytest.mark.parametrize("case", NO_PROBLEM)
async def test_a_refusal_that_is_no_problem_document_never_reaches_the_caller(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner, case: str
) -> None:
    answer, code = NO_PROBLEM[case]
    registry.answering = raw(b"HTTP/1.1 " + answer)
    refused = await client.get("/v6/Cv", headers=call_headers(provider.token()))
    assert (refused.status_code, refused.json()["code"]) == (503, code)
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) > 0


async def test_an_answer_that_has_not_changed_passes_through(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    registry.answering = raw(b'HTTP/1.1 304 Not Modified\r\netag: "1"\r\n\r\n')
    answer = await client.get("/v6/Cv", headers={**call_headers(provider.token()), "if-none-match": '"1"'})
    assert (answer.status_code, answer.headers["etag"]) == (304, '"1"')
    assert answer.headers.keys().isdisjoint({"content-length", "transfer-encoding"})


async def test_an_owner_that_does_not_accept_the_gateway_is_no_fault_of_the_callers_token(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    registry.answering = plain(b'{"code":1012}', "401 Unauthorized")
    for verb, code in (("GET", 4430), ("PUT", 1011)):
        answer = await client.request(verb, "/v6/Cv", headers=call_headers(provider.token()))
        assert (answer.status_code, answer.json()["code"]) == (503, code)


async def test_the_owners_own_faults_pass_through(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    registry.answering = plain(b'{"code":4753}', "409 Conflict", "retry-after: 7")
    answer = await client.get("/v6/Cv", headers=call_headers(provider.token()))
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (409, b'{"code":4753}', "7")


async def test_a_replace_is_sent_to_the_registry_once_whatever_happens(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    registry.script = [plain(), cut]
    headers = call_headers(provider.token())
    await client.get("/v6/Cv", headers=headers)
    answer = await client.put("/v6/Cv", headers=headers, content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (503, 1011)
    assert [request.line[:3] for request in registry.received] == ["GET", "PUT"]


async def test_more_requests_than_may_be_in_flight_are_turned_away_before_any_work(
    start: Start, provider: Provider, registry: ScriptedOwner
) -> None:
    registry.answering = hang
    async with start(limits={"in_flight": 3}) as (gateway, client):
        headers = call_headers(provider.token())
        held = [asyncio.create_task(client.get("/v6/Cv", headers=headers)) for _ in range(3)]
        await eventually(lambda: is_now(len(registry.received), 3))
        shed = await client.get("/v6/Cv", headers={"authorization": "Bearer x"})
        assert (shed.status_code, shed.json()["code"]) == (503, 4430)
        assert int(shed.headers["retry-after"]) > 0
        assert (await client.get("/health/live")).status_code == 200
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        await eventually(lambda: is_now(gateway._owners.lane.busy, 0))


async def test_a_caller_who_hangs_up_frees_its_place_at_the_owner(
    start: Start, provider: Provider, registry: ScriptedOwner
) -> None:
    registry.answering = hang
    async with start(limits={"connections": 1, "waiting": 0}) as (_, client):
        headers = call_headers(provider.token())
        task = asyncio.create_task(client.get("/v6/Cv", headers=headers))
        await eventually(lambda: is_now(len(registry.received), 1))
        full = await client.get("/v6/Cv", headers=headers)
        assert (full.status_code, full.json()["code"]) == (503, 4430)
        assert int(full.headers["retry-after"]) >= 1
        unread = await client.get("/v6/Cv", headers={"authorization": "Bearer x"})
        assert (unread.status_code, unread.json()["code"]) == (503, 4430)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await eventually(lambda: is_now(registry.open, 0))
        registry.answering = plain()
        assert (await client.get("/v6/Cv", headers=headers)).status_code == 200


async def test_a_caller_who_hangs_up_is_counted_with_how_long_it_waited(
    start: Start, provider: Provider, registry: ScriptedOwner
) -> None:
    registry.answering = hang
    reader = InMemoryMetricReader()
    metrics.setup("gateway", TelemetrySettings(), reader=reader)
    try:
        async with start() as (_, client):
            task = asyncio.create_task(client.get("/v6/Cv", headers=call_headers(provider.token())))
            await eventually(lambda: is_now(len(registry.received), 1))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await eventually(lambda: is_now(_served(reader, "/v6/Cv", 499), 1))
    finally:
        metrics.shutdown()


def _served(reader: InMemoryMetricReader, route: str, status: int) -> int:
    """Give how many calls have been counted with that outcome."""
    told = json.loads(data.to_json()) if (data := reader.get_metrics_data()) else {"resource_metrics": []}
    outcome = {"http.request.method": "GET", "http.route": route, "http.response.status_code": status}
    return sum(
        point["count"]
        for resource in told["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
        if metric["name"] == "http.server.request.duration"
        for point in metric["data"]["data_points"]
        if point["attributes"] == outcome
    )


async def test_the_quota_of_lookups_by_number_is_each_clients_own(
    start: Start, provider: Provider, registry: ScriptedOwner
) -> None:
    async with start(limits={"by_number": 3, "by_number_period": timedelta(hours=1)}) as (_, client):
        one = call_headers(provider.token(client_id="one"))
        statuses = [(await client.post("/v6/Cv/bynumber", headers=one)).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        refused = await client.post("/v6/Cv/bynumber", headers=one)
        assert 1100 < int(refused.headers["retry-after"]) <= 1200
        assert "code" not in refused.json()
        two = call_headers(provider.token(client_id="two"))
        assert (await client.post("/v6/Cv/bynumber", headers=two)).status_code == 200
        assert (await client.get("/v6/Cv", headers=one)).status_code == 200
    assert len(registry.received) == 5


async def test_a_body_longer_than_the_limit_is_refused_told_or_not(
    start: Start, provider: Provider, registry: ScriptedOwner
) -> None:
    async def pieces() -> Any:
        for _ in range(20):
            yield b"a" * 100

    async with start(http={"body_limit": 1000}) as (_, client):
        headers = call_headers(provider.token())
        assert (await client.put("/v6/Cv", headers=headers, content=b"a" * 1000)).status_code == 200
        assert (await client.put("/v6/Cv", headers=headers, content=b"a" * 1001)).status_code == 413
        assert (await client.put("/v6/Cv", headers=headers, content=pieces())).status_code == 413
        assert (await client.put("/v6/Cv", content=b"a" * 1001)).status_code == 401
    assert len(registry.received) == 1


async def test_a_body_that_does_not_arrive_is_waited_for_only_so_long(
    start: Start, provider: Provider, registry: ScriptedOwner
) -> None:
    async with start(limits={"body_time": timedelta(milliseconds=150)}) as (_, client):
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        headers = "".join(f"{name}: {value}\r\n" for name, value in call_headers(provider.token()).items())
        writer.write(f"PUT /v6/Cv HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n{headers}\r\n{{".encode())
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408")
    assert registry.received == []


async def test_other_paths_and_verbs_are_problems_too(client: httpx.AsyncClient, provider: Provider) -> None:
    headers = call_headers(provider.token())
    for path in ("/v6/cv", "/v6/Cv/", "/v6//Cv", "/v6/C%76", "/internal/citizens", "/v6/Cv/../Cv", "/"):
        answer = await client.get(path.replace("..", "%2e%2e"), headers=headers)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"
        assert "/docs" in answer.json()["detail"]
    for verb, path, allow in (
        ("DELETE", "/v6/Cv", "GET, PUT"),
        ("HEAD", "/v6/Cv", "GET, PUT"),
        ("POST", "/v6/Cv", "GET, PUT"),
    ):
        answer = await client.request(verb, path, headers=headers)
        assert (answer.status_code, answer.headers["allow"]) == (405, allow)


async def test_every_answer_tells_browsers_and_caches_to_keep_away(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    for answer in (
        await client.get("/v6/Cv", headers=call_headers(provider.token())),
        await client.get("/v6/Cv"),
        await client.get("/nothing"),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert len(answer.headers["x-trace-id"]) == 32


async def test_only_listed_request_headers_reach_the_owner_and_the_trace_goes_on(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    extra = {
        "traceparent": f"00-{trace}-00f067aa0ba902b7-00",
        "x-requestid": "r-1",
        "if-match": '"3"',
        "cookie": "a=b",
        "x-forwarded-for": "10.0.0.1",
        "x-deadline-ms": "999999",
        "connection": "x-requestid",
        "te": "trailers",
        "x-evil": "1",
    }
    answer = await client.put("/v6/Cv", headers={**call_headers(provider.token()), **extra}, content=b"{}")
    assert answer.headers["x-trace-id"] == trace
    request: Received = registry.received[0]
    names = {name for name, _ in request.headers}
    assert names == {
        "host", "authorization", "traceparent", "x-deadline-ms", "content-length",
        "x-civilregistrationidentifier", "x-requestid", "if-match", "accept",
    }  # fmt: skip
    assert (request.header("traceparent") or "")[3:35] == trace
    assert int(request.header("x-deadline-ms") or 0) <= 10_000


async def test_who_calls_has_no_say_in_what_is_recorded(
    client: httpx.AsyncClient, provider: Provider, registry: ScriptedOwner
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    sampled = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    await client.get("/v6/Cv", headers={**call_headers(provider.token()), **sampled})
    assert (registry.received[0].header("traceparent") or "") == f"00-{trace}-00f067aa0ba902b7-00"
