"""A plot of latencies over time as SVG, by a few lines of our own."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import log10

WIDTH, HEIGHT, LEFT, TOP = 900, 380, 60, 30
LOWEST_MS, DECADES = 1.0, 4
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")


def per_second(samples: Sequence[tuple[float, float]], percentile: int) -> list[tuple[float, float]]:
    """Give a percentile of the latencies of each second, in ms."""
    seconds = defaultdict(list)
    for at, latency in samples:
        seconds[int(at)].append(latency * 1000)
    return [
        (second, sorted(found)[min(len(found) - 1, len(found) * percentile // 100)])
        for second, found in sorted(seconds.items())
    ]


def svg(title: str, lines: Mapping[str, Sequence[tuple[float, float]]], marks: Mapping[str, float]) -> str:
    """Draw lines of (second, ms) with a logarithmic axis; `marks` name moments."""
    last = max((x for line in lines.values() for x, _ in line), default=1) or 1

    def point(x: float, ms: float) -> tuple[float, float]:
        height = log10(max(ms, LOWEST_MS) / LOWEST_MS) / DECADES
        return LEFT + x / last * (WIDTH - LEFT - 20), TOP + (1 - height) * (HEIGHT - TOP - 50)

    drawn = [f'<text x="{LEFT}" y="18" font-size="14">{title}</text>']
    for decade in range(DECADES + 1):
        x, y = point(0, LOWEST_MS * 10**decade)
        drawn.append(f'<line x1="{x}" y1="{y:.0f}" x2="{WIDTH - 20}" y2="{y:.0f}" stroke="#ddd"/>')
        drawn.append(f'<text x="4" y="{y + 4:.0f}">{LOWEST_MS * 10**decade:,.0f} ms</text>')
    for name, at in marks.items():
        x, y = point(at, LOWEST_MS)
        drawn.append(
            f'<line x1="{x:.0f}" y1="{TOP}" x2="{x:.0f}" y2="{y:.0f}" stroke="#888" stroke-dasharray="4"/>'
        )
        drawn.append(f'<text x="{x + 3:.0f}" y="{y + 15:.0f}">{name}, {at:.0f} s</text>')
    for number, ((name, line), colour) in enumerate(zip(lines.items(), COLOURS, strict=False)):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (point(*one) for one in line))
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        drawn.append(f'<text x="{LEFT + number * 170}" y="{HEIGHT - 8}" fill="{colour}">{name}</text>')
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )
