"""Records of every kind that a topic may hold: good ones come back as the event, others as Unreadable and its reason."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cv_contracts.envelope import (
    REASONS,
    Event,
    Reason,
    Unreadable,
    attributes,
    data_json,
    headers,
    key,
    read,
    traceparent_of,
)
from cv_contracts.events.cv_registry import CitizenHeartbeat, CVChanged
from cv_contracts.events.cv_status import StatusSet
from cv_contracts.topics import EVENT_TYPES, MAX_RECORD_BYTES, topic_of

Headers = list[tuple[str, bytes | None]]

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EVENT = CVChanged(
    id=UUID("c4a7e8d0-19b2-4d6f-b3a1-5e2f90ab0001"),
    subject=UUID("b7a0d1c4-3e55-4f0a-8c1d-94d2e6f0a722"),
    version=1773057601500000,
    time=datetime(2026, 3, 9, 12, 0, 1, 500000, tzinfo=UTC),
    change="replaced",
)
VALUE = data_json(EVENT)


def good() -> Headers:
    return list(headers(EVENT, "cv-registry", TRACEPARENT))


def with_header(name: str, value: bytes | None) -> Headers:
    return [(given, value if given == name else raw) for given, raw in good()]


def without(name: str) -> Headers:
    return [(given, raw) for given, raw in good() if given != name]


def reason_of(record_headers: Sequence[tuple[str, bytes | None]], value: bytes | None) -> Reason:
    with pytest.raises(Unreadable) as caught:
        read(record_headers, value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None, "a chained error would quote the record"
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


def test_a_record_is_a_cloudevent_in_binary_mode() -> None:
    assert headers(EVENT, "cv-registry", TRACEPARENT) == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"c4a7e8d0-19b2-4d6f-b3a1-5e2f90ab0001"),
        ("ce_source", b"cv-registry"),
        ("ce_type", b"dk.cvhub.cv-registry.cv-changed.v1"),
        ("ce_subject", b"b7a0d1c4-3e55-4f0a-8c1d-94d2e6f0a722"),
        ("ce_time", b"2026-03-09T12:00:01.500000Z"),
        ("content-type", b"application/json"),
        ("ce_traceparent", TRACEPARENT.encode()),
    ]
    assert VALUE == b'{"version":1773057601500000,"change":"replaced"}'
    assert key(EVENT) == b"b7a0d1c4-3e55-4f0a-8c1d-94d2e6f0a722"


def test_an_optional_field_without_a_value_is_left_out() -> None:
    status = StatusSet(id=uuid4(), subject=uuid4(), version=7, time=EVENT.time)
    assert data_json(status) == b'{"version":7}'


def events_of(event_class: type[Event]) -> st.SearchStrategy[Event]:
    fields = {
        "id": st.uuids(),
        "subject": st.uuids(),
        "version": st.integers(0, 2**63 - 1),
        "time": st.datetimes(timezones=st.just(UTC)),
    }
    if "change" in event_class.model_fields:
        kinds = event_class.model_json_schema()["properties"]["change"]["enum"]
        return st.builds(event_class, change=st.sampled_from(kinds), **fields)
    return st.builds(event_class, **fields)


@given(st.one_of([events_of(event_class) for event_class in EVENT_TYPES.values()]))
@settings(max_examples=100)
def test_what_was_written_is_read_back(event: Event) -> None:
    assert read(headers(event, topic_of(type(event)).producer), data_json(event)) == event


def test_a_relay_that_has_rows_writes_the_same_headers() -> None:
    from_row = attributes(
        id=EVENT.id, source="cv-registry", type=EVENT.TYPE, subject=EVENT.subject, time=EVENT.time
    )
    assert from_row == headers(EVENT, "cv-registry")


def test_unknown_fields_and_headers_are_ignored() -> None:
    value = json.dumps(
        {"version": EVENT.version, "change": "replaced", "parts": ["cv"], "subject": "x", "time": 0}
    )
    foreign: Headers = [("ce_sequence", b"42"), ("x-other", None), ("b3", b"\xff")]
    assert read(good() + foreign, value.encode()) == EVENT


def test_header_names_count_in_any_case() -> None:
    assert read([(name.upper(), raw) for name, raw in good()], VALUE) == EVENT


def test_a_header_that_says_the_same_twice_is_read() -> None:
    assert read(good() + good(), VALUE) == EVENT


def test_a_header_that_contradicts_itself_is_not_read() -> None:
    assert reason_of([*good(), ("Ce_Id", str(uuid4()).encode())], VALUE) == "bad-data"


OURS = ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time"]


@pytest.mark.parametrize("name", [*OURS, "content-type"])
def test_a_header_without_a_value_is_unreadable(name: str) -> None:
    assert reason_of(with_header(name, None), VALUE) == "null-header"


@pytest.mark.parametrize("name", [*OURS, "content-type"])
def test_a_header_that_is_no_utf8_is_unreadable(name: str) -> None:
    assert reason_of(with_header(name, b"\xff\xfe"), VALUE) == "bad-utf8"


@pytest.mark.parametrize("name", OURS)
def test_an_attribute_that_is_absent_or_empty_is_missing(name: str) -> None:
    assert reason_of(without(name), VALUE) == "missing-attribute"
    assert reason_of(with_header(name, b""), VALUE) == "missing-attribute"


def test_a_record_without_a_content_type_is_json() -> None:
    assert read(without("content-type"), VALUE) == EVENT
    assert read(with_header("content-type", b"Application/JSON; charset=utf-8"), VALUE) == EVENT


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ce_type", b"dk.cvhub.cv-registry.something-else.v1", "unknown-type"),
        ("ce_type", b"org.example.thing", "unknown-type"),
        ("ce_type", b"v1", "unknown-type"),
        ("ce_type", b"dk.cvhub.cv-registry.cv-changed.v2", "unknown-version"),
        ("ce_specversion", b"2.0", "unknown-version"),
        ("content-type", b"application/cloudevents+json", "bad-data"),
        ("content-type", b"application/xml", "bad-data"),
        ("ce_id", b"7", "bad-data"),
        ("ce_id", b"urn:uuid:c4a7e8d0-19b2-4d6f-b3a1-5e2f90ab0001", "bad-data"),
        ("ce_id", b"{c4a7e8d0-19b2-4d6f-b3a1-5e2f90ab0001}", "bad-data"),
        ("ce_subject", b"0101010101", "bad-data"),
        ("ce_subject", b"b7a0d1c43e554f0a8c1d94d2e6f0a722", "bad-data"),
        ("ce_time", b"yesterday", "bad-data"),
        ("ce_time", b"2026-03-09T12:00:01", "bad-data"),
        ("ce_time", b"1773057601", "bad-data"),
        ("ce_time", b"2026-03-09 12:00:01Z", "bad-data"),
        ("ce_time", b"0001-01-01T00:00:00+14:00", "bad-data"),
        ("ce_time", b"9999-12-31T23:59:59-14:00", "bad-data"),
    ],
)
def test_an_attribute_that_says_something_else_is_refused(name: str, value: bytes, reason: Reason) -> None:
    assert reason_of(with_header(name, value), VALUE) == reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "tombstone"),
        (b"", "bad-json"),
        (b" ", "bad-json"),
        (VALUE[:-1], "bad-json"),
        (VALUE[:10], "bad-json"),
        (VALUE + VALUE, "bad-json"),
        (b"\xff\xfe", "bad-json"),
        (b'{"version":NaN,"change":"replaced"}', "bad-json"),
        (b"[" * 100_000, "bad-json"),
        (b'{"a":' * 100_000, "bad-json"),
        (b"null", "bad-data"),
        (b"[]", "bad-data"),
        (b'"text"', "bad-data"),
        (b"{}", "bad-data"),
        (b'{"version":1}', "bad-data"),
        (b'{"version":1,"change":"eaten"}', "bad-data"),
        (b'{"version":"1","change":"replaced"}', "bad-data"),
        (b'{"version":true,"change":"replaced"}', "bad-data"),
        (b'{"version":1.5,"change":"replaced"}', "bad-data"),
        (b'{"version":-1,"change":"replaced"}', "bad-data"),
        (b'{"version":9223372036854775808,"change":"replaced"}', "bad-data"),
        (b'{"version":' + b"9" * 100 + b',"change":"replaced"}', "bad-data"),
        (b'{"version":' + b"9" * 5000 + b',"change":"replaced"}', "bad-json"),
        (b'{"version":1,"change":"replaced","x":"' + b"a" * MAX_RECORD_BYTES + b'"}', "too-large"),
        (b"\x00" * (MAX_RECORD_BYTES + 1), "too-large"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_value_that_cannot_be_used_is_told_by_its_reason(value: bytes | None, reason: Reason) -> None:
    assert reason_of(good(), value) == reason


def test_a_record_without_headers_is_unreadable() -> None:
    assert reason_of([], VALUE) == "missing-attribute"
    assert reason_of([], None) == "tombstone"


def test_the_trace_context_is_given_when_it_can_be_read() -> None:
    assert traceparent_of(good()) == TRACEPARENT
    assert traceparent_of(without("ce_traceparent")) is None
    assert traceparent_of(with_header("ce_traceparent", None)) is None
    assert traceparent_of(with_header("ce_traceparent", b"\xff")) is None


def test_a_broken_trace_context_does_not_cost_the_event() -> None:
    assert read(with_header("ce_traceparent", None), VALUE) == EVENT
    assert read(with_header("ce_traceparent", b"\xff"), VALUE) == EVENT


def test_the_time_is_told_in_utc() -> None:
    local = EVENT.model_copy(update={"time": EVENT.time.astimezone(timezone(timedelta(hours=2)))})
    assert headers(local, "cv-registry") == headers(EVENT, "cv-registry")
    read_back = read(with_header("ce_time", b"2026-03-09T14:00:01.500000+02:00"), VALUE)
    assert read_back.time.tzinfo is UTC


def test_a_wrong_event_does_not_quote_what_it_was_given() -> None:
    with pytest.raises(ValueError, match="change") as caught:
        CVChanged(id=uuid4(), subject=uuid4(), version=1, time=EVENT.time, change="Jens Hansen")
    assert "Jens Hansen" not in str(caught.value)


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        EVENT.version = 2  # type: ignore[misc]  # the mistake under test


def test_the_heartbeat_has_nothing_but_a_version() -> None:
    beat = CitizenHeartbeat(id=uuid4(), subject=UUID(int=0), version=5, time=EVENT.time)
    assert data_json(beat) == b'{"version":5}'


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_value = st.one_of(
    st.none(),
    st.binary(max_size=200),
    st.dictionaries(st.sampled_from(["version", "change", "id", "cv_version", "x"]), _json).map(
        lambda data: json.dumps(data).encode()
    ),
    st.tuples(st.integers(0, len(VALUE)), st.binary(max_size=3)).map(lambda cut: VALUE[: cut[0]] + cut[1]),
)
_types = st.sampled_from(
    [*(name.encode() for name in EVENT_TYPES), b"dk.cvhub.cv-status.status-set.v9", b"x"]
)
_raw = st.one_of(st.none(), st.binary(max_size=60), st.text(max_size=30).map(str.encode), _types)
_mutation = st.tuples(
    st.sampled_from(["drop", "replace", "repeat", "add"]), st.integers(0, 7), st.text(max_size=12), _raw
)


def mutate(record: Headers, mutations: list[tuple[str, int, str, bytes | None]]) -> Headers:
    for kind, position, name, raw in mutations:
        index = position % len(record) if record else 0
        if kind == "add" or not record:
            record.append((name, raw))
        elif kind == "drop":
            del record[index]
        elif kind == "replace":
            record[index] = (record[index][0], raw)
        else:
            record.append((record[index][0].title(), raw))
    return record


def outcome(record: Headers, value: bytes | None) -> Event | Reason:
    try:
        return read(record, value)
    except Unreadable as unreadable:
        return unreadable.reason


@given(st.lists(_mutation, max_size=3), st.one_of(st.just(VALUE), _value))
@settings(max_examples=500, deadline=None)
@pytest.mark.slow
def test_a_mutated_record_gives_an_event_or_a_reason_and_never_anything_else(
    mutations: list[tuple[str, int, str, bytes | None]], value: bytes | None
) -> None:
    told = outcome(mutate(good(), mutations), value)
    assert told in REASONS or type(told) in EVENT_TYPES.values()


def damaged(raw: bytes, chance: Random) -> bytes:
    """Change, lose or repeat a few bytes, or end early."""
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        start, end = sorted(chance.randrange(len(raw) + 1) for _ in range(2))
        patch = chance.choice(
            (b"", b"\xff", b"\x00", b'"', b"{", b"9", b"-", chance.randbytes(3), raw[start:end])
        )
        raw = raw[:start] + patch + chance.choice((raw[start:], raw[end:], b""))
    return raw


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_damaged_records_are_each_an_event_or_a_reason(count: int) -> None:
    chance = Random(20261122)  # noqa: S311 - the same damage in every run
    seen: Counter[str] = Counter()
    for _ in range(count):
        told = outcome(
            [(name, damaged(raw, chance)) for name, raw in headers(EVENT, "cv-registry")],
            damaged(VALUE, chance),
        )
        seen[told if isinstance(told, str) else "event"] += 1
    assert seen.keys() >= {"event", "bad-utf8", "missing-attribute", "unknown-type", "bad-json", "bad-data"}
    assert seen.total() == count
