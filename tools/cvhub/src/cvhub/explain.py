"""`cvhub explain`: which row of the access table lets a caller through or not, and from which relation. No data of the citizen."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from cv_contracts.methods import METHODS, Method
from cvhub.access.command import organisation_of
from cvhub.operator import Operator
from cvhub.servers.process import CannotStart

console = Console()
REASONS: Mapping[str, str] = {
    "never": "the row lets nobody of this kind through",
    "all": "the row lets this kind through for every citizen",
    "yes": "the method is about no one citizen",
    "consent": "the citizen's consent stands in for a relation",
    "related": "the citizen belongs to the authority",
    "related-within-window": "the citizen belongs to the authority within the days that the row adds; without a protected address",
    "anothers": "the citizen belongs to another organisation of this kind",
    "unregistered": "the citizen belongs to no organisation of this kind",
    "referred": "the authority has the citizen and has referred the citizen to the user's organisation",
    "not-referred": "the authority has the citizen, but has not referred the citizen to the user's organisation",
    "authority-not-related": "the authority that is acted for does not have the citizen itself",
}


def explain(
    method: Annotated[str, typer.Argument(help="Name or number of the method, such as GetCV.")],
    citizen: Annotated[str, typer.Option(help="The person number; '-' reads it from standard input.")],
    acting: Annotated[str, typer.Option("--as", help="TYPE:CODE of the authority acted as.")],
    user_of: Annotated[
        str, typer.Option("--user-of", help="TYPE:CODE of the user's organisation, if another.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Tell why the access table allows or refuses. Ends with 1 where it refuses."""
    asked = {
        "personNumber": (sys.stdin.readline() if citizen == "-" else citizen).strip(),
        "method": method_of(method).number,
        "active": _organisation(acting),
        **({"request": _organisation(user_of)} if user_of else {}),
    }
    told = Operator("cv-registry").post("/explain", **asked)
    if told.get("unknown"):
        raise CannotStart("The registry has no such citizen.")
    print(json.dumps(told, ensure_ascii=False, indent=1) if as_json else in_words(told))
    raise typer.Exit(0 if told["allowed"] else 1)


def method_of(named: str) -> Method:
    """Find a method by its name, in any case, or its number."""
    for method in METHODS:
        if named.casefold() in (method.name.casefold(), str(method.number)):
            return method
    raise CannotStart(f"There is no method '{named}': give its name, such as GetCV, or its number, 1-19.")


def _organisation(written: str) -> dict[str, Any]:
    kind, code = organisation_of(written)
    return {"type": kind, "code": code}


def in_words(told: Mapping[str, Any]) -> str:
    """Say the answer in a few lines."""
    row = told["row"]
    written = ",".join(
        "" if row[name] is None else str(row[name])
        for name in (
            "method",
            "organisationType",
            "kind",
            "fault",
            "unregistered_fault",
            "window_days",
            "extra",
        )
    )
    refused = "left out, without a fault" if told["fault"] is None else f"{told['fault']} {told['title']}"
    lines = [
        "Allowed." if told["allowed"] else f"Refused: {refused}.",
        f"  why        {REASONS[told['why']]} (on {told['day']})",
        f"  row        {written}",
    ]
    if relation := told["relation"]:
        whose = f"{relation['organisationType']}:{relation['organisationCode']}"
        lines.append(f"  relation   {whose} from {relation['from']} to {relation.get('to', '-')}")
    if row["extra"] and told["allowed"]:
        lines.append(f"  and then   {row['extra']}: the method's own rules come after this")
    return "\n".join(lines)
