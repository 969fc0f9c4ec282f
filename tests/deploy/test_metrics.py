"""Alerts, dashboards and the runbook speak of metrics that the services really export, and of alerts that exist."""

import ast
import json
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import promql_parser
import pytest
import yaml
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pydantic import TypeAdapter

from servicekit.observe import metrics
from servicekit.observe.attributes import ALLOWED_ATTRIBUTES
from servicekit.settings import TelemetrySettings

ROOT = Path(__file__).parents[2]
FILES = ROOT / "deploy/chart/files"
ALERTS: list[dict[str, Any]] = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"][0]["rules"]
DASHBOARDS = sorted((FILES / "dashboards").glob("*.json"))
RESOURCE = {"service_name", "service_instance_id"}


def prometheus_name(name: str, unit: str, *, monotonic: bool, histogram: bool) -> Iterator[str]:
    """Spell a metric as the collector's Prometheus exporter does."""
    spelled = name.replace(".", "_") + ("_seconds" if unit == "s" else "")
    if histogram:
        yield from (f"{spelled}_{part}" for part in ("bucket", "count", "sum"))
    else:
        yield f"{spelled}_total" if monotonic else spelled


@pytest.fixture
def exported() -> Iterator[set[str]]:
    """Give the names of everything that is measured, as instruments of a running process export it."""
    reader = InMemoryMetricReader()
    metrics.setup("test", TelemetrySettings(), reader=reader)
    try:
        for counter in get_args(metrics.CounterName):
            metrics.count(counter)
        for histogram in get_args(metrics.HistogramName):
            metrics.record(histogram, 0.1)
        for gauge in get_args(metrics.GaugeName):
            metrics.observe(gauge, lambda: 1.0)
        yield set(_names(json.loads(reader.get_metrics_data().to_json())))  # type: ignore[union-attr]
    finally:
        metrics.shutdown()


def _names(data: dict[str, Any]) -> Iterator[str]:
    for metric in data["resource_metrics"][0]["scope_metrics"][0]["metrics"]:
        kind = metric["data"]
        yield from prometheus_name(
            metric["name"],
            metric["unit"],
            monotonic=bool(kind.get("is_monotonic")),
            histogram="bucket_counts" in kind["data_points"][0],
        )


def selectors(expression: str) -> Iterator[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        elif isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)

    promql_parser.walk(promql_parser.parse(expression), pre_visit=visit)
    assert found
    yield from found


def expressions(dashboard: Path) -> Iterator[str]:
    content = json.loads(dashboard.read_text())
    for panel in content["panels"]:
        yield from (target["expr"].replace("$__rate_interval", "5m") for target in panel["targets"])
    for variable in content["templating"]["list"]:
        if variable["type"] == "query":
            yield re.sub(r"label_values\((.*), \w+\)", r"\1", variable["query"])


def _check(expression: str, exported: set[str]) -> None:
    labels = {name.replace(".", "_") for name in ALLOWED_ATTRIBUTES} | RESOURCE | {"le"}
    for selector in selectors(expression):
        assert selector.name in exported, f"{selector.name} is exported by nobody"
        used = set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', str(selector)))
        assert used <= labels, f"{used - labels} is no label of {selector.name}"
    for clause in re.findall(r"\bby \(([^)]*)\)", expression):
        assert set(clause.replace(" ", "").split(",")) <= labels


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_is_about_metrics_and_labels_that_exist(rule: dict[str, Any], exported: set[str]) -> None:
    _check(rule["expr"], exported)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_about_metrics_and_labels_that_exist(dashboard: Path, exported: set[str]) -> None:
    for expression in expressions(dashboard):
        _check(expression, exported)


def test_no_curve_of_calls_counts_probes() -> None:
    """A service that nobody calls shows none."""
    rules = [rule["expr"] for rule in ALERTS if rule["alert"] != "CvhubServiceSilent"]
    panels = [one for dashboard in DASHBOARDS for one in expressions(dashboard) if "rate(" in one]
    told = [str(one) for expression in (*rules, *panels) for one in selectors(expression)]
    calls = [selector for selector in told if "http_server_request_duration" in selector]
    assert len(calls) > 5
    assert [selector for selector in calls if "/health/" not in selector] == []


