"""Each alert fires, and does not, when alerts.test.yaml says so: what `promtool test rules` looks at, where there is none."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from tests.deploy.promql import STALE, Labels, Series, compiled

DEPLOY = Path(__file__).parents[2] / "deploy"
(GROUP,) = yaml.safe_load((DEPLOY / "chart/files/alerts.yaml").read_text())["groups"]
TESTED: dict[str, Any] = yaml.safe_load((DEPLOY / "alerts.test.yaml").read_text())
ASKED = 'count by (alertname, service_name) (ALERTS{alertstate="firing"})'

Rule = Mapping[str, Any]


def seconds(text: str) -> float:
    matrix: Any = promql_parser.parse(f"x[{text}]")
    return float(matrix.range.total_seconds())


def series(selector: str, values: str, interval: float) -> Series:
    """Read a series as promtool does: `0+5x10` are eleven samples, `_x3` is none three times, `stale` the mark."""
    vector: Any = promql_parser.parse(selector)
    labels = {"__name__": vector.name, **{one.name: one.value for one in vector.matchers.matchers}}
    samples = [(n * interval, value) for n, value in enumerate(_values(values)) if value is not None]
    return Series(frozenset(labels.items()), samples)


def _values(text: str) -> Iterator[float | None]:
    for item in text.split():
        if item == "stale":
            yield STALE
        elif match := re.fullmatch(r"_x(\d+)", item):
            yield from [None] * int(match[1])
        elif match := re.fullmatch(r"(\d+)(?:\+(\d+))?(?:x(\d+))?", item):
            begin, step, times = (int(part or 0) for part in match.groups())
            yield from (float(begin + n * step) for n in range(times + 1))
        else:
            raise NotImplementedError(item)


def firing(rules: Sequence[Rule], test: Mapping[str, Any]) -> list[Counter[Labels]]:
    """Give how many of each alert and service fire at each evaluation, until the last one that the test asks about."""
    step, length = seconds(TESTED["evaluation_interval"]), seconds(test["interval"])
    every = [series(one["series"], one["values"], length) for one in test["input_series"]]
    last = max(seconds(check["eval_time"]) for check in test["promql_expr_test"])
    told: list[Counter[Labels]] = [Counter() for _ in range(round(last / step) + 1)]
    for rule in rules:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        expression = compiled(promql_parser.parse(rule["expr"]), every)
        due, since = seconds(rule["for"]) if "for" in rule else 0, dict[Labels, float]()
        for n, counter in enumerate(told):
            since = {labels: since.get(labels, n * step) for labels in expression(n * step)}
            counter.update(
                frozenset(
                    {("alertname", rule["alert"]), *(one for one in labels if one[0] == "service_name")}
                )
                for labels, begun in since.items()
                if n * step - begun >= due
            )
    return told


def contradicted(rules: Sequence[Rule], test: Mapping[str, Any]) -> list[str]:
    """Give the times at which other alerts fire than the test says."""
    told, step, wrong = firing(rules, test), seconds(TESTED["evaluation_interval"]), []
    for check in test["promql_expr_test"]:
        assert check["expr"] == ASKED
        expected = {
            series(f"x{one['labels']}", "", 1).labels - {("__name__", "x")}: one["value"]
            for one in check.get("exp_samples", ())
        }
        if told[round(seconds(check["eval_time"]) / step)] != expected:
            wrong.append(check["eval_time"])
    return wrong


@pytest.mark.parametrize("test", TESTED["tests"], ids=lambda test: test["name"])
def test_alerts_fire_where_their_tests_say_so_and_no_others_do(test: Mapping[str, Any]) -> None:
    assert contradicted(GROUP["rules"], test) == []


@pytest.mark.parametrize(
    "change", [("> 5000", "> 5001"), ("> 5000", "> 4999"), ("5m", "4m"), ("5m", "6m")], ids=str
)
def test_a_threshold_or_a_time_that_is_changed_is_noticed(change: tuple[str, str]) -> None:
    (lag,) = (rule for rule in GROUP["rules"] if rule["alert"] == "CvhubLag")
    (test,) = (test for test in TESTED["tests"] if test["name"] == "CvhubLag")
    changed = {**lag, **{part: lag[part].replace(*change) for part in ("expr", "for")}}
    assert contradicted([changed], test) != []


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("count by (a) (c)", 1),
        ("sum by (a) (rate(c[5m]))", 2),
        # Half of the range has no samples; what there are is stretched by half of what lies between two.
        ("sum by (a) (rate(late[5m]))", 60 * 4.5 / 300),
        # A counter that began anew has grown by what it is now.
        ("sum by (a) (rate(again[5m]))", (60 * 8 + 5) * 300 / 270 / 300),
        ("histogram_quantile(0.99, sum by (a, le) (h))", 0.75),
        ("histogram_quantile(0.995, sum by (a, le) (h))", 0.875),
        ("count by (a) (gone)", None),
        ("count by (a) (last_over_time(gone[5m]))", 1),
        ("sum by (a) (c) > 600", None),
    ],
)
def test_expressions_are_what_prometheus_computes(expression: str, value: float | None) -> None:
    every = [
        series(name, values, 30)
        for name, values in {
            'c{a="1"}': "0+60x10",
            'late{a="1"}': "_x6 1000+60x4",
            'again{a="1"}': "1000+60x9 5",
            'gone{a="1"}': "1x8 stale",
            'h{a="1", le="0.5"}': "98x10",
            'h{a="1", le="1"}': "100x10",
            'h{a="1", le="+Inf"}': "100x10",
        }.items()
    ]
    found = compiled(promql_parser.parse(expression), every)(300.0)
    labels = frozenset({("a", "1")})
    assert found == ({} if value is None else {labels: pytest.approx(value)})


@pytest.mark.parametrize(
    "expression",
    [
        "sum without (a) (x)",
        "avg by (a) (x)",
        "increase(x[5m])",
        "rate(x[5m] offset 1m)",
        "x offset 1m",
        "x and on (a) y",
        "x > bool 1",
    ],
)
def test_an_expression_of_which_too_little_is_known_is_refused(expression: str) -> None:
    with pytest.raises((NotImplementedError, KeyError)):
        compiled(promql_parser.parse(expression), [])
