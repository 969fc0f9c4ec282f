"""Why the policy allows or refuses: the row of the access table, and the relation that let the caller through."""

from datetime import date
from itertools import product
from uuid import UUID

import pytest

from cv_citizens.citizen import Citizen, Relation
from cv_citizens.policy import Actor, Decision, decide, explain
from cv_contracts.access import ACCESS
from cv_contracts.ids import CvId, PersonId
from servicekit.caller import Organisation

TODAY, EARLIER = date(2026, 11, 22), date(2026, 1, 1)
FUND, TOWN, CENTER, ACTOR, STAR, FIRM = (
    Organisation(kind, code)
    for kind, code in (
        (1, "10"),
        (7, "461"),
        (8, "46100"),
        (4, "12345678"),
        (100, "1"),
        (24, "87654321"),
    )
)
OWN = Relation(7, "461", EARLIER)
LEFT = Relation(1, "10", EARLIER, date(2026, 11, 1))
REFERRAL = Relation(4, "12345678", EARLIER, None, (7, "461"))
CASES = [
    (1, TOWN, TOWN, (OWN,), "related", OWN, None),
    (1, TOWN, TOWN, (Relation(7, "101", EARLIER),), "anothers", None, 4575),
    (1, TOWN, TOWN, (), "unregistered", None, 4575),
    (1, FUND, FUND, (LEFT,), "related-within-window", LEFT, None),
    (4, FUND, FUND, (LEFT,), "unregistered", None, 4385),
    (1, FUND, FUND, (Relation(1, "14", EARLIER),), "anothers", None, 8291),
    (1, TOWN, ACTOR, (OWN, REFERRAL), "referred", REFERRAL, None),
    (1, TOWN, ACTOR, (OWN,), "not-referred", None, 4511),
    (1, TOWN, ACTOR, (REFERRAL,), "authority-not-related", None, 4511),
    (1, STAR, STAR, (), "all", None, None),
    (5, TOWN, TOWN, (), "yes", None, None),
    (10, FIRM, FIRM, (), "consent", None, None),
    (1, FIRM, FIRM, (OWN,), "never", None, 8292),
    (17, TOWN, TOWN, (), "unregistered", None, None),
]


def citizen(*relations: Relation) -> Citizen:
    return Citizen(
        person_id=PersonId(UUID(int=1)),
        version=1,
        cv_id=CvId(UUID(int=2)),
        cv_number="12345678",
        relations=relations,
    )


@pytest.mark.parametrize(("method", "active", "request_", "relations", "why", "by", "fault"), CASES)
def test_a_decision_is_told_with_its_row_and_the_relation_behind_it(  # noqa: PLR0917
    method: int,
    active: Organisation,
    request_: Organisation,
    relations: tuple[Relation, ...],
    why: str,
    by: Relation | None,
    fault: int | None,
) -> None:
    told = explain(method, Actor(active, request_), citizen(*relations), TODAY)
    assert (told.why, told.relation, told.decision.fault) == (why, by, fault)
    assert told.rule == ACCESS[method, request_.type if request_.type == 4 else active.type]


def test_who_is_in_no_row_is_refused_by_the_row_that_lets_nobody_through() -> None:
    stranger = Organisation(55, "1")
    told = explain(1, Actor(stranger, stranger), citizen(), TODAY)
    assert (told.why, told.rule.kind, told.decision) == ("never", "no", Decision(allowed=False, fault=8292))


def test_the_explained_decision_is_the_decision() -> None:
    organisations = (FUND, TOWN, CENTER, ACTOR, STAR, FIRM, Organisation(101, "1"))
    for method, active, request_ in product(range(1, 20), organisations, organisations):
        actor = Actor(active, request_)
        for relations in ((), (OWN,), (LEFT,), (OWN, REFERRAL), (REFERRAL,)):
            one = citizen(*relations)
            told = explain(method, actor, one, TODAY)
            assert told.decision == decide(method, actor, one, TODAY)
            assert told.relation is None or told.decision.allowed
