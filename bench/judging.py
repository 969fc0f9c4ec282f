"""What was seen of the whole system under load, and how it is judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.measured import Row
from bench.plot import per_second

GOALS_MS = {"GetCV": 50, "ReplaceCV": 50, "SearchCVText": 250}
OVER, ACCEPTED_MS, RECOVERY_SECONDS = 3, 200, 5
FOLLOWERS = 5

Samples = Mapping[str, Sequence[tuple[float, float, int, bool]]]


@dataclass(slots=True)
class Watched:
    """What was seen beside the load: seconds until a follower had an event, and until a search had a write; memory, MB."""

    followed: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    memory: list[dict[str, int]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def grown(self) -> dict[str, tuple[float, float]]:
        """Give the memory of each process at first and in the end: medians of a tenth of the load, for merges come and go."""
        tenth = max(len(self.memory) // 10, 1)
        first, last = self.memory[:tenth], self.memory[-tenth:]
        always = set[str].intersection(*map(set, self.memory))
        return {
            name: (median(one[name] for one in first), median(one[name] for one in last)) for name in always
        }


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")


def usual(samples: Samples, watched: Watched) -> list[Row]:
    """Judge the load that the system is made for."""
    rows = []
    for name, found in samples.items():
        ms = [latency * 1000 for _, latency, status, _ in found if status == 200]
        rows.append(Row.alone(f"{name}, p50 ms", percentile(ms, 50)))
        rows.append(Row.alone(f"{name}, p99 ms", percentile(ms, 99), ("<=", GOALS_MS[name])))
        errors = sum(status != 200 for _, _, status, _ in found)
        rows.append(Row.alone(f"{name}, errors of {len(found):,}", errors, ("<=", 0)))
    grown = {name: last / max(first, 1) - 1 for name, (first, last) in watched.grown().items()}
    worst = max(grown, key=lambda name: grown[name])
    return [
        *rows,
        Row.alone("commit to found by search, p99 s", percentile(watched.found, 99), ("<=", 1)),
        Row.alone(
            f"made to received by {FOLLOWERS} followers, p99 s", percentile(watched.followed, 99), ("<=", 1)
        ),
        Row.alone(f"memory growth, the most: {worst}, %", grown[worst] * 100, ("<=", 5)),
        Row.alone("failures of followers and probes", len(watched.failures), ("<=", 0)),
    ]


def overload(samples: Samples, again: Samples) -> list[Row]:
    """Judge three times the load, and how soon it is over."""
    every = [one for found in samples.values() for one in found]
    accepted = [latency * 1000 for _, latency, status, _ in every if status == 200]
    refused = [one for one in every if one[2] in (429, 503)]
    late = [
        second
        for name, found in again.items()
        for second, ms in per_second([(at, took) for at, took, _, _ in found], 99)
        if ms > GOALS_MS[name]
    ]
    errors = len(every) - len(accepted) - len(refused)
    return [
        *(row for name, found in samples.items() for row in _accepted(name, found)),
        Row.alone(f"{OVER}x: accepted of {len(every):,}", len(accepted)),
        Row.alone(f"{OVER}x: accepted, p99 ms", percentile(accepted, 99), ("<=", ACCEPTED_MS)),
        Row.alone(f"{OVER}x: refused by 429 or 503", len(refused)),
        Row.alone(f"{OVER}x: of these without Retry-After", sum(not one[3] for one in refused), ("<=", 0)),
        Row.alone(f"{OVER}x: anything else", errors, ("<=", 0)),
        Row.alone("recovered after, s", max(late, default=-1) + 1, ("<=", RECOVERY_SECONDS)),
    ]


def _accepted(name: str, found: Sequence[tuple[float, float, int, bool]]) -> list[Row]:
    ms = [latency * 1000 for _, latency, status, _ in found if status == 200]
    return [
        Row.alone(f"{OVER}x: {name}, accepted of {len(found):,}", len(ms)),
        *(Row.alone(f"{OVER}x: {name}, p{at} ms", percentile(ms, at)) for at in (50, 99)),
    ]
