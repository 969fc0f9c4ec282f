"""`cvhub erase`: a citizen leaves for good, and every service says what it has removed."""

import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cvhub.erasing.carrying_out import Away, Erasing, NotDone, Services
from cvhub.erasing.orders import Order, Orders
from cvhub.servers.process import CannotStart
from cvhub.showing import cell

__all__ = ["WAIT_SECONDS", "erase", "report_of"]

WAIT_SECONDS = 60.0
GO_ON = "`cvhub erase --pending` goes on"
console = Console()


def erase(
    person: Annotated[
        str, typer.Argument(help="Person number or person id; '-' reads it from standard input.")
    ] = "",
    *,
    reason: Annotated[str, typer.Option(help="Why; it must not name the citizen.")] = "",
    pending: Annotated[bool, typer.Option("--pending", help="Go on with orders that are not done.")] = False,
    repeat_all: Annotated[
        bool, typer.Option("--repeat-all", help="Carry out every order again: a back-up was restored.")
    ] = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the receipts.", min=0)] = WAIT_SECONDS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the reports as JSON.")] = False,
) -> None:
    """Erase a citizen in every service, and report what each has removed. Ends with 1 while a receipt is missing."""

    def told(order: Order, service: str, receipt: Mapping[str, Any]) -> None:
        if not as_json:
            console.print(f" [green]✓[/] {order.id} {service:22} {_removed(receipt)}", highlight=False)

    services, orders = Services(), Orders()
    erasing = Erasing(orders, services)
    if repeat_all:
        orders.repeat_all()
    chosen = erasing.open_orders() if pending or repeat_all else [_ordered(erasing, person, reason)]
    done, trouble = _each_carried_out(erasing, chosen)
    for not_done in erasing.collect(done, wait, told).values():
        typer.echo(f"{not_done}.", err=True)
    reports = [report_of(erasing, order) for order in done]
    if as_json:
        print(json.dumps(reports, indent=1))
    else:
        for report in reports:
            _show(report)
        if not chosen:
            console.print("Nothing is left to be erased.")
    if trouble is not None:
        left = len(chosen) - len(done)
        raise CannotStart(f"{trouble}: {left} of {len(chosen)} orders are not carried out; {GO_ON}.")
    raise typer.Exit(0 if all(not report["missing"] for report in reports) else 1)


def _ordered(erasing: Erasing, person: str, reason: str) -> Order:
    named = sys.stdin.readline() if person == "-" else person
    if not named.strip() or not reason.strip():
        raise CannotStart("Whom, and why? `cvhub erase PERSON --reason …`")
    try:
        return erasing.order(named, reason, getpass.getuser())
    except NotDone as error:
        raise CannotStart(f"{error}: nothing is erased, and no order is kept.") from error


def _each_carried_out(erasing: Erasing, orders: Sequence[Order]) -> tuple[list[Order], NotDone | None]:
    """Give what is carried out now, and why not all is, if so. Of a registry that gives no answer nothing more is asked."""
    done, trouble = [order for order in orders if order.version is not None], None
    for order in orders:
        if order.version is None:
            try:
                done.append(erasing.carry_out(order))
            except NotDone as error:
                trouble = error
                if isinstance(error, Away):
                    break
                typer.echo(f"Order {order.id} is not carried out: {error}.", err=True)
    return done, trouble


def report_of(erasing: Erasing, order: Order) -> dict[str, Any]:
    """Say what an erasure has come to: what was removed where, what is missing, and the access rows that stay."""
    receipts = erasing.orders.receipts(order)
    return {
        "order": str(order.id),
        "personId": str(order.person_id),
        "version": order.version,
        "reason": order.reason,
        "by": order.who,
        "receipts": receipts,
        "missing": erasing.missing(order),
        "accessRows": {s: receipt["accessRows"] for s, receipt in receipts.items() if receipt["accessRows"]},
    }


def _removed(receipt: Mapping[str, Any]) -> str:
    removed = ", ".join(f"{rows} {name}" for name, rows in receipt["removed"].items() if rows)
    return removed or "had nothing"


def _show(report: Mapping[str, Any]) -> None:
    table = Table("service", "erased at", "removed", "access rows that stay", box=None)
    for service, receipt in report["receipts"].items():
        shown = (service, receipt["erasedAt"], _removed(receipt), receipt["accessRows"])
        table.add_row(*map(cell, shown))
    console.print(table)
    rows = sum(report["accessRows"].values())
    console.print(
        f"Order {report['order']}: {rows} access rows stay for their legal period, under the person id {report['personId']}.",
        highlight=False,
    )
    if report["missing"]:
        console.print(f"No receipt yet from {', '.join(report['missing'])}: {GO_ON}.", highlight=False)
