"""The command: everything is looked at, the report is a table or JSON, and the exit code says whether something is wrong."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from cvhub.doctor.findings import CHECKS, Finding, well, wrong
from cvhub.showing import cell

if TYPE_CHECKING:
    from cvhub.doctor.patient import Patient

COLOURS = {"well": "green", "warning": "yellow", "wrong": "red"}
ROOM_BYTES = 1_000_000_000


def doctor(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    each: Annotated[bool, typer.Option("--all", help="Show one by one what is well, too.")] = False,
    production: Annotated[
        bool, typer.Option("--production", help="Development keys and unprotected connections are wrong.")
    ] = False,
    environments: Annotated[
        Path | None,
        typer.Option(
            "--environments", help="Folder with a file SERVICE.env per service, for one that runs elsewhere."
        ),
    ] = None,
) -> None:
    """Look at configuration, keys, versions, topics, services and what waits in them; say what to do. Ends with 1 if something is wrong.

    For a system elsewhere: KAFKA__BOOTSTRAP_SERVERS, …, CVHUB_SERVICES (JSON: URL by service), CVHUB_OPERATOR_KEY (a file).
    """
    from cvhub.doctor.patient import patient  # noqa: PLC0415 - the other commands start faster without

    findings = asyncio.run(examine(patient(production=production, environments=environments)))
    if as_json:
        print(json.dumps([asdict(one) for one in findings], ensure_ascii=False, indent=1))
    else:
        _show(findings, each=each)
    raise typer.Exit(1 if any(one.level == "wrong" for one in findings) else 0)


async def examine(patient: "Patient") -> list[Finding]:
    """Give everything that was looked at, in the order of the checks."""
    from cvhub.doctor.configuration import configuration, key_files  # noqa: PLC0415
    from cvhub.doctor.kafka import topics  # noqa: PLC0415
    from cvhub.doctor.services import services  # noqa: PLC0415

    found = [
        *configuration(patient),
        *key_files(patient),
        *[one async for one in topics(patient)],
        *await asyncio.to_thread(lambda: list(services(patient))),
        *_disk(patient.folder),
    ]
    return sorted(found, key=lambda one: CHECKS.index(one.check))


def _disk(folder: Path | None) -> Iterator[Finding]:
    if folder is not None:
        free = shutil.disk_usage(folder).free
        if free < ROOM_BYTES:
            yield wrong(
                "disk",
                "this machine",
                f"{free // 1_000_000} MB free",
                "free some: PostgreSQL and Kafka stop when it is full",
            )
        else:
            yield well("disk", "this machine", f"{free // 1_000_000_000} GB free")


def _show(findings: list[Finding], *, each: bool) -> None:
    table = Table("", "check", "subject", "finding", "do", box=None)
    for one in findings if each else _in_short(findings):
        row = (one.check, one.subject, one.text, one.advice)
        table.add_row(f"[{COLOURS[one.level]}]●[/]", *map(cell, row))
    console = Console()
    Console(width=max(console.width, 160)).print(table)
    count = sum(one.level == "wrong" for one in findings)
    console.print(f"{count} wrong." if count else "Nothing is wrong.")


def _in_short(findings: list[Finding]) -> Iterator[Finding]:
    """Give what is not well, after one line for each check of how many are."""
    for check in CHECKS:
        its = [one for one in findings if one.check == check]
        if count := sum(one.level == "well" for one in its):
            yield well(check, "", f"{count} well")
    yield from (one for one in findings if one.level != "well")
