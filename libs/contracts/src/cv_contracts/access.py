"""Which organisation may use which method for which citizens: the access table as data, read from access.csv.

The list can be replaced without a change of code. What a relation is and when it holds is decided by the policy.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

Kind = Literal["own", "referred", "all", "yes", "consent", "no", "-"]
"""own: the citizen has a relation to the acting authority today.
referred: the same, and the authority has referred the citizen to the caller's own organisation.
all: every citizen. yes: the method is about no one citizen. consent: the citizen's consent stands in for a relation.
no: never. -: the method is not for this kind of organisation at all, as if the scope were missing."""

Extra = Literal["", "filtered", "quota", "asylum-window", "status-1-2", "status-rules"]
"""filtered: citizens without the relation are left out of the answer, without a fault.
quota: each client has a quota. asylum-window: only between the two dates, both included.
status-1-2: other statuses are refused with the rule's fault. status-rules: 9008, 4368-4370, 9009 bind the caller."""

_KINDS: tuple[Kind, ...] = get_args(Kind)
_EXTRAS: tuple[Extra, ...] = get_args(Extra)


@dataclass(frozen=True, slots=True)
class Rule:
    """One cell of the access table. `fault` is what a caller gets that the rule does not let through.

    `unregistered_fault` takes its place where the citizen has no a-kasse at all; `window_days` is how many days before
    and after a membership it still counts for reading.
    """

    kind: Kind
    fault: int | None = None
    unregistered_fault: int | None = None
    window_days: int = 0
    extra: Extra = ""


AccessTable = Mapping[tuple[int, int], Rule]
"""Rules by method number and organisation type; an other actor is looked up by its own type, 4."""


def load(path: Path | None = None) -> AccessTable:
    """Read the table from a file, or the one that comes with the package."""
    source = path or files(__package__).joinpath("access.csv")
    rows = csv.DictReader(source.read_text(encoding="utf-8").splitlines())
    return MappingProxyType({(int(row["method"]), int(row["organisation_type"])): _rule(row) for row in rows})


def _rule(row: Mapping[str, str]) -> Rule:
    kind, extra = row["kind"], row["extra"]
    if kind not in _KINDS or extra not in _EXTRAS:
        raise ValueError(f"unknown kind or extra in the access table: {kind!r}, {extra!r}")
    return Rule(
        kind=kind,
        fault=_code(row["fault"]),
        unregistered_fault=_code(row["unregistered_fault"]),
        window_days=int(row["window_days"] or 0),
        extra=extra,
    )


def _code(text: str) -> int | None:
    return int(text) if text else None


ACCESS: AccessTable = load()
