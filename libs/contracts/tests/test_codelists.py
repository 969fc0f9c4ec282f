"""The code lists say what the decisions say, and a list that cannot be used is told by file and line."""

import shutil
import time
from collections import defaultdict
from math import hypot
from pathlib import Path
from statistics import median
from typing import get_args

import pytest

from cv_contracts import codelists
from cv_contracts.codelists import DATA, BadCodeList, default, load
from cv_contracts.wire.cv_parts import DriverLicenseEnum, EducationLevelEnum, LanguageSkillLevelType

LISTS = default()


def test_every_file_is_read_and_loading_is_quick() -> None:
    started = time.process_time()
    lists = load()
    assert time.process_time() - started < 1.0
    assert lists == LISTS
    assert default() is LISTS
    assert {path.stem for path in DATA.glob("*.csv")} == set(vars(lists))


def test_statuses_have_the_roles_that_code_speaks_of() -> None:
    statuses = {status.id: (status.role, status.name, status.frozen) for status in LISTS.cv_statuses.values()}
    assert statuses == {
        1: ("STARTED", "Påbegyndt", False),
        2: ("READY", "Klar til kvalitetssikring", True),
        3: ("APPROVED", "CV godkendt", True),
        4: ("RESERVED", "(reserveret)", False),
        5: ("REJECTED", "CV ej godkendt", True),
    }
    assert LISTS.status_id("APPROVED") == 3
    with pytest.raises(KeyError):
        LISTS.status_id("approved")


def test_contact_groups_carry_their_family_and_flags() -> None:
    groups = LISTS.contact_groups
    assert {number: group.benefit_family for number, group in groups.items()} == {
        1: "dagpenge",
        2: "kontanthjælp",
        3: "kontanthjælp-integration",
        8: "dagpenge",
        12: "uddannelseshjælp",
        13: "none",
        23: "arbejdsmarkedsydelse",
        **dict.fromkeys((26, 27, 28, 29), "integrationsydelse"),
    }
    assert [g.number for g in groups.values() if g.fund_may_set_status] == [1, 8, 23]
    assert [g.number for g in groups.values() if g.asylum_dates] == [3, 26, 27, 28, 29]
    assert [g.number for g in groups.values() if g.replace_cv] == [3, 26, 27, 28, 29]


def test_contact_data_types_and_statuses_are_the_decisions() -> None:
    types = {entry.id: (entry.role, entry.verifiable) for entry in LISTS.contact_data_types.values()}
    assert types == {1: ("MOBILE", True), 2: ("LANDLINE", False), 3: ("EMAIL", True)}
    assert {entry.id: entry.role for entry in LISTS.contact_statuses.values()} == {
        1: "NOT_VERIFIED",
        2: "VERIFIED",
        3: "UNDELIVERABLE",
        4: "BLOCKED",
    }
    assert LISTS.contact_type_id("EMAIL") == 3


def test_organisation_and_user_types_are_the_decisions() -> None:
    assert {entry.id: entry.assumed for entry in LISTS.organisation_types.values()} == {
        1: True,
        4: False,
        7: False,
        8: False,
        24: False,
        100: True,
        101: True,
    }
    assert {entry.id: entry.name for entry in LISTS.user_types.values()} == {
        1: "Borger",
        2: "Sagsbehandler",
        3: "System",
        4: "Medarbejder",
    }


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (1, "10"),
        (1, "67"),
        (7, "101"),
        (8, "10100"),
        (8, "86000"),
        (100, "1"),
        (101, "1"),
        (4, "12345678"),
        (24, "87654321"),
    ],
)
def test_an_organisation_is_known(kind: int, code: str) -> None:
    assert LISTS.knows_organisation(kind, code)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(1, "D10"), (1, "11"), (1, "010"), (7, "100"), (7, "0101"), (8, "101"), (8, "10101"), (8, "41100"), (100, "2"), (101, ""),
     (4, "1234567"), (4, "1234567a"), (4, "12345678\n"), (24, "१२३४५६७८"), (2, "1"), (0, "")],
)  # fmt: skip
def test_an_organisation_is_unknown(kind: int, code: str) -> None:
    assert not LISTS.knows_organisation(kind, code)


@pytest.mark.parametrize(
    ("code", "shown"),
    [("751", ("751", "Aarhus")), ("999", ("999", "Ukendt")), (None, ("000", "Ukendt"))],
)
def test_a_municipality_is_shown_by_code_and_name_and_so_is_none(
    code: str | None, shown: tuple[str, str]
) -> None:
    assert LISTS.municipality(code) == shown
    assert "000" not in LISTS.municipalities


def test_every_municipality_has_a_jobcenter() -> None:
    assert len(LISTS.municipalities) == 99
    for code in LISTS.municipalities.keys() - {"411"}:
        assert LISTS.knows_organisation(7, code)
        assert LISTS.knows_organisation(8, code + "00")


