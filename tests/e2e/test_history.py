"""The checker of histories finds what it is there for."""

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from tests.e2e.history import Acknowledged, History, LogRecord, Revision


def _good(keys: int = 5, writes: int = 10) -> History:
    """Make a history without fault, the last record of each key repeated as after a crash."""
    acknowledged: list[Acknowledged] = []
    revisions: list[Revision] = []
    records: list[LogRecord] = []
    for number in range(keys):
        key = UUID(int=number + 1)
        for version in range(1, writes + 1):
            event, marker = uuid4(), f"{number}-{version}"
            acknowledged.append(Acknowledged(event, key, version, marker))
            revisions.append(Revision(key, version, marker))
            records.append(LogRecord(number % 2, len(records), event, key, version))
        records += [replace(last, offset=len(records) + i) for i, last in enumerate(records[-3:])]
    return History(acknowledged, revisions, records)


def test_a_good_history_with_repeated_records_has_no_violation() -> None:
    assert _good().violations() == []


def test_a_record_lost_from_the_log_is_found() -> None:
    good = _good()
    lost = good.acknowledged[13].event_id
    bad = replace(good, records=[record for record in good.records if record.event_id != lost])
    assert {text.split(":")[0] for text in bad.violations()} == {"lost", "unpublished"}


def test_a_revision_lost_from_the_database_is_found() -> None:
    good = _good()
    bad = replace(good, revisions=list(good.revisions)[1:])
    assert {text.split(":")[0] for text in bad.violations()} == {"lost", "invented"}


def test_a_revision_lost_to_a_restore_is_no_violation_when_it_is_known() -> None:
    good = _good()
    known = frozenset({(good.acknowledged[0].key, good.acknowledged[0].version)})
    assert replace(good, revisions=list(good.revisions)[1:], forgotten=known).violations() == []


def test_a_write_applied_twice_is_found() -> None:
    good = _good()
    again = Revision(good.acknowledged[0].key, 99, good.acknowledged[0].marker)
    event = LogRecord(0, 1_000, uuid4(), again.key, 99)
    bad = replace(good, revisions=[*good.revisions, again], records=[*good.records, event])
    assert bad.violations() == [f"doubled: {again.marker} was applied 2 times"]


def test_a_repeat_under_another_event_id_is_found() -> None:
    good = _good()
    bad = replace(good, records=[*good.records, replace(good.records[-1], event_id=uuid4(), offset=1_000)])
    assert {text.split(":")[0] for text in bad.violations()} == {"doubled", "disordered"}


@pytest.mark.parametrize("place", [0, 5, 8])
def test_two_records_of_a_key_in_the_wrong_order_are_found(place: int) -> None:
    records = list(_good().records)
    first, second = records[place], records[place + 1]
    records[place : place + 2] = [
        replace(second, offset=first.offset),
        replace(first, offset=second.offset),
    ]
    bad = replace(_good(), records=records)
    assert any(text.startswith("disordered") for text in bad.violations())


def test_a_key_in_two_partitions_is_found() -> None:
    good = _good()
    bad = replace(good, records=[*good.records, replace(good.records[-1], partition=5)])
    assert any(text.startswith("scattered") for text in bad.violations())
