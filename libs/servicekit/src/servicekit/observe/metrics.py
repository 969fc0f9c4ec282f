"""The numbers a service tells about its work. Names and units stand here; nothing is counted while not exported."""

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from servicekit.observe.attributes import Attributes, allowed
from servicekit.settings import TelemetrySettings

CounterName = Literal[
    "access_log.rows",
    "events.applied",
    "events.batches",
    "events.pending",
    "events.repeated",
    "events.unreadable",
    "index.builds",
    "outbox.refused",
    "outbox.sent",
    "requests.replayed",
    "requests.shed",
]
HistogramName = Literal[
    "access_log.flush.duration",
    "consistency.wait.duration",
    "events.apply.duration",
    "events.commit_to_applied.duration",
    "http.client.request.duration",
    "http.server.request.duration",
    "outbox.send.duration",
]
GaugeName = Literal[
    "builds.held",
    "code_lists.refused",
    "events.gaps",
    "events.lag",
    "feed.edge.age",
    "heartbeat.age",
    "index.lag",
    "outbox.backlog.age",
    "outbox.backlog.rows",
    "outbox.refused.rows",
    "pending.age",
    "pending.rows",
    "pool.connections.idle",
    "pool.connections.used",
    "providers.away",
    "unreadable.rows",
]
"""Durations and ages are in seconds, the rest are counts."""

LAST_WORD = 3.0
"""Seconds that a process which ends gives its collector, which may be away, to take what it still has to tell."""
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(slots=True)
class _Metering:
    """What setup made; without a meter nothing is counted."""

    provider: MeterProvider | None = None
    meter: Meter | None = None
    counters: dict[str, Counter] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)
    gauges: dict[GaugeName, Callable[[], float | None]] = field(default_factory=dict)


_metering = _Metering()


def resource(service: str) -> Resource:
    """Say who tells: the service, and which of its instances, so that two of them are not taken for one."""
    return Resource({"service.name": service, "service.instance.id": f"{socket.gethostname()}-{os.getpid()}"})


def setup(service: str, settings: TelemetrySettings, *, reader: MetricReader | None = None) -> None:
    """Export metrics if an endpoint is set (or `reader` is given). `telemetry.setup` calls this; a second call replaces the first."""
    shutdown()
    if reader is None:
        if settings.otlp_endpoint is None:
            return
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(
                endpoint=settings.otlp_endpoint.rstrip("/") + "/v1/metrics",
                headers=settings.exporter_headers(),
            ),
            export_interval_millis=settings.metrics_interval.total_seconds() * 1000,
        )
    seconds = View(instrument_name="*.duration", aggregation=ExplicitBucketHistogramAggregation(_BUCKETS))
    _metering.provider = MeterProvider(
        [reader], resource=resource(service), views=[seconds], shutdown_on_exit=False
    )
    _metering.meter = _metering.provider.get_meter("servicekit")
    for name in _metering.gauges:
        _make_gauge(_metering.meter, name)


def shutdown() -> None:
    """Send the last numbers, for LAST_WORD at most, then count nothing more."""
    provider = _metering.provider
    if provider is None:
        return
    provider.shutdown(timeout_millis=LAST_WORD * 1000)
    _metering.provider = _metering.meter = None
    _metering.counters.clear()
    _metering.histograms.clear()
    _metering.gauges.clear()


def count(name: CounterName, amount: int = 1, attributes: Attributes | None = None) -> None:
    meter = _metering.meter
    if meter is None:
        return
    counter = _metering.counters.get(name)
    if counter is None:
        counter = _metering.counters[name] = meter.create_counter(name)
    counter.add(amount, allowed(attributes or {}))


def record(name: HistogramName, seconds: float, attributes: Attributes | None = None) -> None:
    meter = _metering.meter
    if meter is None:
        return
    histogram = _metering.histograms.get(name)
    if histogram is None:
        histogram = _metering.histograms[name] = meter.create_histogram(name, unit="s")
    histogram.record(seconds, allowed(attributes or {}))


def observe(name: GaugeName, read: Callable[[], float | None]) -> None:
    """Ask `read` for the present value whenever metrics are exported; a second call replaces the first.

    None is told as nothing: a value that cannot be measured now must not look like the last one that could.
    """
    known = name in _metering.gauges
    _metering.gauges[name] = read
    if _metering.meter is not None and not known:
        _make_gauge(_metering.meter, name)


def request_served(method: str, route: str, status: int, seconds: float) -> None:
    if _metering.meter is not None:
        record(
            "http.server.request.duration",
            seconds,
            {"http.request.method": method, "http.route": route, "http.response.status_code": status},
        )


def _make_gauge(meter: Meter, name: GaugeName) -> None:
    def observed(_options: CallbackOptions) -> Iterable[Observation]:
        read = _metering.gauges.get(name)
        value = None if read is None else read()
        return [] if value is None else [Observation(value)]

    meter.create_observable_gauge(name, [observed])