def test_the_lists_of_the_seeds_enums_are_complete() -> None:
    assert set(LISTS.driver_licences) == set(get_args(DriverLicenseEnum))
    assert set(LISTS.education_levels) == set(get_args(EducationLevelEnum))
    assert set(LISTS.language_levels) == set(get_args(LanguageSkillLevelType))


def test_education_levels_are_ranked() -> None:
    ranked = sorted(LISTS.education_levels.values(), key=lambda level: level.rank)
    assert [level.code for level in ranked if level.rank != 3] == [
        "Unknown",
        "PrimarySchoolFoundation",
        "PrimarySchoolLastLevel",
        "SecondarySchool",
        "Vocational",
        "ShortTertiaryEducation",
        "Bachelor",
        "Master",
        "PhdOrPostdoc",
    ]


def test_names_fit_the_elements_they_are_answered_in() -> None:
    assert all(len(code) <= 4 and len(name) <= 50 for code, name in LISTS.languages.items())
    assert all(1 <= len(m.name) <= 100 for m in LISTS.municipalities.values())
    assert all(len(o.title) <= 100 for o in LISTS.occupations.values())
    assert all(len(e.title) <= 100 for e in LISTS.educations.values())
    assert all(len(q.name) <= 100 for q in LISTS.qualifications.values())
    assert all(len(p.city) <= 50 and len(p.code) == 4 for p in LISTS.postal_codes.values())
    assert all(len(code) == 2 for code in LISTS.countries)


def test_a_postal_code_lies_in_its_municipality_or_on_an_island_of_it() -> None:
    """A degree of latitude is 111 km here, one of longitude 62 km."""
    by_municipality = defaultdict(list)
    for postal in LISTS.postal_codes.values():
        by_municipality[postal.municipality_code].append(postal)
    for places in by_municipality.values():
        north = median(place.latitude for place in places)
        east = median(place.longitude for place in places)
        far = [p for p in places if hypot(111 * (p.latitude - north), 62 * (p.longitude - east)) > 75]
        assert far == []


def test_titles_that_are_answered_and_counted_are_unique() -> None:
    for names in (
        [o.title.casefold() for o in LISTS.occupations.values()],
        [q.name.casefold() for q in LISTS.qualifications.values()],
        [e.title.casefold() for e in LISTS.educations.values()],
    ):
        assert len(names) == len(set(names))


def test_search_words_are_the_seeds() -> None:
    words = {entry.element: (entry.group, entry.name) for entry in LISTS.conditions.values()}
    assert words == {
        "FullTimeEmployment": ("WorkTime", "Fuldtid"),
        "PartTimeEmployment": ("WorkTime", "Deltid"),
        "StartAsSoonAsPossible": ("WorkStart", "Hurtigst muligt"),
        "StartAsAgreedOn": ("WorkStart", "Efter aftale"),
        "PermanentJobPosition": ("EmploymentType", "Fast ansættelse"),
        "TemporaryJobPosition": ("EmploymentType", "Tidsbegrænset"),
        "StandardJobConditions": ("Jobconditions", "Almindelige vilkår"),
        "EarlyRetirementConditions": ("Jobconditions", "Efterlønner"),
        "DisabilityPensionerConditions": ("Jobconditions", "Førtidspensionist"),
    }


def test_a_file_of_ones_own_takes_the_place_of_the_packages(tmp_path: Path) -> None:
    (tmp_path / "languages.csv").write_text("code,name\nda,Dansk\n", encoding="utf-8")
    lists = load(tmp_path)
    assert dict(lists.languages) == {"da": "Dansk"}
    assert lists.occupations == LISTS.occupations


MUNICIPALITIES = "code,name,region_code,region_name,latitude,longitude"
POSTAL_CODES = "code,city,latitude,longitude,municipality_code,kind"
GROUPS = "number,name,benefit_family,assumed,fund_may_set_status,asylum_dates,replace_cv"