def test_what_an_alert_is_about_is_seen_on_a_dashboard() -> None:
    def measured(expressions: Iterable[str]) -> set[str]:
        return {
            re.sub(r"_(bucket|count|sum)$", "", str(one.name))
            for text in expressions
            for one in selectors(text)
        }

    shown = measured(expression for dashboard in DASHBOARDS for expression in expressions(dashboard))
    assert measured(rule["expr"] for rule in ALERTS) - shown == set()


def test_panels_do_not_lie_upon_each_other() -> None:
    for dashboard in DASHBOARDS:
        panels = json.loads(dashboard.read_text())["panels"]
        taken = [
            (x, y)
            for at in (panel["gridPos"] for panel in panels)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        ]
        assert len(set(taken)) == len(taken)
        assert max(x for x, _ in taken) < 24
        assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_check_notices_a_metric_and_a_label_that_nobody_exports(exported: set[str]) -> None:
    with pytest.raises(AssertionError, match="nobody"):
        _check("sum(rate(http_server_request_duration_seconds_counts[5m]))", exported)
    with pytest.raises(AssertionError, match="no label"):
        _check('events_lag{service="cv-status"}', exported)


def measured_in(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("count", "record", "observe"):
                yield str(node.args[0].value)


@pytest.mark.slow
def test_every_metric_that_has_a_name_is_measured_somewhere() -> None:
    sources = [*ROOT.glob("libs/*/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]
    measured = {name for path in sources for name in measured_in(path.read_text())}
    for names in (metrics.CounterName, metrics.HistogramName, metrics.GaugeName):
        assert set(get_args(names)) - measured == set()


def test_every_alert_has_a_severity_a_summary_and_its_own_place_in_the_runbook() -> None:
    runbook = (ROOT / "docs/runbook.md").read_text()
    headings = re.findall(r"^## (Cvhub\w+)$", runbook, re.MULTILINE)
    assert headings == [rule["alert"] for rule in ALERTS]
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_every_alert_is_seen_to_fire_and_to_end_in_the_tests_of_promtool(exported: set[str]) -> None:
    groups = yaml.safe_load((ROOT / "deploy/alerts.test.yaml").read_text())["tests"]
    ended = set()
    for group in groups:
        for series in group["input_series"]:
            _check(series["series"], exported)
        firing = [
            set(re.findall(r'alertname="(\w+)"', json.dumps(check.get("exp_samples", [])).replace("\\", "")))
            for check in group["promql_expr_test"]
        ]
        assert firing[0] == firing[-1] == set(), "what has not begun, or has ended, fires not"
        ended |= set().union(*firing)
    assert ended == {rule["alert"] for rule in ALERTS}


def test_the_collector_uses_what_it_defines_and_defines_what_it_uses() -> None:
    config = yaml.safe_load((ROOT / "deploy/otel/collector.yaml").read_text())
    pipelines = config["service"]["pipelines"].values()
    for part in ("receivers", "processors", "exporters"):
        assert {name for pipeline in pipelines for name in pipeline[part]} == set(config[part])
    assert set(config["service"]["extensions"]) == set(config["extensions"])
    # The alerts go by service_name, which is a label only because of this.
    assert config["exporters"]["prometheus"]["resource_to_telemetry_conversion"]["enabled"] is True


def test_the_collector_forgets_what_nobody_tells_any_more_before_the_alerts_about_absence_are_due() -> None:
    config = yaml.safe_load((ROOT / "deploy/otel/collector.yaml").read_text())
    kept = TypeAdapter(timedelta).validate_python(
        "PT" + config["exporters"]["prometheus"]["metric_expiration"].upper()
    )
    # Some exports may be lost on their way.
    assert 3 * TelemetrySettings().metrics_interval <= kept <= timedelta(minutes=1)
