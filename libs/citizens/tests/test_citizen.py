from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import uuid4

import orjson
import pytest

from cv_citizens.citizen import Citizen, Relation
from cv_citizens.danish_time import danish_date, danish_today
from cv_citizens.replica import Found, newest
from cv_contracts.ids import CvId, PersonId

DAY = date(2026, 11, 22)


def a_citizen(*relations: Relation) -> Citizen:
    return Citizen(
        person_id=PersonId(uuid4()),
        version=17,
        cv_id=CvId(uuid4()),
        cv_number="12345678",
        relations=relations,
        contact_group=3,
        enrolled=True,
        dead=True,
        name_protected=True,
    )


def test_a_citizen_survives_the_way_through_json() -> None:
    citizen = a_citizen(
        Relation(8, "10100", date(2020, 1, 1)),
        Relation(4, "12345678", date(2021, 1, 1), date(2027, 1, 1), (8, "10100")),
    )
    state = orjson.loads(orjson.dumps(citizen.to_state()))
    assert Citizen.from_state(citizen.person_id, citizen.version, state) == citizen


def test_a_citizen_whose_number_was_withdrawn_has_none_afterwards_either() -> None:
    citizen = replace(a_citizen(), cv_number=None, contact_group=None)
    assert Citizen.from_state(citizen.person_id, citizen.version, citizen.to_state()) == citizen


def test_elements_that_access_does_not_need_are_ignored() -> None:
    citizen = a_citizen()
    state = {**citizen.to_state(), "familyName": "x", "address": {"postalCode": "0000"}}
    assert Citizen.from_state(citizen.person_id, citizen.version, state) == citizen


@pytest.mark.parametrize("flag", ["nameProtected", "addressProtected"])
def test_either_protection_that_the_registry_tells_of_protects(flag: str) -> None:
    citizen = Citizen.from_state(uuid4(), 1, {"cvId": str(uuid4()), flag: True})
    assert citizen.protected
    assert citizen.to_state()[flag] is True


def test_a_citizen_of_whom_nothing_is_told_is_alive_not_enrolled_and_not_protected() -> None:
    told = Citizen.from_state(uuid4(), 1, {"cvId": str(uuid4())})
    assert told == Citizen(told.person_id, 1, told.cv_id, None)
    assert not (told.dead)
    assert not (told.enrolled)
    assert not told.protected


def test_both_days_of_a_relation_are_included() -> None:
    relation = Relation(7, "101", date(2026, 1, 1), date(2026, 1, 31))
    days = [date(2025, 12, 31), date(2026, 1, 1), date(2026, 1, 31), date(2026, 2, 1)]
    assert [relation.holds(day) for day in days] == [False, True, True, False]


@pytest.mark.parametrize(
    ("relations", "code"),
    [
        ((), None),
        ((Relation(7, "101", DAY),), "101"),
        ((Relation(8, "14700", DAY),), "147"),
        ((Relation(8, "14700", DAY), Relation(7, "101", DAY)), "101"),
        ((Relation(7, "101", date(2020, 1, 1), date(2021, 1, 1)), Relation(7, "147", DAY)), "147"),
        ((Relation(7, "101", date(2020, 1, 1), date(2021, 1, 1)),), "101"),
        ((Relation(8, "14700", date(2020, 1, 1), date(2021, 1, 1)),), "147"),
        ((Relation(7, "147", date(2021, 1, 1)), Relation(7, "101", date(2020, 1, 1))), "147"),
        (
            (
                Relation(8, "14700", date(2021, 1, 1), date(2021, 2, 1)),
                Relation(7, "101", date(2020, 1, 1), date(2021, 1, 1)),
            ),
            "147",
        ),
        (
            (
                Relation(7, "101", date(2020, 1, 1), date(2021, 1, 1)),
                Relation(8, "14700", date(2021, 1, 1), date(2021, 2, 1)),
            ),
            "147",
        ),
        ((Relation(7, "101", date(2020, 1, 1)), Relation(7, "147", date(2021, 1, 1))), "147"),
        ((Relation(1, "10", DAY),), None),
    ],
)
def test_the_municipality_is_that_of_the_day_or_the_last_known(
    relations: tuple[Relation, ...], code: str | None
) -> None:
    assert a_citizen(*relations).municipality(DAY) == code


def test_the_next_change_is_the_first_later_day_on_which_a_relation_begins_or_has_ended() -> None:
    citizen = a_citizen(
        Relation(1, "10", date(2026, 1, 1), date(2026, 12, 31)),
        Relation(7, "101", date(2026, 11, 30)),
        Relation(8, "10100", date(2020, 1, 1)),
        Relation(8, "14700", date(2020, 1, 1), date(2026, 11, 21)),
    )
    assert citizen.next_change(DAY) == date(2026, 11, 30)
    assert citizen.next_change(date(2026, 11, 30)) == date(2027, 1, 1)
    assert citizen.next_change(date(2026, 12, 31)) == date(2027, 1, 1)
    assert citizen.next_change(date(2027, 1, 1)) is None
    assert a_citizen().next_change(DAY) is None


def test_a_relation_until_the_end_of_the_calendar_ends_on_no_day() -> None:
    citizen = a_citizen(Relation(7, "101", date.min, date.max))
    assert citizen.next_change(DAY) is None
    assert citizen.next_change(date.max) is None


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 11, 22, 22, 59, tzinfo=UTC), date(2026, 11, 22)),
        (datetime(2026, 11, 22, 23, 30, tzinfo=UTC), date(2026, 11, 23)),
        (datetime(2026, 7, 1, 21, 59, tzinfo=UTC), date(2026, 7, 1)),
        (datetime(2026, 7, 1, 22, 0, tzinfo=UTC), date(2026, 7, 2)),
    ],
)
def test_the_day_is_the_one_in_copenhagen(moment: datetime, day: date) -> None:
    assert danish_date(moment) == danish_today(lambda: moment) == day


def test_a_moment_without_a_zone_has_no_danish_day() -> None:
    with pytest.raises(ValueError, match="time zone"):
        danish_date(datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test


def test_a_write_is_decided_by_the_newest_of_what_was_asked_and_what_it_holds_unless_the_citizen_is_erased() -> (
    None
):
    asked = a_citizen()
    older, same, newer = (replace(asked, version=version, dead=False) for version in (16, 17, 18))
    assert newest(asked, None, erased=False) is asked
    assert newest(asked, Found(older, fresh=True), erased=False) is asked
    assert newest(asked, Found(same, fresh=False), erased=False) is same
    assert newest(asked, Found(newer, fresh=True), erased=False) is newer
    assert newest(asked, Found(newer, fresh=True), erased=True) is None
    assert newest(asked, None, erased=True) is None
