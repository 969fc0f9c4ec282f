"""The command `cvhub`: runs the whole system on this machine, and looks into it."""

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, get_args

import psutil
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cvhub import operations
from cvhub.access import command as access_log
from cvhub.doctor.command import doctor
from cvhub.erasing.command import erase
from cvhub.explain import explain
from cvhub.servers.process import CannotStart, last_lines
from cvhub.showing import cell
from cvhub.state import State
from servicekit.dumps import no_core_dumps

app = typer.Typer(
    help="The CV hub on this machine: a real Kafka and PostgreSQL, every service, synthetic citizens.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console()
STOP_SECONDS = 60.0


@app.command()
def up(
    once: Annotated[bool, typer.Option("--once", help="Walk through the main job, then stop.")] = False,
    citizens: Annotated[int, typer.Option(help="How many synthetic citizens to fill in.", min=0)] = 10_000,
    brokers: Annotated[
        int, typer.Option(help="Kafka brokers: 1, or 3 that each hold all records.", min=1, max=3)
    ] = 1,
    port: Annotated[list[str] | None, typer.Option(help="PORT of the gateway, or NAME=PORT.")] = None,
    walk: Annotated[bool, typer.Option(help="Walk through the main job when healthy.")] = True,
) -> None:
    """Start everything, show the main job once, and keep it running until Ctrl-C."""
    from cvhub.running import run_until_stopped  # noqa: PLC0415 - the other commands start faster without

    state = State()
    state.prepare()
    with state.held(), _stopped_by_signals():
        worked = run_until_stopped(
            state, console, ports=port or [], citizens=citizens, brokers=brokers, walk=walk, once=once
        )
    raise typer.Exit(0 if worked else 1)


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Make SIGTERM and a closed terminal what Ctrl-C is."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    yield


@app.command()
def down() -> None:
    """Stop what `up` started, from any terminal. The data stay."""
    state = State()
    if not state.is_held():
        console.print("cvhub is not running here.")
        return
    run = state.running()
    with console.status("Stopping"):
        os.kill(run.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while state.is_held() or _is_alive(run.pid):
            if time.monotonic() > deadline:
                raise CannotStart(f"cvhub (process {run.pid}) has not stopped after {STOP_SECONDS:.0f} s.")
            time.sleep(0.1)
    console.print("Stopped; the data stay in " + str(state.folder))


def _is_alive(pid: int) -> bool:
    try:
        # Whoever started it may not have noticed yet that it has ended.
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Show what runs, where, and whether all is well. Ends with 1 if anything is not well."""
    from cvhub.health import states_of  # noqa: PLC0415

    rows = states_of(State())
    if as_json:
        print(json.dumps([row.__dict__ for row in rows]))
    else:
        table = Table("part", "port", "process", "memory", "state", box=None)
        for row in rows:
            memory = f"{row.memory_mb} MB" if row.memory_mb else ""
            table.add_row(*map(cell, (row.part, row.port, row.pid or "-", memory, row.state)))
        console.print(table)
    raise typer.Exit(0 if all(row.well for row in rows) else 1)


@app.command()
def logs(
    service: str,
    follow_it: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0)] = 50,
) -> None:
    """Print the last lines of a part's log."""
    folder = State().logs
    file = folder / f"{service}.log"
    if not file.exists():
        names = ", ".join(sorted(path.stem for path in folder.glob("*.log"))) or "none yet"
        raise CannotStart(f"There is no log of '{service}'; there are: {names}.")
    for line in last_lines(file, lines):
        print(line)
    if follow_it:
        _tail(file)


def _tail(file: Path) -> None:
    with file.open(encoding="utf-8", errors="replace") as log:
        log.seek(0, os.SEEK_END)
        while True:
            line = log.readline()
            if line:
                print(line, end="", flush=True)
            else:
                time.sleep(0.2)


@app.command()
def token(
    organisation: Annotated[list[str], typer.Option(help="TYPE:CODE it acts as; repeatable.")],
    scope: Annotated[list[str], typer.Option(help="A scope; more may follow.")],
    more_scopes: Annotated[list[str] | None, typer.Argument(metavar="[SCOPE]...")] = None,
    *,
    own: Annotated[
        str | None, typer.Option(help="TYPE:CODE of the client itself; else the first one.")
    ] = None,
    client: Annotated[str | None, typer.Option(help="The client's id.")] = None,
    algorithm: Annotated[str, typer.Option(help="ES256 or RS256.")] = "ES256",
) -> None:
    """Print a bearer token of the local identity provider."""
    from cv_contracts.methods import Scope  # noqa: PLC0415
    from cvhub.idp.__main__ import client_secret  # noqa: PLC0415
    from cvhub.idp.client import fetch_token  # noqa: PLC0415

    scopes = [*scope, *(more_scopes or [])]
    if unknown := [one for one in scopes if one not in get_args(Scope)]:
        raise CannotStart(f"There is no scope '{unknown[0]}'; there are: {', '.join(get_args(Scope))}.")
    state = State()
    bearer = fetch_token(
        state.running().url("idp"),
        client_secret(state.idp),
        organisations=organisation,
        scopes=scopes,
        own=own,
        client=client,
        algorithm=algorithm,
    )
    print(bearer)


@app.command("rotate-token-keys")
def rotate_token_keys() -> None:
    """Give the identity provider new signing keys; tokens signed by the old ones stay valid until they expire."""
    from cvhub.idp.keys import KeyFolder  # noqa: PLC0415

    state = State()
    state.running()
    keys = KeyFolder(state.idp / "keys")
    keys.rotate()
    console.print(
        "New tokens are signed by " + ", ".join(keys.signing(name).kid for name in ("ES256", "RS256"))
    )


@app.command()
def citizens(
    limit: Annotated[int, typer.Option(min=1)] = 20,
    case: Annotated[str | None, typer.Option(help="Only the citizens of this case.")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """List synthetic citizens to try things with. None of them exists."""
    from cvhub.people import listed  # noqa: PLC0415

    rows = listed(limit, case)
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    table = Table(*(rows[0] if rows else ["no such case"]), box=None)
    for row in rows:
        table.add_row(*map(cell, row.values()))
    Console(width=max(console.width, 110)).print(table)


@app.command()
def follow(
    topic: str,
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with the oldest event.")] = False,
) -> None:
    """Print the events of a topic as they come: their envelope, one line each."""
    from cvhub.follow import print_events  # noqa: PLC0415

    print_events(State().running().bootstrap_servers, topic, from_start=from_start)


@app.command()
def messages(
    channel: Annotated[str, typer.Argument(help="mail or sms; without it both.")] = "",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """List what was sent to citizens, the newest first. It ends in the sinks and leaves this machine never."""
    from cvhub.sinks.reading import sent  # noqa: PLC0415

    if channel not in ("", "mail", "sms"):
        raise CannotStart("There are two kinds of messages: `cvhub messages mail` and `cvhub messages sms`.")
    with _of_the_sinks():
        found = sent(State().running(), channel)
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return
    for message in found:
        head = f"{message['at']}  {message['channel']} to {message['to']}  {message['subject']}"
        console.rule(cell(head), align="left")
        console.print(message["text"], highlight=False, markup=False)


@app.command("print-service")
def print_service(
    behaviour: Annotated[
        str, typer.Argument(help="works, refuses, fails, hangs, loses-answers, hangs-afterwards or breaks.")
    ] = "",
) -> None:
    """List the letters that were printed, the newest first; or tell the print service how to behave from now on."""
    from cvhub.services import SINKS  # noqa: PLC0415
    from cvhub.sinks.reading import behave, letters  # noqa: PLC0415

    state = State()
    run = state.running()
    with _of_the_sinks():
        printed = [] if behaviour else letters(run)
        taken = not behaviour or behave(run, state.secret(SINKS), behaviour)
    for letter in printed:
        print(f"{letter['at']}  {run.url(SINKS)}/letters/{letter['id']}")
    if not taken:
        raise CannotStart(f"The print service cannot be told '{behaviour}': `cvhub print-service --help`.")


@contextlib.contextmanager
def _of_the_sinks() -> Iterator[None]:
    """Say it in a sentence when the sinks are away."""
    from httpx import HTTPError  # noqa: PLC0415 - the other commands start faster without

    try:
        yield
    except HTTPError as error:
        raise CannotStart(
            "The sinks of mail, SMS and letters do not answer: `cvhub logs sinks` says why."
        ) from error


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Wipe all local data: databases, Kafka, keys, logs."""
    state = State()
    if state.is_held():
        raise CannotStart("cvhub is running here: `make down` first.")
    if not state.folder.exists():
        console.print("There is nothing to wipe.")
        return
    if not yes:
        typer.confirm(f"Wipe {state.folder}, with all data, keys and logs in it?", abort=True)
    shutil.rmtree(state.folder)
    console.print("Wiped. `make up` starts anew.")


operations.register(app)
app.add_typer(access_log.app, name="access-log")
app.command()(doctor)
app.command()(erase)
app.command()(explain)


def main() -> None:
    no_core_dumps()
    try:
        app()
    except CannotStart as error:
        _say(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.errno != 28:
            raise
        _say("The disk is full: free some space and run again; the data are kept.")


def _say(sentence: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"[red]cvhub:[/] {escape(sentence)}", highlight=False)
    sys.exit(1)


if __name__ == "__main__":
    main()
