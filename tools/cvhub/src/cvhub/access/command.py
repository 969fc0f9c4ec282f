"""`cvhub access-log`: who looked at whom, from the logs of all services as one."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from cvhub.access.unusual import DailyReads, Unusual, unusual
from cvhub.danish_time import DANISH
from cvhub.operator import Operator
from cvhub.servers.process import CannotStart
from cvhub.services import HOLDERS
from cvhub.showing import cell

REGISTRY = "cv-registry"
ROWS_MOST = 10_000
DAYS = 30

app = typer.Typer(help="Who looked at whose data, when, and for which authority.", no_args_is_help=True)
console = Console()
progress = Console(stderr=True)

Ask = Callable[[str, str, dict[str, Any]], Any]
"""Calls a service's internal operation: service, path, body."""

Person = Annotated[str, typer.Argument(help="Person number or person id; '-' reads it from standard input.")]
Since = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The first Danish day.")]
Until = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The last Danish day; else today.")
]


def ask(service: str, path: str, body: dict[str, Any]) -> Any:
    """Ask a service as the operator."""
    return Operator(service).post(path, **body)


def period(since: datetime | None, until: datetime | None, today: date) -> dict[str, str]:
    """Give the times in which rows are asked for; without a beginning the last days."""
    last = until.date() if until else today
    first = since.date() if since else last - timedelta(days=DAYS)
    if first > last:
        raise CannotStart("--since is after --until.")
    begin, end = (datetime.combine(day, time.min, DANISH) for day in (first, last + timedelta(days=1)))
    return {"since": begin.astimezone(UTC).isoformat(), "until": end.astimezone(UTC).isoformat()}


def person_id(named: str, ask: Ask) -> UUID:
    """Find the random id under which rows are kept; an id is taken as it is, for erased citizens have rows too."""
    written = (sys.stdin.readline() if named == "-" else named).strip()
    if len(written) == len(str(UUID(int=0))):
        try:
            return UUID(written)
        except ValueError:
            raise CannotStart("That is no person id.") from None
    found = ask(REGISTRY, "/citizens/find", {"personNumber": written})
    if not found:
        raise CannotStart("The registry has no such citizen; an erased one is asked for by the person id.")
    return UUID(found["personId"])


def collected(asked: dict[str, Any], ask: Ask, holders: Sequence[str] = HOLDERS) -> list[dict[str, Any]]:
    """Ask every service and give all rows as one list, the newest first, each with the service that keeps it.

    Where a service has more than it gives at once, the rest is asked for by time. Rows of a citizen are found by an index,
    those of a user or an organisation by looking through everybody's: that is asked for day by day.
    """
    parts = [asked] if "subject" in asked else [{**asked, **day} for day in days_of(asked)]
    rows = [
        {**row, "kept_by": holder}
        for holder, part in _each(holders, parts)
        for row in _all(holder, part, ask)
    ]
    return sorted(rows, key=lambda row: datetime.fromisoformat(row["at"]), reverse=True)


def days_of(asked: dict[str, Any]) -> list[dict[str, str]]:
    """Give the Danish days of a period, each as one."""
    since, end = (datetime.fromisoformat(asked[name]) for name in ("since", "until"))
    days = []
    while end > since:
        day = (end - timedelta(microseconds=1)).astimezone(DANISH).date()
        begin = max(since, datetime.combine(day, time.min, DANISH).astimezone(UTC))
        days.append({"since": begin.isoformat(), "until": end.isoformat()})
        end = begin
    return days


def reads_of(asked: dict[str, Any], ask: Ask, holders: Sequence[str] = HOLDERS) -> list[DailyReads]:
    """Ask every service how much each user read on each day of the period."""
    return [
        DailyReads.of(row)
        for holder, day in _each(holders, days_of(asked))
        for row in ask(holder, "/access-log/reads", day)["reads"]
    ]


