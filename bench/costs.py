"""`python -m bench.costs`: what each kind of call costs of the processor, in each process of one running system.

One kind of call after the other comes at a steady rate. What the system takes when nobody asks it anything is shown, and
taken off. Prints a table in milliseconds per call.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from bench.judging import FOLLOWERS
from bench.loading import processor
from bench.whole import Whole, running, watching

RATES = {"GetCV": 80, "ReplaceCV": 40, "SetCvStatus": 20, "SavePersonContactData": 20, "SearchCVText": 5}
WATCHED = f"ReplaceCV, {FOLLOWERS} followers"
REST = 2.0
"""Seconds in which the followers take in what came last."""

Used = Mapping[str, float]


async def idle(whole: Whole, seconds: float) -> Used:
    """Give the seconds of processor that each process takes in one second without calls."""
    before = processor(whole)
    await asyncio.sleep(seconds)
    return {name: (used - before[name]) / seconds for name, used in processor(whole).items()}


async def cost(whole: Whole, kind: str, seconds: float, resting: Used) -> Used:
    """Give the milliseconds of processor that each process takes for one call, until all have followed."""
    name = kind.split(",", maxsplit=1)[0]
    async with watching(whole) if kind == WATCHED else nullcontext():
        await whole.load(1, 1, {name: RATES[name]})
        await asyncio.sleep(REST)
        begun, before = asyncio.get_running_loop().time(), processor(whole)
        samples = await whole.load(1, seconds, {name: RATES[name]})
        await asyncio.sleep(REST)
        took, after = asyncio.get_running_loop().time() - begun, processor(whole)
    answered = sum(status == 200 for _, _, status, _ in samples[name])
    if not answered:
        raise RuntimeError(f"{name} is answered {samples[name][0][2]}")
    costs = {
        part: 1000 * (used - before[part] - took * resting[part]) / answered for part, used in after.items()
    }
    return {**costs, "not answered": len(samples[name]) - answered}


async def run(given: argparse.Namespace, folder: Path, console: Console) -> None:
    async with running(given.kept or folder, given.citizens, console) as whole:
        for name, rate in RATES.items():
            await whole.load(1, 2, {name: rate})
        await asyncio.sleep(REST)
        resting = await idle(whole, given.seconds)
        table = Table("", "idle, ms/s", *given.kinds)
        found: list[Used] = [{part: 1000 * used for part, used in resting.items()}]
        found += [await cost(whole, kind, given.seconds, resting) for kind in given.kinds]
    for part in found[-1]:
        table.add_row(part, *(f"{used.get(part, 0):.2f}" for used in found))
    table.add_row("together", *(f"{sum(used[part] for part in resting):.2f}" for used in found))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.costs", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of each kind (default %(default)s)")
    parser.add_argument("--citizens", type=int, default=5_000, help="so many citizens (default %(default)s)")
    parser.add_argument("--kept", type=Path, help="fills there once, and only measures the next time")
    parser.add_argument(
        "--kinds", nargs="+", default=[*RATES, WATCHED], help="kinds of calls, of %(default)s"
    )
    given, console = parser.parse_args(), Console(width=160)
    with tempfile.TemporaryDirectory(prefix="cvhub-costs-") as folder:
        uvloop.run(run(given, Path(folder), console))


if __name__ == "__main__":
    main()
