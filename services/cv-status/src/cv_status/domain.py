"""The rules of CV statuses: who may set which one for whom, and what a status is. Pure functions and one table."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from cv_contracts.access import Rule as AccessRule
from cv_contracts.codelists import CodeLists, ContactGroup, CvStatus
from cv_contracts.faults import Fault, FieldError

STARTED: Final = "STARTED"
RESERVED: Final = "RESERVED"
ACTIVE: Final = "ACTIVE"
NOT_IN_LIST: Final = FieldError("CvStatusSet.CvStatusIdentifier", "is not in the list of statuses")

_OF_JOBNET: Final = ("STARTED", "READY")


@dataclass(frozen=True, slots=True)
class StatusRule:
    """One row of the table: who of these organisation types is refused, with which fault.

    All conditions that are stated must hold. `families` are the benefit families of the citizen's contact group;
    a citizen without a known group belongs to the family none, and no fund may set a status there.
    """

    fault: int
    organisation_types: frozenset[int]
    comment: bool | None = None
    families: frozenset[str] = frozenset()
    fund_may_set_status: bool | None = None

    def refuses(self, organisation_type: int, group: ContactGroup | None, *, comment: bool) -> bool:
        family = group.benefit_family if group else "none"
        allowed_to_funds = group is not None and group.fund_may_set_status
        return (
            organisation_type in self.organisation_types
            and self.comment in (None, comment)
            and (not self.families or family in self.families)
            and self.fund_may_set_status in (None, allowed_to_funds)
        )


def load_rules(path: Path | None = None) -> tuple[StatusRule, ...]:
    """Read the table from a file, or the one that comes with the package; the first rule that refuses decides."""
    source = path or files(__package__).joinpath("rules.csv")
    rows = csv.DictReader(source.read_text(encoding="utf-8").splitlines())
    return tuple(
        StatusRule(
            fault=int(row["fault"]),
            organisation_types=frozenset(map(int, row["organisation_types"].split())),
            comment=_answer(row["comment"]),
            families=frozenset(row["families"].split()),
            fund_may_set_status=_answer(row["fund_may_set_status"]),
        )
        for row in rows
    )


def _answer(text: str) -> bool | None:
    return {"": None, "yes": True, "no": False}[text]


def status_of(lists: CodeLists, number: int) -> CvStatus:
    """Give the status that may be set; an unknown or reserved one is fault 1014."""
    status = lists.cv_statuses.get(number)
    if status is None or status.role == RESERVED:
        raise Fault(1014, errors=(NOT_IN_LIST,))
    return status


def fault_of_status(access: AccessRule, status: CvStatus) -> int | None:
    """Fault of an organisation that may set some statuses only (Jobnet: 1 and 2)."""
    return access.fault if access.extra == "status-1-2" and status.role not in _OF_JOBNET else None


def fault_of_rules(
    rules: Sequence[StatusRule],
    access: AccessRule,
    organisation_type: int,
    group: ContactGroup | None,
    *,
    comment: bool,
) -> int | None:
    """Fault of the method's own rules (9008, 4368-4370, 9009) where they bind; of an other actor its authority counts."""
    if access.extra != "status-rules":
        return None
    return next((r.fault for r in rules if r.refuses(organisation_type, group, comment=comment)), None)
