"""The rules of CVs and asylum dates: pure functions from what is known to a fault code, a move or an answer."""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from cv_contracts.events.cv_registry import CvChange


class CvState(StrEnum):
    """Life of a CV (decision 12). A citizen who never had a CV has no state at all; DELETED is final."""

    ACTIVE = "ACTIVE"
    ARCHIVED = "ARCHIVED"
    DISABLED = "DISABLED"
    LOCKED = "LOCKED"
    DELETED = "DELETED"


_MOVES: Final[dict[CvState, dict[CvState, CvChange]]] = {
    CvState.ACTIVE: {
        CvState.ARCHIVED: "archived",
        CvState.DISABLED: "disabled",
        CvState.LOCKED: "locked",
        CvState.DELETED: "deleted",
    },
    CvState.ARCHIVED: {
        CvState.ACTIVE: "restored",
        CvState.DISABLED: "disabled",
        CvState.DELETED: "deleted",
    },
    CvState.DISABLED: {
        CvState.ACTIVE: "enabled",
        CvState.ARCHIVED: "archived",
        CvState.DELETED: "deleted",
    },
    CvState.LOCKED: {
        CvState.ACTIVE: "unlocked",
        CvState.DISABLED: "disabled",
        CvState.DELETED: "deleted",
    },
    CvState.DELETED: {},
}


def change_of(present: CvState, wanted: CvState) -> CvChange | None:
    """Name of the move in the life cycle, or None where there is no such move."""
    return _MOVES[present].get(wanted)


def fault_of_reading(state: CvState | None, *, dead: bool) -> int | None:
    """Fault of GetCV; death disables a CV for readers, a locked CV may be read."""
    if state is CvState.ARCHIVED:
        return 4753
    if state is CvState.DISABLED or dead:
        return 4754
    if state is None or state is CvState.DELETED:
        return 4755
    return None


def may_be_shown_by_number(state: CvState | None, *, dead: bool) -> bool:
    """Tell whether method 10 shows a CV: in state ACTIVE only; death disables it."""
    return state is CvState.ACTIVE and not dead


_FAULT_OF_REPLACING: Final = {
    CvState.ARCHIVED: 4753,
    CvState.DISABLED: 4754,
    CvState.DELETED: 4755,
    CvState.LOCKED: 4823,
}


def fault_of_replacing(state: CvState | None, *, dead: bool) -> int | None:
    """Fault of ReplaceCV before its own rules; a CV that never existed may be created."""
    if dead:
        return 4405
    return None if state is None else _FAULT_OF_REPLACING.get(state)


@dataclass(frozen=True, slots=True)
class AsylumDates:
    """Danish days between which, both included, a jobcenter may replace the CV of a handed-over citizen."""

    transition: date
    edit_end: date


def fault_of_window(dates: AsylumDates | None, today: date, *, group_may_replace: bool) -> int | None:
    """Fault of a jobcenter's ReplaceCV: contact group, then the window (decision 13)."""
    if not group_may_replace:
        return 9232
    if dates is None or today < dates.transition:
        return 9231
    return 9230 if today > dates.edit_end else None


def fault_of_dates(dates: AsylumDates, longest: timedelta, *, group_may_have: bool) -> int | None:
    """Fault of the dates themselves, alike in CreateAsylumCVTransition and UpdateAsylumCVTransition."""
    if dates.edit_end < dates.transition:
        return 9196
    if dates.edit_end - dates.transition > longest:
        return 9197
    return None if group_may_have else 9198


def fault_of_update(
    present: AsylumDates | None, wanted: AsylumDates, comment: str | None, today: date
) -> int | None:
    """Fault of UpdateAsylumCVTransition after those of the dates."""
    if present is None:
        return 9201
    if today > present.edit_end:
        return 9200
    moved = wanted.transition != present.transition
    return 9202 if moved and not (comment or "").strip() else None
