"""As much of PromQL as our alerts use, as Prometheus 3 computes it; whatever else an expression says is refused, not guessed.

Names of metrics stay where Prometheus takes them away: all our expressions go by labels that they name (`by`).
"""

import math
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import promql_parser as parser

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Samples = Sequence[tuple[float, float]]
"""Seconds and value, oldest first; a time that is missing is one at which nothing was measured."""
Expression = Callable[[float], Vector]
"""Gives what an expression is at a time, in seconds."""

LOOK_BACK = 300.0
STALE = math.inf
"""Stands for Prometheus' mark that a series has ended; nothing that we measure is infinite."""


@dataclass(frozen=True)
class Series:
    """The samples of one series by its labels, its name among them."""

    labels: Labels
    samples: Samples

    def within(self, seconds: float, until: float) -> Samples:
        """Give the samples of the last so many seconds before `until`; the one at their very beginning is none of them."""
        first, last = (bisect_right(self.samples, (at, math.inf)) for at in (until - seconds, until))
        return self.samples[first:last]


def compiled(node: Any, every: Iterable[Series]) -> Expression:
    """Make of a parsed expression what computes it of these series."""
    match node:
        case parser.VectorSelector(offset=None, at=None):
            return _vector(_selected(node, every), LOOK_BACK, _newest)
        case parser.Call(args=[parser.MatrixSelector(vector_selector=inner, range=length)]) if not (
            inner.offset or inner.at
        ):
            of = {"rate": _rate, "last_over_time": _last}[node.func.name]
            return _vector(_selected(inner, every), length.total_seconds(), of)
        case parser.Call(func=parser.Function(name="histogram_quantile"), args=[share, inner]):
            buckets = compiled(inner, every)
            return lambda at: _quantiles(share.val, buckets(at))
        case parser.AggregateExpr(
            param=None, modifier=parser.AggModifier(type=parser.AggModifierType.By, labels=by)
        ):
            return _aggregated(AGGREGATIONS[str(node.op)], compiled(node.expr, every), by)
        case parser.BinaryExpr(rhs=parser.NumberLiteral(val=bound), modifier=None) if str(node.op) == ">":
            left = compiled(node.lhs, every)
            return lambda at: {labels: value for labels, value in left(at).items() if value > bound}
        case parser.BinaryExpr(modifier=None | parser.BinModifier(matching=None, group_labels=None)):
            left, right, join = compiled(node.lhs, every), compiled(node.rhs, every), JOINED[str(node.op)]
            return lambda at: join(left(at), right(at))
    raise NotImplementedError(str(node))


def _selected(node: Any, every: Iterable[Series]) -> list[Series]:
    def fits(matcher: Any, labels: dict[str, str]) -> bool:
        value, op = labels.get(matcher.name, ""), matcher.op
        plain = op in (parser.MatchOp.Equal, parser.MatchOp.NotEqual)
        found = value == matcher.value if plain else re.fullmatch(matcher.value, value) is not None
        return found is (op in (parser.MatchOp.Equal, parser.MatchOp.Re))

    named = [one for one in every if ("__name__", node.name) in one.labels]
    return [one for one in named if all(fits(m, dict(one.labels)) for m in node.matchers.matchers)]


def _vector(
    some: list[Series], seconds: float, of: Callable[[Samples, float, float], float | None]
) -> Expression:
    def at_time(at: float) -> Vector:
        values = ((one.labels, of(one.within(seconds, at), seconds, at)) for one in some)
        return {labels: value for labels, value in values if value is not None}

    return at_time


def _newest(samples: Samples, _seconds: float, _at: float) -> float | None:
    return samples[-1][1] if samples and samples[-1][1] != STALE else None


def _last(samples: Samples, _seconds: float, _at: float) -> float | None:
    return next((value for _, value in reversed(samples) if value != STALE), None)


def _rate(samples: Samples, seconds: float, at: float) -> float | None:
    """Give the increase a second, stretched to the ends of the range where samples lie close enough to them."""
    samples = [one for one in samples if one[1] != STALE]
    if len(samples) < 2:
        return None
    (first, value), (last, _) = samples[0], samples[-1]
    increase = sum(b - a if b >= a else b for (_, a), (_, b) in pairwise(samples))
    apart = (last - first) / (len(samples) - 1)
    before, after = (gap if gap < 1.1 * apart else apart / 2 for gap in (first - (at - seconds), at - last))
    if increase > 0:
        before = min(before, (last - first) * value / increase)  # no counter was ever below zero
    return increase * (last - first + before + after) / (last - first) / seconds


def _aggregated(of: Callable[[list[float]], float], inner: Expression, by: Sequence[str]) -> Expression:
    def at_time(at: float) -> Vector:
        groups = defaultdict(list)
        for labels, value in inner(at).items():
            groups[frozenset(one for one in labels if one[0] in by)].append(value)
        return {labels: of(values) for labels, values in groups.items()}

    return at_time


def _quantiles(share: float, vector: Vector) -> Vector:
    histograms = defaultdict(list)
    for labels, count in vector.items():
        ((_, upper),) = (one for one in labels if one[0] == "le")
        histograms[frozenset(one for one in labels if one[0] != "le")].append((float(upper), count))
    return {labels: _quantile(share, sorted(buckets)) for labels, buckets in histograms.items()}


def _quantile(share: float, buckets: list[tuple[float, float]]) -> float:
    """Give the value below which this share lies, of counts up to each bound; they are even within a bucket."""
    *bounded, (infinite, all_of_them) = buckets
    if not bounded or infinite != math.inf or all_of_them == 0:
        return math.nan
    rank, lower, below = share * all_of_them, 0.0, 0.0
    for upper, count in bounded:
        if count >= rank:
            return lower + (upper - lower) * (rank - below) / (count - below)
        lower, below = upper, count
    return lower


AGGREGATIONS: dict[str, Callable[[list[float]], float]] = {"sum": math.fsum, "count": len, "max": max}
JOINED: dict[str, Callable[[Vector, Vector], Vector]] = {
    "/": lambda left, right: {
        one: left[one] / right[one] if right[one] else left[one] * math.inf
        for one in left.keys() & right.keys()
    },
    "and": lambda left, right: {one: value for one, value in left.items() if one in right},
    "unless": lambda left, right: {one: value for one, value in left.items() if one not in right},
}
