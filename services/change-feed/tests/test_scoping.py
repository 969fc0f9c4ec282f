"""Who sees what: the whole access table against every relation, and the hand-overs that only the calendar makes."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from change_feed.scopes import ALL, METHOD, scope_of, scopes_of
from change_feed.settings import Settings
from change_feed.testing import Person, World
from cv_citizens.citizen import Citizen, Relation
from cv_citizens.policy import Actor, decide
from cv_citizens.testing import (
    ACTOR,
    COMPANY,
    FUND,
    JOBCENTER,
    JOBNET,
    MUNICIPALITY,
    OTHER_ACTOR,
    OTHER_FUND,
    OTHER_JOBCENTER,
    OTHER_MUNICIPALITY,
    STAR,
    a_caller,
    referral,
    relation,
)
from cv_contracts.faults import Fault
from cv_contracts.ids import CvId, PersonId
from servicekit.caller import Organisation

TODAY = date(2026, 11, 22)

RELATIONS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "a-kasse": [relation(FUND)],
    "municipality": [relation(MUNICIPALITY)],
    "jobcenter": [relation(JOBCENTER)],
    "jobcenter and its actor": [relation(JOBCENTER), referral(ACTOR, JOBCENTER)],
    "municipality, actor referred by the jobcenter only": [
        relation(MUNICIPALITY),
        referral(ACTOR, JOBCENTER),
    ],
    "another's actor": [relation(JOBCENTER), referral(OTHER_ACTOR, JOBCENTER)],
    "ended": [relation(JOBCENTER, to="2026-11-21"), relation(FUND, to="2026-11-21")],
    "not begun": [relation(MUNICIPALITY, "2026-11-23"), relation(FUND, "2026-11-23")],
    "last day": [relation(JOBCENTER, to="2026-11-22")],
    "first day": [relation(MUNICIPALITY, "2026-11-22")],
    "all": [relation(FUND), relation(MUNICIPALITY), relation(JOBCENTER), referral(ACTOR, JOBCENTER)],
}
CALLERS = {
    "fund": (FUND, None),
    "another fund": (OTHER_FUND, None),
    "municipality": (MUNICIPALITY, None),
    "another municipality": (OTHER_MUNICIPALITY, None),
    "jobcenter": (JOBCENTER, None),
    "another jobcenter": (OTHER_JOBCENTER, None),
    "actor for the jobcenter": (JOBCENTER, ACTOR),
    "actor for the municipality": (MUNICIPALITY, ACTOR),
    "another actor for the jobcenter": (JOBCENTER, OTHER_ACTOR),
    "STAR": (STAR, None),
    "Jobnet": (JOBNET, None),
}


def citizen(relations: list[dict[str, Any]]) -> Citizen:
    some = tuple(Relation.from_state(one) for one in relations)
    return Citizen(PersonId(uuid4()), 1, CvId(uuid4()), "10000000", relations=some)


def actor(active: Organisation, request: Organisation | None) -> Actor:
    return Actor(active, request or active)


@pytest.mark.parametrize("relations", RELATIONS)
@pytest.mark.parametrize("who", CALLERS)
def test_a_scope_holds_exactly_the_citizens_that_the_one_policy_allows(who: str, relations: str) -> None:
    one, calling = citizen(RELATIONS[relations]), actor(*CALLERS[who])
    scope = scope_of(calling)
    seen = scope == ALL or scope in scopes_of(one, TODAY)
    assert seen == decide(METHOD, calling, one, TODAY).allowed


@pytest.mark.parametrize("organisation", [COMPANY, Organisation(99, "1"), Organisation(24, "12345678")])
def test_who_has_no_part_in_the_feed_is_refused(organisation: Organisation) -> None:
    with pytest.raises(Fault) as refusal:
        scope_of(actor(organisation, None))
    assert refusal.value.code == 8292


def test_scopes_are_others_on_the_days_of_a_change_only() -> None:
    one = citizen(
        [
            relation(FUND, "2026-01-01", to="2026-12-31"),
            relation(MUNICIPALITY, "2026-11-30"),
            relation(JOBCENTER),
        ]
    )
    day = TODAY
    while (following := one.next_change(day)) is not None:
        passed = [day + timedelta(days=n) for n in range((following - day).days)]
        assert {scopes_of(one, other) for other in passed} == {scopes_of(one, day)}
        assert scopes_of(one, following) != scopes_of(one, day)
        day = following
    assert day == date(2027, 1, 1)


class Calendar:
    """A clock that a test turns on."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
async def world(settings: Settings, start: Any, calendar: Calendar) -> AsyncIterator[World]:
    async with start(settings, calendar) as world:
        yield world


@pytest.mark.infra
async def test_over_the_wire_every_caller_sees_exactly_its_own(world: World) -> None:
    persons: dict[str, Person] = {
        name: world.person(*relations) for name, relations in RELATIONS.items() if name != "none"
    }
    before = (datetime.now(UTC) - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    await world.log.send(*[world.cv(person) for person in persons.values()])
    await world.arrived(len(persons))
    for active, request in CALLERS.values():
        who = a_caller(active, request)
        allowed = {
            name
            for name in persons
            if decide(METHOD, actor(active, request), citizen(RELATIONS[name]), TODAY).allowed
        }
        by_cv = {str(person.cv_id): name for name, person in persons.items()}
        by_number = {person.cv_number: name for name, person in persons.items()}
        assert {by_cv[event["subject"]] for event in await world.all_of(who)} == allowed
        items = (await world.snapshot(who)).json()["items"]
        assert {by_cv[item["cvId"]] for item in items} == allowed
        listed = (await world.changes(who, before)).json().get("CVUpdateList", [])
        assert {by_number[item["CVNumber"]] for item in listed} == allowed


@pytest.mark.infra
async def test_a_relation_that_ends_and_one_that_begins_by_the_calendar_are_a_handover(
    world: World, calendar: Calendar
) -> None:
    person = world.person(relation(MUNICIPALITY, to="2026-11-22"), relation(OTHER_MUNICIPALITY, "2026-11-23"))
    await world.log.send(world.cv(person))
    await world.arrived(1)
    here, there = a_caller(MUNICIPALITY), a_caller(OTHER_MUNICIPALITY)
    assert [change for _, change in await world.shown(there)] == []
    calendar.now += timedelta(days=1)
    await world.arrived(2)
    assert [change for _, change in await world.shown(here)] == ["left"]
    assert [change for _, change in await world.shown(there)] == ["came"]
