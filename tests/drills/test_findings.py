"""The judge of the drills finds what it is there for: in the feed, of citizens, of access rows and of contact data."""

from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from tests.drills.contacts import CONTACTS, CVS_AND_CONTACTS, replaced, saved
from tests.drills.findings import (
    CitizenRow,
    ContactWrite,
    of_citizens,
    of_contact_data,
    of_feed,
    of_reads,
)
from tests.drills.judge import counted
from tests.e2e.contacts import MAIL, MOBILE
from tests.e2e.history import Acknowledged, LogRecord

PEOPLE, MOVES = 4, 5
ONE, OTHER = UUID(int=1), UUID(int=2)


def _log() -> list[LogRecord]:
    """Tell of moves by turns, over two partitions, and of the last ones again as after a crash."""
    told = [
        LogRecord(person % 2, version * PEOPLE + person, uuid4(), UUID(int=person + 1), version)
        for version in range(1, MOVES + 1)
        for person in range(PEOPLE)
    ]
    return [*told, *(replace(one, offset=one.offset + 100) for one in told[-PEOPLE:])]


def _feed(told: Iterable[LogRecord]) -> list[LogRecord]:
    by_id = {record.event_id: record for record in told}
    return [replace(one, partition=0, offset=position) for position, one in enumerate(by_id.values())]


def _columns(found: Iterable[str]) -> set[str]:
    return set(counted(list(found)))


def test_a_feed_that_tells_each_event_once_and_in_order_is_good() -> None:
    told = _log()
    assert list(of_feed(told, _feed(told))) == []


def test_an_event_that_the_feed_lost_is_found() -> None:
    told = _log()
    lost = _feed(told)[7]
    bad = [entry for entry in _feed(told) if entry != lost]
    assert list(of_feed(told, bad)) == [f"lost: {lost.event_id} is not in the feed"]


def test_an_event_that_the_feed_tells_twice_is_found() -> None:
    told = _log()
    twice = _feed(told)[7]
    found = list(of_feed(told, [*_feed(told), replace(twice, offset=1_000)]))
    assert found == [f"doubled: {twice.event_id} is in the feed several times"]


def test_two_positions_of_one_subject_that_were_swapped_are_found() -> None:
    told = _log()
    entries = _feed(told)
    first, second = entries[1], entries[1 + PEOPLE]
    entries[1], entries[1 + PEOPLE] = (
        replace(first, offset=second.offset),
        replace(second, offset=first.offset),
    )
    assert _columns(of_feed(told, entries)) == {"reordered"}


@pytest.mark.parametrize("wrong", [{"version": 99}, {"key": UUID(int=99)}])
def test_an_entry_about_something_else_than_its_event_is_found(wrong: dict[str, int | UUID]) -> None:
    told = _log()
    entries = _feed(told)
    entries[-1] = replace(entries[-1], **wrong)  # type: ignore[arg-type]  # of two fields
    found = list(of_feed(told, entries))
    assert found == [f"changed: {entries[-1].event_id} is another subject or version in the feed"]


def _rows() -> list[CitizenRow]:
    return [CitizenRow(UUID(int=person + 1), MOVES, MOVES + 1) for person in range(PEOPLE)]


def _moved(
    rows: list[CitizenRow] | None = None, told: list[LogRecord] | None = None, people: int = PEOPLE
) -> list[str]:
    changes = {UUID(int=person + 1): MOVES for person in range(PEOPLE)}
    return list(of_citizens(people, rows or _rows(), MOVES + 1, changes, told or _log()))


def test_citizens_who_are_where_they_moved_and_as_the_log_tells_are_good() -> None:
    assert _moved() == []


def test_a_citizen_whose_row_is_gone_is_found() -> None:
    assert _moved(_rows()[1:]) == ["lost: of 4 citizens who moved 3 are there"]


def test_a_citizen_who_is_not_where_the_source_was_told_is_found() -> None:
    assert _moved([*_rows()[1:], replace(_rows()[0], source_version=3)]) == [
        f"lost: {ONE} is at 3, 6 was acknowledged"
    ]


def test_a_citizen_whose_newest_event_is_lost_is_found() -> None:
    told = [record for record in _log() if (record.key, record.version) != (ONE, MOVES)]
    assert _moved(told=told) == [
        f"unpublished: version 5 of {ONE} is not in the log",
        f"lost: {ONE} was changed 5 times, and the log tells of 4",
    ]


