from datetime import date, timedelta
from itertools import product

import pytest

from cv_registry.domain import (
    AsylumDates,
    CvState,
    change_of,
    fault_of_dates,
    fault_of_reading,
    fault_of_replacing,
    fault_of_update,
    fault_of_window,
    may_be_shown_by_number,
)

ACTIVE, ARCHIVED, DISABLED, LOCKED, DELETED = CvState
DATES = AsylumDates(date(2026, 3, 1), date(2026, 3, 31))
LONGEST = timedelta(days=180)


@pytest.mark.parametrize(
    ("state", "dead", "reading", "replacing", "by_number"),
    [
        (None, False, 4755, None, False),
        (ACTIVE, False, None, None, True),
        (ARCHIVED, False, 4753, 4753, False),
        (DISABLED, False, 4754, 4754, False),
        (LOCKED, False, None, 4823, False),
        (DELETED, False, 4755, 4755, False),
        (None, True, 4754, 4405, False),
        (ACTIVE, True, 4754, 4405, False),
        (ARCHIVED, True, 4753, 4405, False),
        (DISABLED, True, 4754, 4405, False),
        (LOCKED, True, 4754, 4405, False),
        (DELETED, True, 4754, 4405, False),
    ],
)
def test_state_and_death_decide_who_may_read_and_replace(
    state: CvState | None, dead: bool, reading: int | None, replacing: int | None, by_number: bool
) -> None:
    assert fault_of_reading(state, dead=dead) == reading
    assert fault_of_replacing(state, dead=dead) == replacing
    assert may_be_shown_by_number(state, dead=dead) is by_number


def test_a_deleted_cv_never_moves_again_and_nothing_moves_to_itself() -> None:
    assert all(change_of(DELETED, wanted) is None for wanted in CvState)
    assert all(change_of(state, state) is None for state in CvState)


def test_every_living_cv_can_be_deleted_and_every_other_state_can_return_to_active() -> None:
    living = [state for state in CvState if state is not DELETED]
    assert {change_of(state, DELETED) for state in living} == {"deleted"}
    assert [change_of(state, ACTIVE) for state in (ARCHIVED, DISABLED, LOCKED)] == [
        "restored",
        "enabled",
        "unlocked",
    ]


@pytest.mark.parametrize(
    ("day", "fault"),
    [
        (date(2026, 2, 28), 9231),
        (date(2026, 3, 1), None),
        (date(2026, 3, 31), None),
        (date(2026, 4, 1), 9230),
    ],
)
def test_both_ends_of_the_asylum_window_are_inside(day: date, fault: int | None) -> None:
    assert fault_of_window(DATES, day, group_may_replace=True) == fault
    assert fault_of_window(None, day, group_may_replace=True) == 9231
    assert fault_of_window(DATES, day, group_may_replace=False) == 9232


@pytest.mark.parametrize(
    ("edit_end", "group", "fault"),
    [
        (date(2026, 2, 28), False, 9196),
        (date(2026, 3, 1), True, None),
        (date(2026, 3, 1) + LONGEST, True, None),
        (date(2026, 3, 2) + LONGEST, True, 9197),
        (date(2026, 3, 2) + LONGEST, False, 9197),
        (date(2026, 3, 1), False, 9198),
    ],
)
def test_asylum_dates_are_checked_in_the_order_of_the_seed(
    edit_end: date, group: bool, fault: int | None
) -> None:
    assert fault_of_dates(AsylumDates(date(2026, 3, 1), edit_end), LONGEST, group_may_have=group) == fault


@pytest.mark.parametrize(
    ("transition", "comment", "fault"),
    [
        (date(2026, 3, 1), None, None),
        (date(2026, 3, 2), "flyttet", None),
        (date(2026, 3, 2), None, 9202),
        (date(2026, 3, 2), "", 9202),
        (date(2026, 3, 2), " \t ", 9202),
    ],
)
def test_a_moved_transition_date_needs_a_comment(
    transition: date, comment: str | None, fault: int | None
) -> None:
    wanted = AsylumDates(transition, DATES.edit_end)
    assert fault_of_update(DATES, wanted, comment, date(2026, 3, 15)) == fault


def test_nothing_to_update_and_an_update_that_comes_too_late() -> None:
    assert fault_of_update(None, DATES, None, date(2026, 3, 15)) == 9201
    assert fault_of_update(DATES, DATES, None, DATES.edit_end) is None
    assert fault_of_update(DATES, DATES, None, DATES.edit_end + timedelta(days=1)) == 9200


def test_the_moves_are_those_of_the_specified_life_cycle() -> None:
    moves = {(a, b): change_of(a, b) for a, b in product(CvState, CvState) if change_of(a, b)}
    assert moves[ACTIVE, LOCKED] == "locked"
    assert (ARCHIVED, LOCKED) not in moves
    assert (DISABLED, LOCKED) not in moves
    assert {change for change in moves.values() if change} == {
        "archived", "restored", "disabled", "enabled", "locked", "unlocked", "deleted",
    }  # fmt: skip
