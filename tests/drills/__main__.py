"""`python -m tests.drills [NAME,NAME ...]`: runs drills against the whole system; writes the newest outcome of each to docs/drills.md."""

import asyncio
import importlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console
from tests.drills.drill import DRILLS, Drill, Outcome, run
from tests.drills.judge import Judge
from tests.drills.system import ProxiedSystem

DECLARED = ("killed", "network", "database", "records", "rolling", "outside", "brokers")
CITIZENS = 200
DOCUMENT = Path("docs/drills.md")
LOGS = Path("build/drills")
"""Where the logs of the system go when a drill did not hold."""
COLUMNS = ("lost", "doubled", "reordered", "access rows missing")
HEADS = [
    *("#", "drill", "fault", "acknowledged", *COLUMNS, "failed requests", "serves after", "agrees after"),
    *("when (UTC)", "on"),
]
INTRODUCTION = Path(__file__).with_name("introduction.md")


def main() -> None:
    for module in DECLARED:
        importlib.import_module(f"tests.drills.{module}")
    names = [name for given in sys.argv[1:] for name in given.split(",") if name]
    if unknown := sorted(set(names) - DRILLS.keys()):
        sys.exit(f"There is no drill {', '.join(unknown)}; there are: {', '.join(DRILLS)}.")
    chosen = [one for one in DRILLS.values() if not names or one.name in names]
    console, held = Console(), True
    for outcome in _run(chosen, console):
        held &= outcome.held
        _say(console, outcome)
        _keep(outcome)
    console.print(f"Written to {DOCUMENT}")
    sys.exit(0 if held else 1)


def _run(drills: Sequence[Drill], console: Console) -> Iterator[Outcome]:
    for brokers in sorted({drill.brokers for drill in drills}, reverse=True):
        with console.status("The system starts") as status, ProxiedSystem(CITIZENS, brokers) as system:
            judge = Judge(system)
            for drill in (one for one in drills if one.brokers == brokers):
                status.update(f"{drill.name}: {drill.fault}")
                outcome = asyncio.run(run(drill, system, judge))
                if not outcome.held:
                    shutil.copytree(system.state.logs, LOGS / drill.name, dirs_exist_ok=True)
                system.heal()
                yield outcome


def _say(console: Console, outcome: Outcome) -> None:
    console.print(f" {'✓' if outcome.held else '✗'} {' · '.join(_cells(outcome))}", highlight=False)
    failed = ", ".join(f"{count} of {what}" for what, count in outcome.failed.most_common())
    for line in [failed, outcome.trouble, *outcome.violations[:10]]:
        if line:
            console.print(f"   {line}", highlight=False, markup=False)


def _cells(outcome: Outcome) -> list[str]:
    drill, seconds = outcome.drill, (outcome.serves_after, outcome.agrees_after)
    return [
        str(drill.number or "+"),
        f"`{drill.name}`",
        drill.fault,
        f"{outcome.acknowledged:,}",
        *("not judged" if outcome.trouble else str(outcome.counts[column]) for column in COLUMNS),
        f"{outcome.failed.total():,}",
        *("**never**" if one is None else f"{one:.1f} s" for one in seconds),
    ]


def _keep(outcome: Outcome) -> None:
    """Put the outcome in the place of the drill's older one in the table of all."""
    rows = _written()
    rows[outcome.drill.name] = [*_cells(outcome), f"{datetime.now(UTC):%Y-%m-%d %H:%M}", _machine()]
    shown = sorted((rows.get(one.name, _not_run(one)) for one in DRILLS.values()), key=_place)
    table = [HEADS, ["---"] * len(HEADS), *shown]
    text = "\n".join(f"| {' | '.join(row)} |" for row in table)
    DOCUMENT.write_text(f"{INTRODUCTION.read_text()}\n{text}\n")


def _written() -> dict[str, list[str]]:
    """Give the rows that the document has, by the name of the drill."""
    lines = DOCUMENT.read_text().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    return {row[1].strip("`"): row for row in rows[2:]}


def _not_run(drill: Drill) -> list[str]:
    row = _cells(Outcome(drill))[:3]
    return row + ["not run"] * (len(HEADS) - len(row))


def _place(row: list[str]) -> tuple[bool, int]:
    return (True, 0) if row[0] == "+" else (False, int(row[0]))


def _machine() -> str:
    memory = psutil.virtual_memory().total // 1_000_000_000
    return f"{os.cpu_count()} cores, {memory} GB, {platform.system()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
