"""The access table cell by cell: nineteen methods, six organisation types and the other actor."""

from pathlib import Path

import pytest

from cv_contracts.access import ACCESS, Rule, load
from cv_contracts.methods import METHOD_BY_NUMBER

FUND, OTHER, MUNICIPALITY, JOBCENTER, COMPANY, STAR, JOBNET = 1, 4, 7, 8, 24, 100, 101
TYPES = (FUND, OTHER, MUNICIPALITY, JOBCENTER, COMPANY, STAR, JOBNET)
READ = {1, 2, 6, 7, 8}
NO = Rule("no", 8292)
ALL = Rule("all")


def expected(method: int, organisation: int) -> Rule:  # noqa: C901, PLR0911, PLR0912 - one case per row of the specification
    match method, organisation:
        case (10, _):
            return Rule("consent", 9192, extra="quota")
        case (15 | 16, _):
            return ALL if organisation == JOBNET else Rule("-", 1013)
        case (_, 24):
            return NO
        case (1 | 2 | 6 | 7 | 8, 1):
            return Rule("own", 8291, unregistered_fault=4385, window_days=120)
        case (1 | 2 | 3 | 6 | 7 | 8, 7 | 8):
            return Rule("own", 4575)
        case (1 | 2 | 3 | 6 | 7 | 8, 4):
            return Rule("referred", 4511)
        case (1 | 2 | 6 | 7 | 8, 100 | 101):
            return ALL
        case (3, 1):
            return Rule("own", 8291, unregistered_fault=4385)
        case (4, 1):
            return Rule("own", 8291, unregistered_fault=4385, extra="status-rules")
        case (4, 7 | 8):
            return Rule("own", 4575, extra="status-rules")
        case (4, 4):
            return Rule("referred", 4511, extra="status-rules")
        case (4, 101):
            return Rule("all", 4575, extra="status-1-2")
        case (5, _):
            return Rule("yes")
        case (9 | 17 | 18, 1 | 7 | 8):
            return Rule("own", extra="filtered")
        case (9 | 17 | 18, 4):
            return Rule("referred", extra="filtered")
        case (9 | 17 | 18, _):
            return ALL
        case (11 | 12, 8):
            return Rule("own", 6005)
        case (13, 8):
            return Rule("own", 6005, extra="asylum-window")
        case (14 | 19, 1 | 7 | 8):
            return Rule("own", 4575)
        case (14 | 19, 4):
            return Rule("referred", 4575)
        case (3 | 13 | 14 | 19, 101):
            return ALL
        case _:
            return NO


@pytest.mark.parametrize("organisation", TYPES)
@pytest.mark.parametrize("method", range(1, 20))
def test_a_cell_says_what_the_specification_says(method: int, organisation: int) -> None:
    assert ACCESS[method, organisation] == expected(method, organisation)


def test_the_table_is_whole_and_has_nothing_else() -> None:
    assert set(ACCESS) == {(method, organisation) for method in range(1, 20) for organisation in TYPES}


@pytest.mark.parametrize("cell", ACCESS)
def test_a_rule_refuses_only_with_faults_that_its_method_may_answer(cell: tuple[int, int]) -> None:
    rule = ACCESS[cell]
    faults = {rule.fault, rule.unregistered_fault} - {None}
    assert faults <= METHOD_BY_NUMBER[cell[0]].faults


@pytest.mark.parametrize("cell", ACCESS)
def test_a_rule_that_can_refuse_has_a_fault_unless_it_leaves_out(cell: tuple[int, int]) -> None:
    rule = ACCESS[cell]
    assert (rule.fault is not None) or rule.kind in {"all", "yes"} or rule.extra == "filtered"


def test_only_reading_looks_beyond_today() -> None:
    assert {method for (method, _), rule in ACCESS.items() if rule.window_days} == READ


def test_another_table_can_take_its_place(tmp_path: Path) -> None:
    table = tmp_path / "access.csv"
    table.write_text(
        "method,organisation_type,kind,fault,unregistered_fault,window_days,extra\n5,24,yes,,,,\n"
    )
    assert load(table) == {(5, 24): Rule("yes")}


@pytest.mark.parametrize("row", ["5,24,maybe,,,,", "5,24,yes,,,,sometimes"])
def test_a_table_with_a_word_that_nobody_knows_is_refused(tmp_path: Path, row: str) -> None:
    table = tmp_path / "access.csv"
    table.write_text(f"method,organisation_type,kind,fault,unregistered_fault,window_days,extra\n{row}\n")
    with pytest.raises(ValueError, match="unknown kind or extra"):
        load(table)
