"""What the alerts and the dashboard are about is really exported, by the services as they run."""

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from tests.deploy.test_metrics import ALERTS, DASHBOARDS, expressions, prometheus_name, selectors
from tests.e2e.caller import JOBCENTER, Caller
from tests.e2e.collector import Collector
from tests.e2e.load import load
from tests.e2e.statuses import APPROVED, on_benefit, set_status
from tests.e2e.system import System

from cvhub.services import SERVICES
from servicekit.testing import eventually

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]

ONLY_IN_TROUBLE = {"requests_shed_total", "requests_replayed_total"}
"""Counted when callers are turned away or send a request again."""


@pytest.fixture
def watched() -> Iterator[tuple[System, Collector]]:
    with Collector() as collector:
        more = {"TELEMETRY__OTLP_ENDPOINT": collector.url, "TELEMETRY__METRICS_INTERVAL": "PT1S"}
        system = System(150, more)
        try:
            system.start()
            yield system, collector
        finally:
            system.stop()


def exported(collector: Collector) -> set[tuple[str, str]]:
    """Give service and metric, as Prometheus spells it, of all that was exported."""
    found = set()
    for received in collector.of("/v1/metrics"):
        request = ExportMetricsServiceRequest.FromString(received.partition(b"\n\n")[2])
        for resource in request.resource_metrics:
            about = {one.key: one.value.string_value for one in resource.resource.attributes}
            assert about["service.instance.id"]
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                histogram = metric.HasField("histogram")
                names = prometheus_name(
                    metric.name, metric.unit, monotonic=metric.sum.is_monotonic, histogram=histogram
                )
                found |= {(about["service.name"], name) for name in names}
    return found


async def test_every_metric_that_somebody_looks_at_is_exported(
    watched: tuple[System, Collector], http: httpx.AsyncClient
) -> None:
    system, collector = watched
    caller = Caller(system, http)
    async with load(caller) as writers:
        await writers.has_grown(100)
    one, center = on_benefit(), caller.acting(JOBCENTER)
    written = await set_status(center, one, APPROVED)
    token = written.headers["x-consistency-token"]
    assert (await center.get_cv(one.person_number, x_consistency_token=token)).status_code == httpx.codes.OK
    asked = [rule["expr"] for rule in ALERTS] + [e for page in DASHBOARDS for e in expressions(page)]
    wanted = {str(selector.name) for expression in asked for selector in selectors(expression)}

    def complete() -> bool:
        told = exported(collector)
        assert wanted - ONLY_IN_TROUBLE - {name for _, name in told} == set()
        assert {service for service, _ in told} == {service.name for service in SERVICES}
        return True

    await eventually(complete, every=timedelta(milliseconds=500))
