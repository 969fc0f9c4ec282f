"""The policy over its full product, against a table written from the specification and not from the code."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import product
from uuid import UUID

import pytest

from cv_citizens.citizen import Citizen, Relation
from cv_citizens.policy import Actor, Decision, decide, fault_of_organisation
from cv_contracts.ids import CvId, PersonId
from servicekit.caller import Organisation

TODAY = date(2026, 11, 22)
FUND, ACTOR, TOWN, CENTER, FIRM, STAR, JOBNET = 1, 4, 7, 8, 24, 100, 101
CODES = {
    FUND: "10",
    ACTOR: "12345678",
    TOWN: "101",
    CENTER: "10100",
    FIRM: "87654321",
    STAR: "1",
    JOBNET: "1",
}
OTHERS = {FUND: "14", ACTOR: "11223344", TOWN: "147", CENTER: "14700"}
METHODS = range(1, 20)

# One line per group of methods: a-kasse, municipality, jobcenter, other actor, STAR, Jobnet, company.
# own:N is "own, else fault N", fund:W is "own within W days, 8291 another's, 4385 none", drop filters silently.
SPEC = {
    (1, 2, 6, 7, 8): ("fund:120", "own:4575", "own:4575", "referred:4511", "all", "all", "8292"),
    (3,): ("fund:0", "own:4575", "own:4575", "referred:4511", "8292", "all", "8292"),
    (4,): ("fund:0", "own:4575", "own:4575", "referred:4511", "8292", "all", "8292"),
    (5,): ("yes", "yes", "yes", "yes", "yes", "yes", "8292"),
    (9, 17, 18): ("own:drop", "own:drop", "own:drop", "referred:drop", "all", "all", "8292"),
    (10,): ("yes", "yes", "yes", "yes", "yes", "yes", "yes"),
    (11, 12): ("8292", "8292", "own:6005", "8292", "8292", "8292", "8292"),
    (13,): ("8292", "8292", "own:6005", "8292", "8292", "all", "8292"),
    (14, 19): ("own:4575", "own:4575", "own:4575", "referred:4575", "8292", "all", "8292"),
    (15, 16): ("1013", "1013", "1013", "1013", "1013", "all", "1013"),
}
COLUMNS = (FUND, TOWN, CENTER, ACTOR, STAR, JOBNET, FIRM)
CELL = {
    (method, column): cell
    for methods, row in SPEC.items()
    for method in methods
    for column, cell in zip(COLUMNS, row, strict=True)
}
OUTRIGHT = ("8292", "1013")


@dataclass(frozen=True)
class Case:
    """A period of a relation to the acting authority, told by days from today; None is an open end."""

    name: str
    start: int
    end: int | None
    holds_today: bool
    within_120: bool


PERIODS = (
    Case("open since long ago", -4000, None, holds_today=True, within_120=True),
    Case("from today", 0, None, holds_today=True, within_120=True),
    Case("until today", -500, 0, holds_today=True, within_120=True),
    Case("only today", 0, 0, holds_today=True, within_120=True),
    Case("from tomorrow", 1, None, holds_today=False, within_120=True),
    Case("until yesterday", -500, -1, holds_today=False, within_120=True),
    Case("from in 120 days", 120, None, holds_today=False, within_120=True),
    Case("from in 121 days", 121, None, holds_today=False, within_120=False),
    Case("until 120 days ago", -500, -120, holds_today=False, within_120=True),
    Case("until 121 days ago", -500, -121, holds_today=False, within_120=False),
)


def days(count: int | None) -> date | None:
    return None if count is None else TODAY + timedelta(days=count)


def relation(kind: int, code: str, case: Case = PERIODS[0], by: tuple[int, str] | None = None) -> Relation:
    return Relation(kind, code, TODAY + timedelta(days=case.start), days(case.end), by)


def citizen(*relations: Relation, protected: bool = False) -> Citizen:
    return Citizen(
        person_id=PersonId(UUID(int=1)),
        version=1,
        cv_id=CvId(UUID(int=2)),
        cv_number="12345678",
        relations=relations,
        address_protected=protected,
    )


def acting(kind: int) -> Actor:
    own = Organisation(kind, CODES[kind])
    return Actor(active=own, request=own)


def outcome(decision: Decision) -> str:
    if decision.allowed:
        assert decision.fault is None
        return "allowed"
    return "drop" if decision.fault is None else str(decision.fault)


def expected_of_own(cell: str, case: Case | None, *, another: bool) -> str:
    """What the specification says about a citizen with this relation, and perhaps one to another authority."""
    rule, _, detail = cell.partition(":")
    match rule:
        case "own":
            return "allowed" if case is not None and case.holds_today else detail
        case "fund":
            counts = case is not None and (case.holds_today or (detail == "120" and case.within_120))
            return "allowed" if counts else "8291" if another else "4385"
        case "all" | "yes":
            return "allowed"
        case _:
            return cell


@pytest.mark.parametrize("kind", [FUND, TOWN, CENTER, FIRM, STAR, JOBNET])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_and_organisation_is_decided_as_the_table_says(method: int, kind: int) -> None:
    cell = CELL[method, kind]
    for case, another in product((None, *PERIODS), (False, True)):
        relations = [] if case is None else [relation(kind, CODES[kind], case)]
        if another:
            relations += [relation(other, code) for other, code in OTHERS.items() if other != ACTOR]
        decision = decide(method, acting(kind), citizen(*relations), TODAY)
        assert outcome(decision) == expected_of_own(cell, case, another=another), (cell, case, another)


def referrals() -> Iterator[tuple[bool, tuple[Relation, ...]]]:
    """Whether an other actor that acts for the jobcenter may, and the citizen's relations."""
    center = (CENTER, CODES[CENTER])
    for own, referral in product(PERIODS, PERIODS):
        both = (relation(*center, own), relation(ACTOR, CODES[ACTOR], referral, center))
        yield own.holds_today and referral.holds_today, both
    here = relation(*center)
    yield False, ()
    yield False, (here,)
    yield False, (relation(ACTOR, CODES[ACTOR], by=center),)
    yield False, (here, relation(ACTOR, OTHERS[ACTOR], by=center))
    yield False, (here, relation(ACTOR, CODES[ACTOR], by=(CENTER, OTHERS[CENTER])))
    yield False, (here, relation(ACTOR, CODES[ACTOR], by=(TOWN, CODES[TOWN])))


