"""What an operator does from a terminal: look at what waits in a service, decide about it, rebuild and compare projections."""

import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cvhub.operator import Operator, place
from cvhub.servers.process import CannotStart
from cvhub.services import HOLDERS
from cvhub.showing import cell

LOOK_SECONDS = 0.5
FEED = "change-feed"
SEARCH = "cv-search"

pending = typer.Typer(help="Subjects that could not be fetched or applied yet.", no_args_is_help=True)
unreadable = typer.Typer(help="Records that could not be read.", no_args_is_help=True)
refused = typer.Typer(help="Records that Kafka refused to take.", no_args_is_help=True)
console = Console()


def _known(service: str) -> str:
    """Refuse a service that there is not, or that keeps nothing, before the operator is asked for a reason."""
    place().url(service)
    if service not in HOLDERS:
        raise CannotStart(f"{service} has no database: it follows nothing, and nothing waits in it.")
    return service


Service = Annotated[str, typer.Argument(help="The service to ask, such as cv-status.", callback=_known)]
Reason = Annotated[str, typer.Option(help="Why; it is recorded with your name.", prompt="Why")]
Of = Annotated[str | None, typer.Option("--projection", help="Only what this projection waits for.")]
Named = Annotated[str, typer.Argument(help="One of `cvhub projections`.")]
Number = Annotated[int, typer.Argument(help="Its number in the list.")]
Numbers = Annotated[list[int], typer.Argument(help="Their ids in the list.")]
OneOf = Annotated[str, typer.Option("--projection", help="The projection that it belongs to.")]


def register(app: typer.Typer) -> None:
    """Add the operator's commands to the command line."""
    app.add_typer(pending, name="pending")
    app.add_typer(unreadable, name="unreadable")
    app.add_typer(refused, name="refused")
    app.command()(projections)
    app.command()(rebuild)
    app.command()(verify)
    app.command()(reindex)


@pending.command("list")
def pending_list(service: Service, projection: Of = None) -> None:
    """List the subjects that wait, the oldest first."""
    rows = Operator(service).get("/pending", projection=projection)["rows"]
    shown = ("projection", "subject", "version", "attempts", "reason", "first_seen", "next_try")
    _show(rows, shown, "Nothing waits.")


@pending.command("retry")
def pending_retry(
    service: Service,
    projection: OneOf,
    reason: Reason,
    subject: Annotated[list[str] | None, typer.Argument(help="Subjects; without them all.")] = None,
) -> None:
    """Try subjects again at once."""
    _decide(service, "/pending/retry", reason, "due now", projection=projection, subjects=subject or None)


@pending.command("discard")
def pending_discard(
    service: Service,
    projection: OneOf,
    reason: Reason,
    subject: Annotated[list[str], typer.Argument(help="Subjects, each by its id.")],
) -> None:
    """Wait for subjects no longer: what is here of them stays as it is until they change again."""
    _decide(service, "/pending/discard", reason, "discarded", projection=projection, subjects=subject)


@unreadable.command("list")
def unreadable_list(service: Service, projection: Of = None) -> None:
    """List the records that could not be read, the oldest first."""
    rows = Operator(service).get("/unreadable", projection=projection)["rows"]
    shown = ("id", "projection", "topic", "partition", "offset", "size", "reason", "seen_at")
    _show(rows, shown, "All records could be read.")


@unreadable.command("retry")
def unreadable_retry(service: Service, projection: OneOf, reason: Reason, number: Numbers) -> None:
    """Read records again, after an update that knows them; what still cannot be read stays."""
    _decide(service, "/unreadable/retry", reason, "read", projection=projection, ids=number)


@unreadable.command("discard")
def unreadable_discard(service: Service, projection: OneOf, reason: Reason, number: Numbers) -> None:
    """Give records up, each by its id in the list."""
    _decide(service, "/unreadable/discard", reason, "discarded", projection=projection, ids=number)


@refused.command("list")
def refused_list(service: Service) -> None:
    """List the records that Kafka refused, the oldest first, and how many wait behind each."""
    rows = Operator(service).get("/refused")["rows"]
    shown = ("seq", "topic", "type", "version", "size", "reason", "held_back", "refused_at")
    _show(rows, shown, "Kafka has taken everything.")


@refused.command("retry")
def refused_retry(service: Service, number: Number, reason: Reason) -> None:
    """Send a record again, before the later ones of its key."""
    _decide(service, "/refused/retry", reason, "to be sent again", seq=number)


@refused.command("discard")
def refused_discard(service: Service, number: Number, reason: Reason) -> None:
    """Give a record up, and let the later ones of its key go on."""
    _decide(service, "/refused/discard", reason, "discarded", seq=number)


def projections(service: Service) -> None:
    """List what a service follows, and how far it is."""
    rows = Operator(service).get("/projections")["projections"]
    for row in rows:
        row["building"] = _building(row["building"])
    shown = ("name", "topic", "live", "building", "lag", "pending", "unreadable", "gaps")
    _show(rows, shown, f"{service} follows nothing.")


def _building(build: dict[str, Any] | None) -> str:
    if build is None:
        return ""
    return f"{build['generation']}: {build['share']:.0%}" + (", held" if build["held"] else "")


