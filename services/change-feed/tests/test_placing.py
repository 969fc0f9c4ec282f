"""What an event and a citizen become: who is told, under which number, and what does not come back."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from change_feed.placing import Found, Gone, Placed, hand_over, place
from cv_citizens.citizen import MUNICIPALITY, Citizen, Relation
from cv_contracts.events.cv_registry import CVChanged
from cv_contracts.ids import CvId, PersonId

DAY, TIME = date(2026, 11, 22), datetime(2026, 11, 22, 12, tzinfo=UTC)
PERSON, CV = PersonId(UUID(int=1)), CvId(UUID(int=2))
HERE, THERE = f"{MUNICIPALITY}:101", f"{MUNICIPALITY}:147"
CITIZEN = Citizen(PERSON, 5, CV, "12345678", (Relation(MUNICIPALITY, "101", date(2020, 1, 1)),))
MOVED = replace(CITIZEN, version=6, relations=(Relation(MUNICIPALITY, "147", date(2020, 1, 1)),))


def placed(citizen: Citizen = CITIZEN, before: Placed | None = None, day: date = DAY) -> Placed:
    return hand_over(before, citizen, day, uuid4(), TIME)[1]


def told(change: Any, before: Placed | None, found: Found) -> tuple[list[Any], Placed | None]:
    event = CVChanged(id=uuid4(), subject=CV, version=9, time=TIME, change=change)
    return place(event, before, found, person_id=PERSON, cv_id=CV, day=DAY)


def test_those_who_lose_and_those_who_get_a_citizen_are_told_before_what_it_came_with() -> None:
    entries, after = told("replaced", placed(), MOVED)
    assert [dict(entry.audience) for entry in entries] == [
        {"*": "seen", HERE: "left", THERE: "came"},
        {"*": "seen", THERE: "seen"},
    ]
    assert after == placed(MOVED)


def test_an_older_answer_of_the_registry_moves_nobody_back() -> None:
    now = placed(MOVED)
    [entry], after = told("replaced", now, CITIZEN)
    assert after == now
    assert entry.audience.keys() == {"*", THERE}


@pytest.mark.parametrize("number", ["87654321", None])
def test_those_who_lose_a_citizen_are_told_under_the_number_they_knew_and_all_others_under_the_new_one(
    number: str | None,
) -> None:
    moved, cause = replace(MOVED, cv_number=number), uuid4()
    entries, after = hand_over(placed(), moved, DAY, cause, TIME)
    assert [(dict(entry.audience), entry.cv_number) for entry in entries] == [
        ({HERE: "left"}, "12345678"),
        ({"*": "seen", THERE: "came"}, number),
    ]
    ids = [entry.event_id for entry in entries]
    assert len(set(ids)) == 2
    assert [entry.event_id for entry in hand_over(placed(), moved, DAY, cause, TIME)[0]] == ids
    assert after == placed(moved, placed())


def test_so_are_those_who_lose_a_citizen_whose_number_was_withdrawn_before() -> None:
    before = placed(replace(CITIZEN, cv_number=None), placed())
    entries, _ = hand_over(before, replace(MOVED, cv_number=None), DAY, uuid4(), TIME)
    assert [entry.cv_number for entry in entries if HERE in entry.audience] == ["12345678"]
    assert [entry.cv_number for entry in entries if THERE in entry.audience] == [None]


def test_who_only_gets_a_citizen_with_a_new_number_is_told_by_one_entry() -> None:
    both = replace(MOVED, cv_number="87654321", relations=CITIZEN.relations + MOVED.relations)
    [entry], _ = hand_over(placed(), both, DAY, uuid4(), TIME)
    assert (dict(entry.audience), entry.cv_number) == ({"*": "seen", THERE: "came"}, "87654321")


def test_the_same_state_is_placed_anew_on_another_day() -> None:
    ending = replace(
        CITIZEN,
        relations=(
            Relation(MUNICIPALITY, "101", date(2020, 1, 1), DAY),
            Relation(MUNICIPALITY, "147", date(2026, 11, 23)),
        ),
    )
    before = placed(ending)
    assert before.next_day is not None
    [entry], after = hand_over(before, ending, before.next_day, uuid4(), TIME)
    assert (entry.audience[HERE], entry.audience[THERE]) == ("left", "came")
    assert after.scopes == {THERE}


def test_who_was_erased_has_no_number_and_does_not_come_back() -> None:
    before = placed()
    [entry], erased = told("erased", before, None)
    assert (entry.erased, entry.cv_number, entry.audience.keys()) == (True, None, {"*", HERE})
    assert erased == replace(before, cv_number=None, last_number=None, next_day=None, erased=True)
    for found in (CITIZEN, MOVED, Gone(), None):
        [late], after = told("replaced", erased, found)
        assert after == erased
        assert (late.cv_number, late.is_change, late.erased, late.is_erasure) == (None, False, True, False)


@pytest.mark.parametrize(("found", "number"), [(None, "12345678"), (Gone(), None)])
def test_of_whom_the_registry_says_nothing_the_known_number_is_told_and_of_the_erased_none(
    found: Found, number: str | None
) -> None:
    [entry], after = told("replaced", placed(), found)
    assert (entry.cv_number, entry.erased) == (number, isinstance(found, Gone))
    assert after == placed()


def test_a_deletion_is_told_under_the_number_that_was_withdrawn_and_nothing_else_is() -> None:
    withdrawn = replace(CITIZEN, version=6, cv_number=None)
    before = placed(withdrawn, placed())
    assert [told(change, before, withdrawn)[0][-1].cv_number for change in ("deleted", "archived")] == [
        "12345678",
        None,
    ]