@pytest.mark.parametrize("method", METHODS)
def test_an_other_actor_needs_the_referral_by_the_active_authority_that_has_the_citizen(method: int) -> None:
    cell = CELL[method, ACTOR]
    actor = Actor(Organisation(CENTER, CODES[CENTER]), Organisation(ACTOR, CODES[ACTOR]))
    for may, relations in referrals():
        rule, _, fault = cell.partition(":")
        expected = (
            ("allowed" if may else fault)
            if rule == "referred"
            else expected_of_own(cell, None, another=False)
        )
        assert outcome(decide(method, actor, citizen(*relations), TODAY)) == expected, (may, relations)


@pytest.mark.parametrize("active", [FUND, TOWN, CENTER, STAR, JOBNET])
@pytest.mark.parametrize("method", METHODS)
def test_an_other_actor_never_passes_as_the_authority_it_acts_for(method: int, active: int) -> None:
    actor = Actor(Organisation(active, CODES[active]), Organisation(ACTOR, CODES[ACTOR]))
    decision = decide(method, actor, citizen(relation(active, CODES[active])), TODAY)
    cell = CELL[method, ACTOR]
    assert outcome(decision) == (cell.partition(":")[2] or expected_of_own(cell, None, another=False))


@pytest.mark.parametrize("method", [m for m in METHODS if CELL[m, ACTOR].startswith("referred")])
def test_an_other_actor_that_acts_for_itself_is_referred_by_nobody(method: int) -> None:
    referred = citizen(
        relation(CENTER, CODES[CENTER]), relation(ACTOR, CODES[ACTOR], by=(CENTER, CODES[CENTER]))
    )
    assert outcome(decide(method, acting(ACTOR), referred, TODAY)) == CELL[method, ACTOR].partition(":")[2]


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("method", METHODS)
def test_an_organisation_that_may_never_use_the_method_learns_nothing_about_the_citizen(
    method: int, kind: int
) -> None:
    cell = CELL[method, kind]
    assert fault_of_organisation(method, acting(kind)) == (int(cell) if cell in OUTRIGHT else None)


@pytest.mark.parametrize("method", METHODS)
def test_an_unlisted_organisation_type_may_do_nothing(method: int) -> None:
    stranger = Actor(Organisation(55, "1"), Organisation(55, "1"))
    assert fault_of_organisation(method, stranger) == 8292
    assert outcome(decide(method, stranger, citizen(), TODAY)) == "8292"


def test_a_fund_that_the_citizen_left_long_ago_is_no_registration() -> None:
    gone = relation(FUND, OTHERS[FUND], Case("", -900, -200, holds_today=False, within_120=False))
    assert decide(1, acting(FUND), citizen(gone), TODAY).fault == 4385


def test_a_membership_of_all_days_of_the_calendar_is_judged_like_any_other() -> None:
    always = Relation(FUND, OTHERS[FUND], date.min, date.max)
    assert decide(1, acting(FUND), citizen(always), TODAY).fault == 8291
    assert decide(1, acting(FUND), citizen(replace(always, code=CODES[FUND])), TODAY).allowed


@pytest.mark.parametrize("method", [1, 2, 7])
def test_a_protected_address_goes_to_related_authorities_and_jobnet_only(method: int) -> None:
    for kind in (FUND, TOWN, CENTER):
        for case in PERIODS:
            related = citizen(relation(kind, CODES[kind], case), protected=True)
            decision = decide(method, acting(kind), related, TODAY)
            assert decision.shows_address_of(related) == case.holds_today
    someone = citizen(protected=True)
    assert decide(method, acting(JOBNET), someone, TODAY).shows_address_of(someone)
    assert not decide(method, acting(STAR), someone, TODAY).shows_address_of(someone)


@pytest.mark.parametrize("kind", COLUMNS)
def test_method_10_shows_nobody_a_protected_address(kind: int) -> None:
    related = citizen(relation(kind, CODES[kind]), protected=True)
    assert not decide(10, acting(kind), related, TODAY).shows_address_of(related)


@pytest.mark.parametrize("method", [1, 10])
@pytest.mark.parametrize("kind", [STAR, JOBNET])
def test_an_address_that_is_not_protected_is_shown_to_all(method: int, kind: int) -> None:
    assert decide(method, acting(kind), citizen(), TODAY).shows_address_of(citizen())


def test_a_referred_other_actor_sees_the_address_as_its_authority_does() -> None:
    center = (CENTER, CODES[CENTER])
    related = citizen(relation(*center), relation(ACTOR, CODES[ACTOR], by=center), protected=True)
    actor = Actor(Organisation(*center), Organisation(ACTOR, CODES[ACTOR]))
    assert decide(1, actor, related, TODAY).shows_address_of(related)