def rebuild(
    service: Service,
    projection: Named,
    reason: Reason,
    accept_fewer: Annotated[
        bool,
        typer.Option(
            "--accept-fewer", help="Let a held build become live although it has far fewer subjects."
        ),
    ] = False,
    give_up: Annotated[bool, typer.Option("--give-up", help="Stop the build that is under way.")] = False,
) -> None:
    """Build a projection anew from its owner, and show how far it is. The live one serves all the while."""
    operator = Operator(service)
    path = f"/projections/{projection}/rebuild"
    if give_up:
        operator.decide(f"{path}/give-up", reason)
        console.print("Given up; the live one stays.")
        return
    if accept_fewer:
        build = _row_of(operator, projection).get("building")
        operator.decide(f"{path}/accept-fewer", reason)
        generation = build["generation"] if build else 0
    else:
        generation = operator.decide(path, reason)["generation"]
    _watch(operator, service, projection, generation)


def reindex(reason: Reason) -> None:
    """Build the search index of every instance anew from the service's own rows, and wait for it. The live ones serve all the while."""
    operator = Operator(SEARCH)
    operator.decide("/index/rebuild", reason)
    with console.status("The index is built") as status:
        while not _as_ordered(state := operator.get("/index")):
            older = state["indexes"]["older"]
            status.update(
                f"The index is built: {state['built']} documents, {older} older indexes are searched"
            )
            time.sleep(LOOK_SECONDS)
    console.print("The index is built anew and live, in every instance.")


def _as_ordered(state: dict[str, Any]) -> bool:
    indexes: dict[str, int] = state["indexes"]
    return indexes["built"] > 0 and indexes["older"] == 0


def _watch(operator: Operator, service: str, projection: str, generation: int) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]} rows, {task.fields[rate]}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(f"{service} {projection}", total=1.0, rows=0, rate=0)
        while (build := (row := _row_of(operator, projection)).get("building")) is not None:
            if build["held"]:
                raise CannotStart(
                    f"The new build has {build['rows']} subjects, less than half of the live one, so it is held: is the owner "
                    f"whole? `cvhub verify {service} {projection}` compares; then rebuild with --accept-fewer or --give-up."
                )
            bar.update(task, completed=build["share"], rows=build["rows"], rate=round(build["rate"]))
            time.sleep(LOOK_SECONDS)
        if (row.get("live") or 0) < generation:
            raise CannotStart(
                f"Somebody gave build {generation} up: what was live stays, `cvhub projections {service}` shows it."
            )
        bar.update(task, completed=1.0)
    console.print(f"{projection} is built anew and live.")


def _row_of(operator: Operator, projection: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = operator.get("/projections")["projections"]
    return next((row for row in rows if row["name"] == projection), {})


def verify(
    service: Annotated[str, typer.Argument(help="The service to ask, or `feed`.")],
    projection: Annotated[str | None, typer.Argument(help="One of `cvhub projections`.")] = None,
) -> None:
    """Compare a projection with its owner, or the feed with log and owners, and name what differs. Ends with 1 if anything does."""
    if service == "feed":
        verify_feed(Operator(FEED))
        return
    _known(service)
    if projection is None:
        raise CannotStart(f"Which projection? `cvhub projections {service}` lists them.")
    with console.status("Comparing"):
        result = Operator(service).post(f"/projections/{projection}/verify")
    if not result["total"]:
        console.print(f"All {result['compared']} subjects are as at their owner.")
        return
    _show(result["differences"], ("subject", "kind", "ours", "owners", "waits"), "")
    console.print(
        f"{result['total']} of {result['compared']} differ. Those that wait are tried again by themselves; "
        f"`cvhub rebuild {service} {projection}` repairs the others."
    )
    raise typer.Exit(1)


def verify_feed(operator: Operator) -> None:
    """Compare the feed with each partition of the log, then with the owners."""
    records, missing = 0, list[str]()
    with console.status("Comparing") as status:
        for one in operator.get("/feed")["partitions"]:
            status.update(f"Comparing {one['topic']} {one['partition']}")
            begin: int | None = 0
            while begin is not None:
                where = {"topic": one["topic"], "partition": one["partition"], "begin": begin}
                found = operator.post("/feed/verify-log", **where)
                records, missing, begin = (
                    records + found["compared"],
                    missing + found["missing"],
                    found["following"],
                )
        status.update("Comparing with the owners")
        owners = operator.post("/feed/verify-owners")
    if not missing and not owners["differences"] and not owners["lost"]:
        console.print(
            f"All {records} records of the log are in the feed, and all {owners['compared']} CVs are as at their owner."
        )
        return
    _show([{"event": event} for event in missing], ("event",), "All records of the log are in the feed.")
    columns = ("subject", "ours", "owners")
    _show(owners["differences"], columns, "All CVs are as at their owner.")
    _show(owners["lost"], columns, "No citizen is placed by a version that the owner has lost.")
    raise typer.Exit(1)


def _decide(service: str, path: str, reason: str, done: str, **body: Any) -> None:
    count = Operator(service).decide(path, reason, **body)["count"]
    console.print(f"{count} {done}.")
    if count == 0:
        raise typer.Exit(1)


def _show(rows: list[dict[str, Any]], columns: tuple[str, ...], nothing: str) -> None:
    """Show the rows as a table; what an older service does not tell yet stays empty."""
    if not rows:
        console.print(nothing)
        return
    table = Table(*(name.replace("_", " ") for name in columns), box=None)
    for row in rows:
        table.add_row(*(cell(row.get(name)) for name in columns))
    Console(width=max(console.width, 160)).print(table)