def test_a_change_of_a_citizen_that_is_lost_in_the_middle_is_found() -> None:
    told = [record for record in _log() if (record.key, record.version) != (ONE, 3)]
    assert _moved(told=told) == [f"lost: {ONE} was changed 5 times, and the log tells of 4"]


def test_a_citizen_who_is_behind_what_the_log_tells_is_found() -> None:
    found = _moved([*_rows()[1:], replace(_rows()[0], version=MOVES - 1)])
    assert found == [f"invented: the log tells of version 5 of {ONE}, which is not there"]


def test_a_citizen_whose_events_changed_their_order_is_found() -> None:
    told = _log()
    told[0], told[PEOPLE] = (
        replace(told[0], offset=told[PEOPLE].offset),
        replace(told[PEOPLE], offset=told[0].offset),
    )
    assert _columns(_moved(told=told)) == {"reordered"}


def test_a_read_without_a_row_is_found_also_where_another_one_left_a_row_and_no_answer() -> None:
    assert list(of_reads(["reader-1", "reader-2"], {"reader-1", "reader-2", "reader-3"})) == []
    found = list(of_reads(["reader-1", "reader-2"], {"reader-1", "reader-3"}))
    assert found == ["unseen: the read of reader-2 left no row"]
    assert _columns(found) == {"access rows missing"}


def _write(name: str, begun: float, answered: float, **more: str) -> ContactWrite:
    return ContactWrite(ONE, {MAIL: name, **({MOBILE: more["mobile"]} if more else {})}, begun, answered)


WRITES = [
    _write("first", 0, 1, mobile="1"),
    _write("second", 2, 5, mobile="2"),
    _write("third", 4, 6),
]
"""The second and the third are under way at once; only the first ones bring a mobile number."""


def _contact_data(owned: dict[int, str], shown: list[str] | None = None) -> list[str]:
    seen = {ONE: list(owned.values()) if shown is None else shown}
    return list(of_contact_data(WRITES, {ONE: owned}, seen))


@pytest.mark.parametrize("last", ["second", "third"])
def test_whichever_of_two_writes_at_once_is_there_in_the_end_is_good(last: str) -> None:
    assert _contact_data({MAIL: last, MOBILE: "2"}) == []


@pytest.mark.parametrize(
    ("owned", "kind"),
    [
        ({MAIL: "first", MOBILE: "2"}, MAIL),
        ({MAIL: "never written", MOBILE: "2"}, MAIL),
        ({MOBILE: "2"}, MAIL),
        ({MAIL: "third", MOBILE: "1"}, MOBILE),
        ({MAIL: "third"}, MOBILE),
    ],
)
def test_contact_data_that_were_acknowledged_and_are_not_there_are_found(
    owned: dict[int, str], kind: int
) -> None:
    found = _contact_data(owned)
    assert found == [f"lost: {ONE} has not the contact data of type {kind} that were acknowledged last"]


def test_a_person_without_any_of_the_contact_data_is_found() -> None:
    assert len(list(of_contact_data(WRITES, {}, {}))) == 2


@pytest.mark.parametrize("shown", [[], ["third"], ["third", "1"], ["third", "2", "2"]])
def test_contact_data_that_are_shown_otherwise_than_they_are_owned_are_found(shown: list[str]) -> None:
    assert _contact_data({MAIL: "third", MOBILE: "2"}, shown) == [
        f"changed: {ONE} is shown other contact data than contact-verification has"
    ]


def test_what_cvs_and_saves_bring_is_told_by_their_marks() -> None:
    mark = f"mark-{7:032x}"
    of_cv, other = Acknowledged(uuid4(), OTHER, 1, mark, 1, 2), Acknowledged(uuid4(), UUID(int=3), 1, mark)
    assert replaced([of_cv, other], {OTHER: ONE}) == [
        ContactWrite(ONE, {MAIL: f"{mark}@example.com", MOBILE: "+4526000007"}, 1, 2)
    ]
    assert saved([replace(of_cv, key=ONE)]) == [ContactWrite(ONE, {MAIL: f"{mark}@example.com"}, 1, 2)]


def test_some_of_the_citizens_whose_cvs_are_written_have_contact_data() -> None:
    with_them, all_of_them = CONTACTS.persons(), CVS_AND_CONTACTS.persons()
    assert 0 < len(with_them) < len(all_of_them) / 2
    assert all(one in all_of_them for one in with_them)
