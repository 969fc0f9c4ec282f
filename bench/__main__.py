"""`python -m bench [P1 P3 ...] [--million]`: measures against the goals, one after the other; writes build/bench.json."""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from bench.measured import Row, Servers
from cvhub.servers.kafka import KafkaServer
from cvhub.servers.postgres import PostgresServer

BENCHES = {
    "P1": "gateway",
    "P2": "following",
    "P3": "relay",
    "P4": "rebuild",
    "P5": "feed",
    "P6": "search",
    "P7": "freshness",
    "P8": "pdf",
    "P9": "write_path",
    "P10": "soap",
    "P11": "tokens",
    "P12": "importing",
    "P13": "polls",
    "P14": "contact",
}
RESULTS = Path("build/bench.json")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("which", nargs="*", metavar="P1", help=f"of {' '.join(BENCHES)}; without any, all")
    parser.add_argument(
        "--million", action="store_true", help="P12 with 1,000,000 citizens, P5 with 10,000,000 events"
    )
    parser.add_argument("--cvs", type=int, default=500_000, help="P6 over so many CVs (default %(default)s)")
    parser.add_argument("--kept", type=Path, help="P5 and P6 build there once, and only measure next time")
    given = parser.parse_args()
    if unknown := sorted(set(given.which) - set(BENCHES)):
        parser.error(f"there is no {', '.join(unknown)}")
    sys.exit(0 if measure([name for name in BENCHES if name in (given.which or BENCHES)], given) else 1)


def measure(names: Sequence[str], given: argparse.Namespace) -> bool:
    """Measure, print the table, write it; give whether nothing failed. A goal that is missed is no failure."""
    console = Console()
    rows: list[Row] = []
    notes: list[str] = []
    failed: dict[str, str] = {}
    with _servers(console, notes, given) as servers:
        for name in names:
            begun = time.monotonic()
            try:
                # Each in a loop of its own, so that nothing of one runs on in another.
                done = uvloop.run(_run(name, servers))
            except Exception as error:  # noqa: BLE001 - the others are measured all the same
                while isinstance(error, ExceptionGroup):
                    error = error.exceptions[0]
                failed[name] = f"{type(error).__name__}: {error}"[:300]
                done = []
            rows += done
            console.print(f" {'✗' if name in failed else '✓'} {name} in {time.monotonic() - begun:.0f} s")
            for row in done:
                console.print(
                    f"   {row.name}: {_figure(row.ours)}, ratio {_figure(row.ratio) or '-'}", highlight=False
                )
    _print(console, rows, notes, failed)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([row.to_json() for row in rows], indent=1) + "\n")
    return not failed


async def _run(name: str, servers: Servers) -> list[Row]:
    servers.say(name)
    async with asyncio.timeout(1_800):
        rows: list[Row] = await import_module(f"bench.{BENCHES[name]}").run(servers)
    return rows


@contextmanager
def _servers(console: Console, notes: list[str], given: argparse.Namespace) -> Iterator[Servers]:
    with (
        tempfile.TemporaryDirectory(prefix="cvhub-bench-") as folder,
        console.status("PostgreSQL and Kafka") as status,
    ):
        postgres, kafka = PostgresServer(Path(folder) / "postgres"), KafkaServer(Path(folder) / "kafka")
        try:
            postgres.start()
            kafka.start()
            asked = (given.million, given.cvs, given.kept)
            yield Servers(Path(folder), postgres, kafka, status.update, notes.append, *asked)
        finally:
            kafka.stop()
            postgres.stop()


def _print(console: Console, rows: Sequence[Row], notes: Sequence[str], failed: dict[str, str]) -> None:
    table = Table("", "ours", "peer", "ratio", "goal", "met")
    for row in rows:
        met = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[row.met]
        table.add_row(row.name, *map(_figure, (row.ours, row.peer, row.ratio)), row.goal or "", met)
    for name, why in failed.items():
        table.add_row(name, "[red]failed[/]", "", "", "", "[red]no[/]")
        console.print(f"[red]{name}[/] {why}", markup=True, highlight=False)
    console.print(table)
    for note in notes:
        console.print(f" {note}", highlight=False)
    console.print(f" Written to {RESULTS}", highlight=False)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:g}"


if __name__ == "__main__":
    main()
