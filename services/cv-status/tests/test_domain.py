"""The rules of statuses as a table that can be replaced: what holds whatever the table says."""

from pathlib import Path

import pytest

from cv_contracts.access import ACCESS
from cv_contracts.codelists.loading import load
from cv_status.domain import fault_of_rules, load_rules

FUND, MUNICIPALITY, JOBNET = 1, 7, 101
CASH_BENEFIT = load().contact_groups[2]
HEAD = "fault,organisation_types,comment,families,fund_may_set_status\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "rules.csv"


def test_a_citizen_without_a_known_group_belongs_to_the_family_none(table: Path) -> None:
    table.write_text(HEAD + "4369,7,,none,\n")
    rules = load_rules(table)
    access = ACCESS[4, MUNICIPALITY]
    assert fault_of_rules(rules, access, MUNICIPALITY, None, comment=False) == 4369
    assert fault_of_rules(rules, access, MUNICIPALITY, CASH_BENEFIT, comment=False) is None


def test_no_rule_of_the_table_binds_jobnet(table: Path) -> None:
    table.write_text(HEAD + "4368,1 7 8 101,,,\n")
    rules = load_rules(table)
    assert fault_of_rules(rules, ACCESS[4, JOBNET], JOBNET, CASH_BENEFIT, comment=False) is None
    assert fault_of_rules(rules, ACCESS[4, FUND], FUND, CASH_BENEFIT, comment=False) == 4368


def test_the_first_rule_that_refuses_decides(table: Path) -> None:
    table.write_text(HEAD + "9008,1,yes,,\n4369,1,,,\n")
    rules = load_rules(table)
    assert fault_of_rules(rules, ACCESS[4, FUND], FUND, CASH_BENEFIT, comment=True) == 9008
    assert fault_of_rules(rules, ACCESS[4, FUND], FUND, CASH_BENEFIT, comment=False) == 4369
