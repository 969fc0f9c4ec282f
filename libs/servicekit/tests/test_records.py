"""Reading records and states: anything may come, nothing may stop a partition."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cv_contracts import envelope
from cv_contracts.events.cv_registry import CVChanged
from servicekit.follow.projection import read_batch
from servicekit.follow.records import Record, read_record
from servicekit.follow.states import BadState, Erased, Known, Unknown, from_wire
from servicekit.follow.testing import CITIZENS, changed, heartbeat

PERSON = UUID("5b0c2b6e-6f2f-4e0b-9b63-2f3b1a1f6c11")
OTHER = UUID("9d1f4f0a-1a94-4b8e-8d0f-7f7f1f7f9f10")


def raw(
    value: bytes | None, headers: Any, key: bytes | None = None, offset: int = 0, partition: int = 0
) -> SimpleNamespace:
    return SimpleNamespace(partition=partition, offset=offset, key=key, headers=headers, value=value)


def good(subject: UUID = PERSON, version: int = 1, offset: int = 0, partition: int = 0) -> Record:
    event = changed(subject, version)
    return read_record(
        CITIZENS,
        raw(
            envelope.data_json(event),
            envelope.headers(event, "cv-registry"),
            envelope.key(event),
            offset,
            partition,
        ),
    )


def bad(key: bytes | None, offset: int = 0, partition: int = 0) -> Record:
    return read_record(CITIZENS, raw(b"{", [], key, offset, partition))


def test_a_good_record_is_its_event() -> None:
    record = good(version=7)
    assert record.unreadable is None
    assert record.event is not None
    assert (record.event.subject, record.event.version) == (PERSON, 7)


def test_an_event_of_another_topic_is_of_an_unknown_type_here() -> None:
    event = CVChanged(id=uuid4(), subject=PERSON, version=1, time=datetime.now(UTC), change="created")
    record = read_record(CITIZENS, raw(envelope.data_json(event), envelope.headers(event, "cv-registry")))
    assert (record.event, record.unreadable) == (None, "unknown-type")


def test_a_tombstone_is_no_erasure() -> None:
    event = changed(PERSON, 1)
    record = read_record(CITIZENS, raw(None, envelope.headers(event, "cv-registry"), envelope.key(event)))
    assert (record.event, record.unreadable, record.key_subject) == (None, "tombstone", PERSON)


@given(
    value=st.none() | st.binary(max_size=300),
    key=st.none() | st.binary(max_size=40),
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                ["ce_type", "ce_id", "ce_subject", "ce_time", "content-type", "ce_specversion", "x"]
            ),
            st.none() | st.binary(max_size=60),
        ),
        max_size=12,
    ),
)
def test_whatever_a_record_holds_it_is_read_and_kept(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    record = read_record(CITIZENS, raw(value, headers, key))
    assert (record.event is None) != (record.unreadable is None)
    assert (record.key, record.value, list(record.headers)) == (key, value, headers)
    assert isinstance(record.raw_headers(), bytes)
    read_batch([record])


HEARTBEATS = b"00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"a person", b"5b0c2b6e", HEARTBEATS])
def test_a_key_that_is_no_subject_makes_nothing_pending(key: bytes | None) -> None:
    batch = read_batch([bad(key)])
    assert len(batch.unreadable) == 1
    assert not batch.suspects


def test_an_unreadable_record_makes_the_subject_of_its_key_a_suspect() -> None:
    batch = read_batch([bad(str(PERSON).encode(), offset=4, partition=2)])
    assert batch.suspects[PERSON].version == 0
    assert batch.suspects[PERSON].partition == 2
    assert batch.positions[2].next_offset == 5


def test_only_the_highest_version_of_a_subject_counts() -> None:
    records = [
        good(version=3),
        good(version=9, offset=1),
        good(version=5, offset=2),
        good(OTHER, 2, offset=3),
    ]
    batch = read_batch(records)
    assert {s: a.version for s, a in batch.announced.items()} == {PERSON: 9, OTHER: 2}


def test_positions_are_kept_for_each_partition() -> None:
    batch = read_batch(
        [good(offset=5, partition=0), good(offset=6, partition=0), good(OTHER, offset=2, partition=3)]
    )
    assert {p: position.next_offset for p, position in batch.positions.items()} == {0: 7, 3: 3}
    assert batch.first_offsets == {0: 5, 3: 2}


def test_the_newest_heartbeat_of_a_partition_counts_by_when_it_was_made() -> None:
    older, newer = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    records = [
        read_record(
            CITIZENS,
            raw(envelope.data_json(e), envelope.headers(e, "cv-registry"), envelope.key(e), offset, 1),
        )
        for offset, e in enumerate([heartbeat(newer), heartbeat(older), changed(PERSON, 1)])
    ]
    batch = read_batch(records)
    assert batch.positions[1].heartbeat_at == newer
    assert set(batch.announced) == {PERSON}


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ({"version": 4, "state": {"a": 1}}, Known(PERSON, 4, {"a": 1})),
        ({"version": 5, "erased": True}, Erased(PERSON, 5)),
        ({"unknown": True}, Unknown(PERSON)),
    ],
)
def test_a_state_is_read_as_owners_send_it(answer: dict[str, Any], state: Known | Erased | Unknown) -> None:
    assert from_wire({"subject": str(PERSON), **answer}) == state


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"subject": str(PERSON)},
        {"subject": "no subject", "unknown": True},
        {"subject": str(PERSON), "version": "4", "state": {}},
        {"subject": str(PERSON), "version": True, "erased": True},
        {"subject": str(PERSON), "version": -1, "erased": True},
        {"subject": str(PERSON), "version": 4, "state": {}, "erased": True},
        {"subject": str(PERSON), "version": 4, "erased": False},
        {"subject": str(PERSON), "version": 4, "state": None},
        {"subject": str(PERSON), "unknown": True, "erased": True},
        str(PERSON),
        None,
    ],
)
def test_an_answer_that_is_not_exactly_one_of_the_three_is_refused(answer: object) -> None:
    with pytest.raises(BadState):
        from_wire(answer)