@pytest.mark.parametrize(
    ("name", "text", "line", "reason"),
    [
        ("languages", "code,title\nda,Dansk\n", 1, "column name is missing"),
        ("languages", "", 1, "column code, name is missing"),
        ("languages", "code,name\n", 1, "holds no entry"),
        ("languages", "code,name\nda,Dansk\nda,Dansk\n", 3, "da is there twice"),
        ("languages", "code,name\nda,\n", 2, "name is empty"),
        ("languages", "code,name\nda\n", 2, "1 values for 2 columns"),
        ("cv_statuses", "id,role,name,frozen\n1,BEGUN,x,0\n", 2, "role is not one of"),
        ("cv_statuses", "id,role,name,frozen\n1,STARTED,x,no\n", 2, "frozen is neither 0 nor 1"),
        ("cv_statuses", "id,role,name,frozen\n-1,STARTED,x,0\n", 2, "id is not a number"),
        ("cv_statuses", f"id,role,name,frozen\n{2**15 - 1},STARTED,x,0\n{2**15},READY,x,1\n", 3, f"id is more than {2**15 - 1}"),
        ("contact_data_types", f"id,role,name,verifiable\n{2**15},MOBILE,x,1\n", 2, f"id is more than {2**15 - 1}"),
        ("contact_statuses", f"id,role,name\n{2**15},VERIFIED,x\n", 2, f"id is more than {2**15 - 1}"),
        ("user_types", f"id,name,assumed\n{2**15},x,0\n", 2, f"id is more than {2**15 - 1}"),
        ("organisation_types", f"id,name,code_pattern,open,assumed\n{2**15},x,1,0,0\n", 2, f"id is more than {2**15 - 1}"),
        ("contact_groups", f"{GROUPS}\n1,x,dagpenge,0,1,0,0\n2,x,pension,0,1,0,0\n", 3, "benefit_family is not one of"),
        ("organisations", "type,code,name,short_name,assumed\n1,D10,x,x,0\n", 2, "code does not have the form"),
        ("organisations", "type,code,name,short_name,assumed\n3,10,x,x,0\n", 2, "type is not in its list"),
        ("educations", "id,title,level\n1,x,High\n", 2, "level is not in its list"),
        ("languages", f"code,name\nda,{'x' * 50}\nen,{'x' * 51}\n", 3, "name is longer than 50"),
        ("languages", "code,name\ndansk,x\n", 2, "code is longer than 4"),
        ("languages", "code,name\nda,a\x0bb\n", 2, "name does not have the form required"),
        ("driver_licences", f"code,name\nB,{'x' * 256}\n", 2, "name is longer than 255"),
        ("municipalities", f"{MUNICIPALITIES}\n0101,x,1,x,1,1\n", 2, "code does not have the form required"),
        ("municipalities", f"{MUNICIPALITIES}\n101,{'x' * 101},1,x,1,1\n", 2, "name is longer than 100"),
        ("occupations", f"id,title,isco08,synonyms\n1,{'x' * 256},1,\n", 2, "title is longer than 255"),
        ("occupations", f"id,title,isco08,synonyms\n{2**31 - 1},x,1,\n{2**31},x,1,\n", 3, f"id is more than {2**31 - 1}"),
        ("qualifications", f"id,name,kind,group\n1,{'x' * 256},x,x\n", 2, "name is longer than 255"),
        ("educations", f"id,title,level\n1,{'x' * 256},Bachelor\n", 2, "title is longer than 255"),
        ("education_levels", "code,rank,name\nBachelor,7,x\nMaster,8,x\n", 1, "LaborMarketCourses, OtherCourses, PhdOrPostdoc, "),
        ("language_levels", "code,rank,name\nNovice,1,x\nCompetent,3,x\nProficient,4,x\nExpert,5,x\n", 1, "AdvancedBeginner is missing"),
        ("conditions", "element,group,name\nFullTimeEmployment,WorkTime,Fuldtid\n", 1, "DisabilityPensionerConditions, "),
        ("conditions", "element,group,name\nFullTime,WorkTime,Fuldtid\n", 2, "element is not in its list"),
        ("conditions", f"element,group,name\nFullTimeEmployment,WorkTime,{'x' * 256}\n", 2, "name is longer than 255"),
        ("postal_codes", f"{POSTAL_CODES}\n2100,{'x' * 256},1,1,101,area\n", 2, "city is longer than 255"),
        ("postal_codes", f"{POSTAL_CODES}\n2100,x,N,1,101,area\n", 2, "latitude is not a decimal"),
        ("postal_codes", f"{POSTAL_CODES}\n2100,x,1,1,999,area\n", 2, "municipality_code is not in its list"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_by_name_and_line(
    tmp_path: Path, name: str, text: str, line: int, reason: str
) -> None:
    (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    with pytest.raises(BadCodeList, match=f"^{name}.csv, line {line}: {reason}") as caught:
        load(tmp_path)
    assert caught.value.line == line


def test_a_file_that_is_not_utf8_and_a_missing_directory_are_told(tmp_path: Path) -> None:
    (tmp_path / "languages.csv").write_bytes(b"code,name\nda,\xff\n")
    with pytest.raises(BadCodeList, match="cannot be read"):
        load(tmp_path)
    with pytest.raises(BadCodeList, match="is not a directory"):
        load(tmp_path / "nowhere")


def test_a_whole_copy_of_the_lists_can_be_used(tmp_path: Path) -> None:
    shutil.copytree(DATA, tmp_path / "lists")
    assert codelists.load(tmp_path / "lists") == LISTS
