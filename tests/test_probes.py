"""A service that is only probed tells that it runs: else nobody would miss it at night (CvhubServiceSilent)."""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from tests.unconnected import unconnected

from cvhub.services import SERVICES, Service
from servicekit.observe import metrics
from servicekit.settings import TelemetrySettings
from servicekit.web.testing import Identities

pytestmark = pytest.mark.slow


@pytest.fixture
def reader() -> Iterator[InMemoryMetricReader]:
    reader = InMemoryMetricReader()
    metrics.setup("test", TelemetrySettings(), reader=reader)
    yield reader
    metrics.shutdown()


def served(reader: InMemoryMetricReader) -> list[dict[str, Any]]:
    """Give what is told of each kind of request that was served."""
    told = json.loads(data.to_json()) if (data := reader.get_metrics_data()) else {"resource_metrics": []}
    return [
        point["attributes"]
        for resource in told["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
        if metric["name"] == "http.server.request.duration"
        for point in metric["data"]["data_points"]
    ]


@pytest.mark.parametrize("service", [pytest.param(one, id=one.name) for one in SERVICES])
async def test_a_probe_is_told_of_under_its_route(
    service: Service, identities: Identities, tmp_path: Path, reader: InMemoryMetricReader
) -> None:
    settings = unconnected(service, identities.settings(service.name), tmp_path)
    app = import_module(f"{service.module}.app").create_app(settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        answer = await client.get("/health/live")
    assert answer.status_code == httpx.codes.OK
    assert served(reader) == [
        {"http.request.method": "GET", "http.route": "/health/live", "http.response.status_code": 200}
    ]
