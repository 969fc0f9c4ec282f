"""The HTTP edge, called as an ASGI application: problems, limits, deadlines, hot routes."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping
from datetime import timedelta
from typing import Annotated, Any

import asyncpg
import httpx
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from structlog.testing import capture_logs

from cv_contracts.faults import Fault, TooMany
from servicekit.observe.telemetry import current_traceparent
from servicekit.settings import HttpSettings
from servicekit.web.health import Health
from servicekit.web.http import (
    HotResponse,
    Routes,
    at_once,
    identity,
    install,
    internal_only,
    remaining_seconds,
)
from servicekit.web.identity import ServiceIdentity, ServiceSigner, ServiceVerifier, generate_key, public_key

SECRET = "0101011234"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    age: int = Field(alias="Age")
    name: str = Field(alias="Name", max_length=5, default="")

    @field_validator("name")
    @classmethod
    def no_digits(cls, value: str) -> str:
        if any(c.isdigit() for c in value):
            raise ValueError(f"'{value}' has digits")
        return value


class Outer(BaseModel):
    people: list[Inner] = Field(alias="People")


def fastapi_app(verifier: ServiceVerifier) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None)
    install(app, verifier)
    add_failing_routes(app)
    add_routes_with_bodies(app)
    add_internal_routes(app)
    return app


def add_failing_routes(app: FastAPI) -> None:
    errors: dict[str, Exception] = {
        "fault": Fault(4405),
        "too-many": TooMany(7),
        "mistake": RuntimeError(SECRET),
        "http-503": HTTPException(503, SECRET),
        "statement-timeout": asyncpg.QueryCanceledError(SECRET),
        "connection-lost": asyncpg.ConnectionDoesNotExistError(SECRET),
        "database-starting": asyncpg.CannotConnectNowError(SECRET),
        "pool-closing": asyncpg.InterfaceError("pool is closing"),
        "refused": ConnectionRefusedError(SECRET),
        "acquire-timeout": TimeoutError(SECRET),
        "misuse": asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
    }

    @app.get("/raise/{kind}")
    async def raise_it(kind: str) -> None:
        raise errors[kind]

    @app.get("/slow")
    async def slow() -> None:
        await asyncio.Event().wait()

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"begun"
            raise RuntimeError(SECRET)

        return StreamingResponse(parts())


def add_routes_with_bodies(app: FastAPI) -> None:
    @app.post("/people")
    async def people(body: Outer) -> dict[str, int]:
        return {"count": len(body.people)}

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    @app.get("/validate")
    async def validate() -> None:
        Inner.model_validate({"Age": SECRET + "x"})


def add_internal_routes(app: FastAPI) -> None:
    @app.get("/who")
    async def who(service: Annotated[ServiceIdentity, at_once(identity)]) -> str:
        return service.service

    @app.get("/internal")
    async def internal(service: Annotated[ServiceIdentity, internal_only("operator")]) -> str:
        return service.service


class World:
    """A service and clients of it."""

    def __init__(self) -> None:
        self.signers = {}
        trusted = {}
        for service in ("gateway", "operator"):
            pem, raw = generate_key()
            trusted[service] = public_key(raw)
            self.signers[service] = ServiceSigner(service, _private(pem))
        app = fastapi_app(ServiceVerifier("cv-registry", trusted))
        settings = HttpSettings(body_limit=1000, request_timeout=timedelta(milliseconds=300))
        self.routes = Routes(app, settings, Health())
        self.routes.add("GET", "/hot", self.hot)
        self.routes.add("PUT", "/hot", self.taken)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.routes), base_url="http://service", timeout=5
        )

    async def hot(self, headers: Mapping[bytes, bytes], query: bytes) -> HotResponse:
        if query == b"slow":
            await asyncio.Event().wait()
        if query == b"fault":
            raise Fault(1010)
        if query == b"mistake":
            raise RuntimeError(SECRET)
        seen = {
            "trace": current_traceparent(),
            "left": remaining_seconds(),
            "agent": headers[b"user-agent"].decode(),
        }
        return 200, [(b"content-type", b"application/json")], json.dumps(seen).encode()

    async def taken(self, _headers: Mapping[bytes, bytes], body: bytes) -> HotResponse:
        return 200, [], b"%d %b" % (len(body), body[:3])


def _private(pem: bytes) -> Ed25519PrivateKey:
    key = load_pem_private_key(pem, password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


@pytest.fixture(autouse=True)
def entries() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as captured:
        yield captured


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with made.client:
        yield made


async def _in_parts(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_hot_route_is_given_the_whole_body_of_a_write(world: World) -> None:
    for content in (b"", b"abc", b"x" * 1000):
        answer = await world.client.put("/hot", content=content)
        assert answer.content == b"%d %b" % (len(content), content[:3])
    answer = await world.client.put("/hot?query", content=_in_parts(b"ab", b"", b"c" * 900))
    assert answer.content == b"902 abc"


async def test_a_hot_route_is_not_given_a_body_over_the_limit(world: World) -> None:
    for content in (b"x" * 1001, _in_parts(b"x" * 600, b"x" * 600)):
        answer = await world.client.put("/hot", content=content)
        assert answer.status_code == 413
        assert answer.headers["connection"] == "close"


async def test_a_caller_of_a_hot_route_who_hangs_up_is_no_mistake_of_ours(world: World) -> None:
    scope = {"type": "http", "method": "PUT", "path": "/hot", "query_string": b"", "headers": []}
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    with structlog.testing.capture_logs() as logs:
        await world.routes(scope, receive, send)
    assert sent[0]["status"] == 400
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


async def test_a_body_that_never_ends_meets_the_deadline_of_a_hot_route(world: World) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    answer = await world.client.put("/hot", content=slowly())
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


async def test_a_fault_is_answered_as_a_problem_with_code_text_and_trace(world: World) -> None:
    answer = await world.client.get("/raise/fault", headers={"traceparent": TRACEPARENT})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == 4405
    assert body["title"]
    assert body["detail"]
    assert body["traceId"] == TRACEPARENT[3:35]


async def test_a_call_without_a_trace_gets_one_of_its_own(world: World) -> None:
    first, second = [(await world.client.get("/raise/fault")).json()["traceId"] for _ in range(2)]
    assert len(first) == 32
    assert first != second


async def test_too_many_says_when_to_come_again(world: World) -> None:
    answer = await world.client.get("/raise/too-many")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert "code" not in answer.json()


@pytest.mark.parametrize("path", ["/raise/mistake", "/raise/misuse", "/hot?mistake"])
async def test_a_mistake_of_ours_is_1011_logged_once_and_says_nothing_about_itself(
    world: World, path: str, entries: list[MutableMapping[str, Any]]
) -> None:
    answer = await world.client.get(path)
    assert answer.status_code == 500
    assert answer.json()["code"] == 1011
    assert SECRET not in answer.text
    assert "RuntimeError" not in answer.text
    assert [entry["event"] for entry in entries] == ["request_failed"]


@pytest.mark.parametrize(
    "kind",
    [
        "statement-timeout",
        "connection-lost",
        "database-starting",
        "pool-closing",
        "refused",
        "acquire-timeout",
        "http-503",
    ],
)
async def test_a_dependency_that_is_away_is_503_with_retry_after(world: World, kind: str) -> None:
    answer = await world.client.get(f"/raise/{kind}")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert SECRET not in answer.text


async def test_a_body_that_breaks_the_rules_is_1014_naming_the_elements_and_never_the_input(
    world: World,
) -> None:
    body = {
        "People": [{"Age": SECRET + "x"}, {"Age": 1, "Name": SECRET, SECRET: 1}, {"Age": 1, "Name": "zq1"}]
    }
    answer = await world.client.post("/people", json=body)
    assert answer.status_code == 400
    assert answer.json()["code"] == 1014
    elements = [error["element"] for error in answer.json()["errors"]]
    assert elements[:2] == ["People[0].Age", "People[1].Name"]
    assert "People[2].Name" in elements
    assert all(error["reason"] for error in answer.json()["errors"])
    assert SECRET not in answer.text
    assert "zq1" not in answer.text


@pytest.mark.parametrize("body", [b"{oops 0101011234", b"\xff\xfe", b"[1,2", b'{"People": NaN}', b""])
async def test_a_body_that_is_not_json_is_1014(world: World, body: bytes) -> None:
    answer = await world.client.post("/people", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["code"] == 1014
    assert "0101011234" not in answer.text


async def test_what_our_own_code_cannot_read_is_a_mistake_of_ours_and_not_the_callers(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await world.client.get("/validate")
    assert (answer.status_code, answer.json()["code"]) == (500, 1011)
    assert SECRET not in answer.text + capsys.readouterr().out


async def test_no_such_route_and_no_such_method_are_problems(world: World) -> None:
    missing = await world.client.get(f"/{SECRET}")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    assert SECRET not in missing.text
    wrong = await world.client.delete("/people")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


async def chunks(total: int) -> AsyncIterator[bytes]:
    for _ in range(total // 100):
        yield b"x" * 100


async def test_a_body_up_to_the_limit_is_taken(world: World) -> None:
    assert (await world.client.post("/length", content=b"x" * 1000)).json() == 1000
    assert (await world.client.post("/length", content=chunks(1000))).json() == 1000


@pytest.mark.parametrize("path", ["/length", "/people"])
async def test_a_longer_body_is_413_and_the_connection_is_given_up(world: World, path: str) -> None:
    announced = await world.client.post(path, content=b"x" * 1001)
    streamed = await world.client.post(
        path, content=chunks(1100), headers={"content-type": "application/json"}
    )
    for answer in (announced, streamed):
        assert answer.status_code == 413
        assert answer.headers["connection"] == "close"
        assert "code" not in answer.json()


@pytest.mark.parametrize("path", ["/slow", "/hot?slow"])
async def test_the_callers_deadline_ends_a_request_with_503(world: World, path: str) -> None:
    answer = await world.client.get(path, headers={"x-deadline-ms": "20"})
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


@pytest.mark.parametrize("path", ["/slow", "/hot?slow"])
@pytest.mark.parametrize("asked", ["60000", "soon", "-1", "9" * 5000])
@pytest.mark.slow
async def test_no_request_lasts_longer_than_the_setting_allows(world: World, path: str, asked: str) -> None:
    answer = await world.client.get(path, headers={"x-deadline-ms": asked})
    assert answer.status_code == 503


@pytest.mark.parametrize("path", ["/hot", "/token"])
async def test_a_deadline_that_has_passed_is_503_at_once(world: World, path: str) -> None:
    assert (await world.client.get(path, headers={"x-deadline-ms": "0"})).status_code == 503


async def test_a_hot_route_gets_headers_query_trace_and_deadline(world: World) -> None:
    headers = {"traceparent": TRACEPARENT, "x-deadline-ms": "200", "user-agent": "test"}
    answer = await world.client.get("/hot?a=b", headers=headers)
    seen = answer.json()
    assert answer.headers["content-length"] == str(len(answer.content))
    assert (seen["trace"], seen["agent"]) == (TRACEPARENT, "test")
    assert 0 < seen["left"] <= 0.2


async def test_a_hot_route_answers_faults_as_every_route_does(world: World) -> None:
    answer = await world.client.get("/hot?fault")
    assert (answer.status_code, answer.json()["code"]) == (404, 1010)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_other_methods_of_a_hot_path_fall_through_to_the_app(world: World) -> None:
    assert (await world.client.post("/hot")).status_code == 404


async def test_health_is_part_of_every_service(world: World) -> None:
    assert (await world.client.get("/health/live")).status_code == 200
    assert (await world.client.get("/health/ready")).status_code == 200


async def test_an_answer_that_has_begun_is_broken_off_rather_than_ended_as_if_whole(world: World) -> None:
    with pytest.raises(RuntimeError):
        await world.client.get("/half")


async def test_internal_routes_know_who_calls(world: World) -> None:
    def bearer(service: str, audience: str = "cv-registry") -> dict[str, str]:
        return {"authorization": f"Bearer {world.signers[service].token(audience)}"}

    assert (await world.client.get("/who", headers=bearer("gateway"))).json() == "gateway"
    assert (await world.client.get("/internal", headers=bearer("operator"))).json() == "operator"
    assert (await world.client.get("/who")).json()["code"] == 1012
    assert (await world.client.get("/who", headers=bearer("gateway", "cv-status"))).json()["code"] == 1012
    refused = await world.client.get("/internal", headers=bearer("gateway"))
    assert (refused.status_code, refused.json()["code"]) == (403, 1013)
