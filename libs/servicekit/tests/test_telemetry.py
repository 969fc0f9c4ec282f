"""Trace context by W3C, spans by OpenTelemetry's conventions, and nothing in either about a person."""

import asyncio
import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, MutableMapping
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span
from structlog.testing import capture_logs

from servicekit.observe import metrics, telemetry
from servicekit.observe.attributes import ALLOWED_ATTRIBUTES, Attributes, allowed
from servicekit.observe.telemetry import (
    annotate,
    begin_request,
    current_traceparent,
    is_sampled,
    new_traceparent,
    process_span,
    send_span,
    span,
    trace_id,
    valid_traceparent,
    with_traceparent,
)
from servicekit.settings import HttpSettings, TelemetrySettings
from servicekit.web.health import Health
from servicekit.web.http import Routes, install

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


class Recorded:
    """The spans that would be exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    @property
    def only(self) -> ReadableSpan:
        (made,) = self.spans
        return made


def record(ratio: float) -> Recorded:
    recorded = Recorded()
    telemetry.setup(
        "cv-registry", TelemetrySettings(sample_ratio=ratio), processor=SimpleSpanProcessor(recorded.exporter)
    )
    return recorded


@pytest.fixture(autouse=True)
def entries() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as captured:
        yield captured


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    yield record(ratio=1)
    telemetry.shutdown()


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nonsense",
        "01" + SAMPLED[2:],
        SAMPLED.upper(),
        SAMPLED + "-00",
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
    ],
)
def test_a_traceparent_that_cannot_be_read_is_none(text: str | None) -> None:
    assert valid_traceparent(text) is None


@given(st.text())
def test_no_text_breaks_the_reading_of_a_traceparent(text: str) -> None:
    assert valid_traceparent(text) in (None, text)


def test_a_new_traceparent_is_a_valid_one_and_never_the_same() -> None:
    made = {new_traceparent() for _ in range(100)}
    assert len(made) == 100
    assert all(valid_traceparent(text) for text in made)


def test_without_an_exporter_context_is_passed_on_and_no_span_is_made() -> None:
    telemetry.setup("cv-registry", TelemetrySettings())
    with with_traceparent(SAMPLED), span("work") as made:
        assert current_traceparent() == SAMPLED
        assert trace_id() == SAMPLED[3:35]
        assert not made.is_recording()
        assert not get_current_span().get_span_context().is_valid
    assert current_traceparent() is None


def test_work_outside_any_trace_gets_one_for_its_time() -> None:
    with span("work"):
        assert valid_traceparent(current_traceparent())
    assert current_traceparent() is None


def test_a_span_continues_the_trace_it_is_in(recorded: Recorded) -> None:
    with with_traceparent(SAMPLED), span("outer"), span("inner"):
        inside = current_traceparent()
    inner, outer = recorded.spans
    assert inner.parent is not None
    assert outer.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert f"{outer.parent.span_id:016x}" == "b7ad6b7169203331"
    assert inside is not None
    assert inside[:36] == SAMPLED[:36]
    assert inside[36:52] == f"{inner.get_span_context().span_id:016x}"  # type: ignore[union-attr]


def test_the_decision_of_the_caller_is_followed(recorded: Recorded) -> None:
    with with_traceparent(UNSAMPLED), span("work"):
        assert current_traceparent() == UNSAMPLED
    assert recorded.spans == []


def test_the_share_of_traces_begun_here_is_the_one_that_was_asked_for() -> None:
    recorded = record(ratio=0.25)
    try:
        for _ in range(2000):
            with span("root"), span("child"):
                pass
        roots = [made for made in recorded.spans if made.parent is None]
        assert 400 < len(roots) < 600
        assert len(recorded.spans) == 2 * len(roots)
    finally:
        telemetry.shutdown()


def test_of_an_exception_a_span_keeps_the_type_alone(recorded: Recorded) -> None:
    with pytest.raises(ValueError, match="Hansen"), span("work"):
        raise ValueError("Hansen 0101011234")
    made = recorded.only
    assert dict(made.attributes or {}) == {"error.type": "ValueError"}
    assert made.status.status_code is StatusCode.ERROR
    assert made.status.description is None
    assert made.events == ()
    assert "Hansen" not in made.to_json()


def test_sending_is_a_producer_span_linked_to_the_traces_of_its_records(recorded: Recorded) -> None:
    with send_span("cv-registry.cv-changed", 3, [SAMPLED, SAMPLED, UNSAMPLED, None, "nonsense"]):
        pass
    made = recorded.only
    assert (made.name, made.kind) == ("send cv-registry.cv-changed", SpanKind.PRODUCER)
    assert dict(made.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "cv-registry.cv-changed",
        "messaging.batch.message_count": 3,
    }
    assert [f"{link.context.trace_id:032x}" for link in made.links] == [SAMPLED[3:35]]


def test_processing_is_a_consumer_span_with_its_group(recorded: Recorded) -> None:
    with process_span("cv-status.status-set", "cv-registry", 2, [SAMPLED]) as made:
        annotate(made, {"outcome": "applied"})
    only = recorded.only
    assert (only.name, only.kind) == ("process cv-status.status-set", SpanKind.CONSUMER)
    attributes = dict(only.attributes or {})
    assert attributes["messaging.consumer.group.name"] == "cv-registry"
    assert attributes["messaging.operation.type"] == "process"
    assert attributes["outcome"] == "applied"
    assert len(only.links) == 1


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers())))
def test_an_attribute_that_is_not_on_the_list_never_reaches_a_span(attributes: dict[str, str | int]) -> None:
    recorded = record(ratio=1)
    try:
        with span("work", attributes=cast("Attributes", attributes)) as made:
            annotate(made, cast("Attributes", attributes))
        assert set(recorded.only.attributes or {}) <= ALLOWED_ATTRIBUTES
    finally:
        telemetry.shutdown()


def test_a_person_in_an_allowed_attribute_is_masked() -> None:
    assert allowed({"outcome": "0101011234 a@b.dk"}) == {"outcome": "*** ***"}
    for number in (12345678, 101701234, 4512345678):
        assert allowed({"messaging.batch.message_count": number}) == {"messaging.batch.message_count": "***"}
    harmless: Attributes = {"http.response.status_code": 200, "messaging.batch.message_count": 500}
    assert allowed(harmless) == harmless


def test_no_allowed_name_has_room_for_a_url_a_text_or_a_person() -> None:
    for name in ALLOWED_ATTRIBUTES:
        assert not re.search(
            r"url|query|path|user|client|subject|message\.(id|body|key)|statement|text|name$", name
        ) or (
            name
            in {"messaging.operation.name", "messaging.destination.name", "messaging.consumer.group.name"}
        )


def service() -> Routes:
    app = FastAPI()
    install(app)

    @app.get("/things/{number}")
    async def thing(number: str) -> str | None:
        if number == "bad":
            raise RuntimeError(number)
        return current_traceparent()

    return Routes(app, HttpSettings(), Health())


async def get(path: str, traceparent: str | None = None, method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(service())
    headers = {} if traceparent is None else {"traceparent": traceparent}
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return await asyncio.create_task(client.request(method, path, headers=headers))


async def test_a_request_is_a_server_span_named_by_its_route_and_never_by_its_path(
    recorded: Recorded,
) -> None:
    answer = await get("/things/0101011234?name=Hansen", SAMPLED)
    made = recorded.only
    assert (made.name, made.kind) == ("GET /things/{number}", SpanKind.SERVER)
    assert dict(made.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/things/{number}",
        "http.response.status_code": 200,
    }
    assert answer.json()[:36] == SAMPLED[:36]
    assert "Hansen" not in made.to_json()
    assert "0101011234" not in made.to_json()


async def test_a_failed_request_and_an_unknown_path_say_nothing_about_what_was_asked(
    recorded: Recorded,
) -> None:
    await get("/things/bad", SAMPLED)
    await get("/0101011234", SAMPLED)
    await get("/things/1", SAMPLED, method="HANSEN")
    failed, unknown, odd = recorded.spans
    assert failed.status.status_code is StatusCode.ERROR
    assert (failed.attributes or {})["http.response.status_code"] == 500
    assert unknown.name == "GET (none)"
    assert odd.name.startswith("_OTHER ")


async def test_a_request_that_is_not_sampled_makes_no_span_and_keeps_its_trace(recorded: Recorded) -> None:
    answer = await get("/things/1", UNSAMPLED)
    assert answer.json() == UNSAMPLED
    assert recorded.spans == []


@pytest.mark.parametrize("incoming", [SAMPLED, UNSAMPLED])
@pytest.mark.parametrize("ratio", [0, 1])
async def test_who_comes_from_outside_has_a_trace_id_and_no_say_in_what_is_recorded(
    ratio: int, incoming: str
) -> None:
    recorded = record(ratio)

    async def served() -> str | None:
        span = begin_request(incoming, from_outside=True)
        if span is not None:
            span.end()
        return current_traceparent()

    within = await asyncio.create_task(served())
    assert within is not None
    assert within[:36] == incoming[:36]
    assert is_sampled(within) is (ratio == 1)
    assert len(recorded.spans) == ratio
    telemetry.shutdown()


async def test_the_first_span_of_a_trace_begun_here_is_its_root(recorded: Recorded) -> None:
    await get("/things/1")
    assert recorded.only.parent is None


def test_no_span_is_begun_for_a_request_while_nothing_is_exported() -> None:
    telemetry.shutdown()
    assert begin_request(SAMPLED) is None


class Collector(ThreadingHTTPServer):
    """Takes what an OTLP/HTTP collector would."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.taken: list[tuple[str, str | None, bytes]] = []


class Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        cast("Collector", self.server).taken.append((self.path, self.headers.get("x-key"), body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_traces_and_metrics_reach_a_collector(collector: Collector) -> None:
    settings = TelemetrySettings.model_validate(
        {
            "otlp_endpoint": f"http://127.0.0.1:{collector.server_port}/",
            "otlp_headers": "x-key=secret",
            "sample_ratio": 1,
            "metrics_interval": timedelta(minutes=1),
        }
    )
    telemetry.setup("cv-registry", settings)
    with span("work"):
        metrics.count("outbox.sent", 5, {"messaging.destination.name": "t"})
        metrics.record("outbox.send.duration", 0.2)
        metrics.observe("outbox.backlog.rows", lambda: 7)
        metrics.request_served("GET", "/v6/Cv", 200, 0.003)
    telemetry.shutdown()

    taken = {path: body for path, key, body in collector.taken if key == "secret"}
    traces = ExportTraceServiceRequest.FromString(taken["/v1/traces"])
    assert traces.resource_spans[0].scope_spans[0].spans[0].name == "work"
    sent = ExportMetricsServiceRequest.FromString(taken["/v1/metrics"])
    found = {metric.name: metric for metric in sent.resource_metrics[0].scope_metrics[0].metrics}
    assert found["outbox.sent"].sum.data_points[0].as_int == 5
    assert found["outbox.send.duration"].histogram.data_points[0].sum == 0.2
    assert found["outbox.backlog.rows"].gauge.data_points[0].as_int == 7
    assert found["http.server.request.duration"].unit == "s"


def test_a_collector_that_does_not_answer_keeps_no_process_from_ending() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        telemetry.setup("cv-registry", TelemetrySettings(otlp_endpoint=endpoint, sample_ratio=1))
        with span("work"):
            metrics.count("outbox.sent")
        begun = time.monotonic()
        telemetry.shutdown()
        assert time.monotonic() - begun < 5


def test_nothing_is_counted_while_nothing_is_exported() -> None:
    telemetry.shutdown()
    metrics.count("outbox.sent")
    metrics.record("outbox.send.duration", 0.1)
    assert metrics._metering.counters == {}


def test_the_settings_never_show_the_key_of_the_collector() -> None:
    settings = TelemetrySettings.model_validate({"otlp_headers": "x-key=secret"})
    assert "secret" not in repr(settings)
    assert "secret" not in json.dumps(settings.model_dump(mode="json"))
