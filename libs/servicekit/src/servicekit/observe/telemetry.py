"""Traces and metrics: W3C context over HTTP, through the outbox and Kafka; costs next to nothing while not exported.

The context of a trace is always the `traceparent` text; an OpenTelemetry span exists only when the trace is sampled.
"""

import os
import random
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Thread
from typing import Literal

from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from servicekit.observe import metrics
from servicekit.observe.attributes import AttributeName, Attributes, allowed
from servicekit.settings import TelemetrySettings

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_current: ContextVar[str | None] = ContextVar("traceparent", default=None)
_MOST_LINKS = 32


@dataclass(slots=True)
class _Tracing:
    """What setup made; without a provider no span is ever made."""

    provider: TracerProvider | None = None
    tracer: otel.Tracer | None = None
    ratio: float = 0.0


_tracing = _Tracing()


def setup(service: str, settings: TelemetrySettings, *, processor: SpanProcessor | None = None) -> None:
    """Export traces and metrics if an endpoint is set; call once, before serving. `processor` takes the spans instead."""
    shutdown()
    metrics.setup(service, settings)
    if processor is None:
        if settings.otlp_endpoint is None:
            return
        processor = BatchSpanProcessor(
            OTLPSpanExporter(
                endpoint=settings.otlp_endpoint.rstrip("/") + "/v1/traces",
                headers=settings.exporter_headers(),
            )
        )
    provider = TracerProvider(
        sampler=ParentBased(ALWAYS_ON), resource=metrics.resource(service), shutdown_on_exit=False
    )
    provider.add_span_processor(processor)
    _tracing.provider, _tracing.tracer = provider, provider.get_tracer("servicekit")
    _tracing.ratio = settings.sample_ratio


def shutdown() -> None:
    """Send what is still waiting, spans and numbers at once and for LAST_WORD at most, then tell nothing more."""
    provider, _tracing.provider, _tracing.tracer = _tracing.provider, None, None
    until = time.monotonic() + metrics.LAST_WORD
    # A provider of traces has no time limit of its own.
    sending = None if provider is None else Thread(target=provider.shutdown, name="last-spans", daemon=True)
    if sending is not None:
        sending.start()
    metrics.shutdown()
    if sending is not None:
        sending.join(max(0.0, until - time.monotonic()))


def current_traceparent() -> str | None:
    """Give the W3C `traceparent` of what is being done now, to be passed on over HTTP or kept in an outbox row."""
    return _current.get()


def trace_id() -> str | None:
    """Give the trace id of what is being done now, as callers and logs see it."""
    traceparent = _current.get()
    return None if traceparent is None else traceparent[3:35]


def new_traceparent() -> str:
    """Begin a trace of our own that is not sampled."""
    hexadecimal = os.urandom(24).hex()
    return f"00-{hexadecimal[:32]}-{hexadecimal[32:]}-00"


def valid_traceparent(value: str | None) -> str | None:
    return value if value is not None and _TRACEPARENT.fullmatch(value) else None


def begin_request(incoming: str | None, *, from_outside: bool = False) -> Span | None:
    """Go on in a caller's trace, or begin one; give the span of the request if the trace is sampled.

    Of somebody `from_outside`, whom nobody knows yet, only the trace id is taken over: who could have every call recorded could
    fill the queue of spans that wait, and what is in it of others would be lost. What is begun lasts as long as the task that
    serves the request.
    """
    parent = valid_traceparent(incoming)
    if parent is not None and from_outside:
        parent = f"{parent[:-2]}{TraceFlags.SAMPLED if _is_wanted(None) else TraceFlags.DEFAULT:02x}"
    if not _is_wanted(parent):
        _current.set(parent or new_traceparent())
        return None
    made = _start("request", SpanKind.SERVER, parent)
    _current.set(_text_of(made))
    otel_context.attach(otel.set_span_in_context(made))
    return made


def end_request(made: Span, method: str, route: str, status: int) -> None:
    """End the span of a request; `route` is the template, never the path that was asked for."""
    made.update_name(f"{method} {route}")
    annotate(made, {"http.request.method": method, "http.route": route, "http.response.status_code": status})
    if status >= 500:
        fail(made, str(status))
    made.end()


@contextmanager
def with_traceparent(value: str | None) -> Iterator[None]:
    """Do something in the trace that a text names, such as the one of an outbox row."""
    token = _current.set(valid_traceparent(value))
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Attributes | None = None,
    links: Iterable[str | None] = (),
) -> Iterator[Span]:
    """Do something in a span of the current trace. Of an exception only its type is kept."""
    parent = _current.get()
    if not _is_wanted(parent):
        with with_traceparent(parent or new_traceparent()):
            yield otel.INVALID_SPAN
        return
    made = _start(name, kind, parent, attributes, links)
    with with_traceparent(_text_of(made)), _attached(made):
        try:
            yield made
        except BaseException as error:
            fail(made, type(error).__qualname__)
            raise
        finally:
            made.end()


def send_span(topic: str, messages: int, links: Iterable[str | None] = ()) -> AbstractContextManager[Span]:
    """Span of sending records to a topic, linked to the traces they were made in (OpenTelemetry messaging, `send`)."""
    attributes: Attributes = {**_messaging("send", topic), "messaging.batch.message_count": messages}
    return _linked_span(f"send {topic}", SpanKind.PRODUCER, attributes, links)


def process_span(
    topic: str, group: str, messages: int, links: Iterable[str | None] = ()
) -> AbstractContextManager[Span]:
    """Span of applying a batch of records, linked to the traces they were made in (OpenTelemetry messaging, `process`)."""
    attributes: Attributes = {
        **_messaging("process", topic),
        "messaging.consumer.group.name": group,
        "messaging.batch.message_count": messages,
    }
    return _linked_span(f"process {topic}", SpanKind.CONSUMER, attributes, links)


@contextmanager
def _linked_span(
    name: str, kind: SpanKind, attributes: Attributes, links: Iterable[str | None]
) -> Iterator[Span]:
    """Go on in the first sampled trace among the links, and name the others; without one there is no span."""
    sampled = [] if _tracing.tracer is None else _some_of(links)
    if not sampled:
        yield otel.INVALID_SPAN
        return
    with with_traceparent(sampled[0]), span(name, kind, attributes, sampled) as made:
        yield made


def is_sampled(traceparent: str) -> bool:
    return int(traceparent[-2:], 16) & TraceFlags.SAMPLED == TraceFlags.SAMPLED


def annotate(made: Span, attributes: Attributes) -> None:
    """Add to a span what became known only later."""
    if made.is_recording():
        made.set_attributes(allowed(attributes))


def fail(made: Span, error_type: str) -> None:
    """Mark a span as failed, by the type of the error."""
    annotate(made, {"error.type": error_type})
    made.set_status(Status(StatusCode.ERROR))


def _is_wanted(parent: str | None) -> bool:
    """Follow the decision of the caller; where a trace begins, take the share that the settings ask for."""
    if _tracing.tracer is None:
        return False
    if parent is None:
        return random.random() < _tracing.ratio  # noqa: S311 - a share, no secret
    return is_sampled(parent)


def _start(
    name: str,
    kind: SpanKind,
    parent: str | None,
    attributes: Attributes | None = None,
    links: Iterable[str | None] = (),
) -> Span:
    if _tracing.tracer is None:
        return otel.INVALID_SPAN
    return _tracing.tracer.start_span(
        name,
        Context() if parent is None else otel.set_span_in_context(NonRecordingSpan(_context_of(parent))),
        kind=kind,
        attributes=allowed(attributes or {}),
        links=[Link(_context_of(text)) for text in _some_of(links)],
        record_exception=False,
        set_status_on_exception=False,
    )


@contextmanager
def _attached(made: Span) -> Iterator[None]:
    token = otel_context.attach(otel.set_span_in_context(made))
    try:
        yield
    finally:
        otel_context.detach(token)


def _some_of(links: Iterable[str | None]) -> list[str]:
    """Give the sampled ones, each once, as many as a collector is glad to take."""
    wanted = dict.fromkeys(text for text in links if text is not None and valid_traceparent(text))
    return [text for text in wanted if is_sampled(text)][:_MOST_LINKS]


def _messaging(operation: Literal["send", "process"], topic: str) -> dict[AttributeName, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }


def _context_of(traceparent: str) -> SpanContext:
    _, trace, parent, flags = traceparent.split("-")
    return SpanContext(
        int(trace, 16), int(parent, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )


def _text_of(made: Span) -> str:
    context = made.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