def _each(holders: Sequence[str], parts: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every service with every part of the period, and show how far it is."""
    with progress.status("") as status:
        for holder in holders:
            for number, part in enumerate(parts, 1):
                status.update(f"{holder}: {number} of {len(parts)}")
                yield holder, part


def _all(holder: str, asked: dict[str, Any], ask: Ask) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    until = asked["until"]
    while True:
        page = ask(holder, "/access-log", {**asked, "until": until, "limit": ROWS_MOST})["rows"]
        found += page
        if len(page) < ROWS_MOST:
            return found
        if page[-1]["at"] == page[0]["at"]:
            raise CannotStart(f"{holder} has more rows of one moment than it gives: ask for less.")
        until = page[-1]["at"]
        # Rows of the moment at which the page was cut come again whole.
        found = [row for row in found if row["at"] != until]
        until = (datetime.fromisoformat(until) + timedelta(microseconds=1)).isoformat()


@app.command("list")
def list_rows(
    person: Person = "",
    *,
    user: Annotated[str, typer.Option(help="The identifier of a user.")] = "",
    organisation: Annotated[str, typer.Option(help="TYPE:CODE of any organisation of the call.")] = "",
    since: Since = None,
    until: Until = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """List who looked: at a citizen, as a user, for an organisation. The newest first; all services as one."""
    asked: dict[str, Any] = period(since, until, datetime.now(DANISH).date())
    if not (person or user or organisation):
        raise CannotStart("Whose rows? Name a citizen, --user or --organisation.")
    asked |= {"subject": str(person_id(person, ask))} if person else {}
    asked |= {"user": user} if user else {}
    asked |= {"organisation": organisation_of(organisation)} if organisation else {}
    rows = collected(asked, ask)
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        _show(rows)


def organisation_of(written: str) -> tuple[int, str]:
    """Read TYPE:CODE."""
    kind, colon, code = written.partition(":")
    if not (colon and kind.isdigit() and code):
        raise CannotStart("An organisation is written TYPE:CODE, such as 8:10100.")
    return int(kind), code


def _show(rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        console.print("Nobody looked.")
        return
    table = Table("when", "method", "as", "of", "user", "subject", "kept by", box=None)
    for row in rows:
        at = datetime.fromisoformat(row["at"]).astimezone(DANISH)
        acting = "" if row["client"] is None else f"{row['active_type']}:{row['active_code']}"
        belonging = "" if row["client"] is None else f"{row['request_type']}:{row['request_code']}"
        who = row["user_identifier"] or row["service"] or ""
        subject = row["subject"] or f"{row['looks']} persons"
        when = f"{at:%Y-%m-%d %H:%M:%S}"
        table.add_row(*map(cell, (when, row["method"], acting, belonging, who, subject, row["kept_by"])))
    Console(width=max(console.width, 160)).print(table)


@app.command()
def export(
    person: Person,
    *,
    folder: Annotated[Path, typer.Option(help="Where access-log.pdf and access-log.json go.")] = Path(),
    since: Since = None,
    until: Until = None,
) -> None:
    """Write the citizen's own access log: a PDF in Danish to read, and the same as JSON."""
    from cvhub.access.export import pdf_of, statement_of  # noqa: PLC0415 - the other commands start faster without

    today = datetime.now(DANISH).date()
    since = since or datetime(today.year - 5, 1, 1)  # noqa: DTZ001 - a Danish day
    asked = period(since, until, today)
    rows = collected({**asked, "subject": str(person_id(person, ask))}, ask)
    statement = statement_of(rows, asked, datetime.now(DANISH))
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("access-log.json", json.dumps(statement, ensure_ascii=False, indent=1).encode()),
        ("access-log.pdf", pdf_of(statement)),
    ):
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        console.print(f"{path}: {len(rows)} looks", highlight=False)


@app.command("unusual")
def unusual_users(
    day: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day; else today.")] = None,
    factor: Annotated[float, typer.Option(help="How many times the usual is far more.", min=1)] = 5.0,
    least: Annotated[int, typer.Option(help="Fewer looks in a day are never reported.", min=1)] = 100,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Report users who read far more than usual: than they themselves do, and than others of their organisation."""
    last = day.date() if day else datetime.now(DANISH).date()
    asked = period(None, datetime.combine(last, time.min), last)
    found = unusual(reads_of(asked, ask), last, factor=factor, least=least)
    if as_json:
        print(json.dumps([one.to_json() for one in found], ensure_ascii=False, indent=1))
    else:
        _show_unusual(found, last)
    raise typer.Exit(1 if found else 0)


def _show_unusual(found: Sequence[Unusual], day: date) -> None:
    if not found:
        console.print(f"Nobody read far more than usual on {day}.")
        return
    table = Table("client", "user", "organisation", "looks", "own usual", "others' usual", box=None)
    for one in found:
        organisation = f"{one.user.organisation[0]}:{one.user.organisation[1]}"
        usual = (f"{one.own_usual:g}", f"{one.others_usual:g}")
        table.add_row(*map(cell, (one.user.client, one.user.identifier, organisation, one.looks, *usual)))
    Console(width=max(console.width, 120)).print(table)
