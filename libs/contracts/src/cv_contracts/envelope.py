"""An event as a Kafka record and back: CloudEvents 1.0, binary mode, where reading survives whatever a topic may hold."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, get_args
from uuid import UUID

from pydantic import ValidationError
from pydantic_core import from_json

from cv_contracts.event import ENVELOPE_FIELDS, Event
from cv_contracts.topics import EVENT_TYPES, MAX_RECORD_BYTES

__all__ = [
    "CONTENT_TYPE",
    "REASONS",
    "SPEC_VERSION",
    "Event",
    "Reason",
    "Unreadable",
    "attributes",
    "data_json",
    "headers",
    "key",
    "read",
    "traceparent_of",
]

Reason = Literal[
    "null-header",
    "bad-utf8",
    "missing-attribute",
    "unknown-type",
    "unknown-version",
    "bad-json",
    "tombstone",
    "bad-data",
    "too-large",
]
REASONS: tuple[Reason, ...] = get_args(Reason)

SPEC_VERSION = "1.0"
CONTENT_TYPE = "application/json"
TRACEPARENT = "ce_traceparent"
_REQUIRED = ("ce_specversion", "ce_type", "ce_id", "ce_source", "ce_subject", "ce_time")
_READ = frozenset({*_REQUIRED, "content-type"})
_NO_JSON = object()
_FAMILIES = frozenset(name.rpartition(".")[0] for name in EVENT_TYPES)


class Unreadable(Exception):  # noqa: N818 - says what is the matter with the record
    """A record that no reader of this version can use. It tells the reason and nothing of the content."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


def key(event: Event) -> bytes:
    """Give the record's key: the subject, so that all about one subject stays in order."""
    return str(event.subject).encode()


def data_json(event: Event) -> bytes:
    """Give the record's value: the event's data, without what travels in the headers."""
    return event.model_dump_json(exclude=set(ENVELOPE_FIELDS), exclude_none=True).encode()


def headers(event: Event, source: str, traceparent: str | None = None) -> list[tuple[str, bytes]]:
    """Give the record's headers; `source` is the name of the service that says it."""
    return attributes(
        id=event.id,
        source=source,
        type=event.TYPE,
        subject=event.subject,
        time=event.time,
        traceparent=traceparent,
    )


def attributes(
    *,
    id: UUID,  # noqa: A002 - CloudEvents' own name
    source: str,
    type: str,  # noqa: A002 - CloudEvents' own name
    subject: UUID | str,
    time: datetime,
    traceparent: str | None = None,
) -> list[tuple[str, bytes]]:
    """Give the headers from the bare attributes, for a relay that has rows and no events."""
    texts = [
        ("ce_specversion", SPEC_VERSION),
        ("ce_id", str(id)),
        ("ce_source", source),
        ("ce_type", type),
        ("ce_subject", str(subject)),
        ("ce_time", time.astimezone(UTC).isoformat().replace("+00:00", "Z")),
        ("content-type", CONTENT_TYPE),
    ]
    if traceparent is not None:
        texts.append((TRACEPARENT, traceparent))
    return [(name, text.encode()) for name, text in texts]


Headers = Iterable[tuple[str, bytes | None]]


def read(headers: Headers, value: bytes | None) -> Event:
    """Read a record, or raise Unreadable and nothing else.

    Names of headers count in any case and headers that are not ours may hold anything; a header of ours that comes
    twice must say the same twice. Unknown fields of the data are ignored.
    """
    if value is None:
        raise Unreadable("tombstone")
    if len(value) > MAX_RECORD_BYTES:
        raise Unreadable("too-large")
    texts = _texts(headers)
    event_class = _event_class(texts)
    data = _data(value)
    event = _validated(event_class, {**data, **{name: texts[f"ce_{name}"] for name in ENVELOPE_FIELDS}})
    if event is None:
        raise Unreadable("bad-data")
    return event


def traceparent_of(headers: Headers) -> str | None:
    """Give the trace context of a record, if it has one that can be read."""
    for name, raw in headers:
        if name.lower() == TRACEPARENT and raw is not None:
            return _decoded(raw)
    return None


def _texts(headers: Headers) -> dict[str, str]:
    texts: dict[str, str] = {}
    for given, raw in headers:
        name = given.lower()
        if name not in _READ:
            continue
        if raw is None:
            raise Unreadable("null-header")
        text = _decoded(raw)
        if text is None:
            raise Unreadable("bad-utf8")
        if texts.setdefault(name, text) != text:
            raise Unreadable("bad-data")
    if not all(texts.get(name) for name in _REQUIRED):
        raise Unreadable("missing-attribute")
    return texts


def _event_class(texts: Mapping[str, str]) -> type[Event]:
    if texts["ce_specversion"] != SPEC_VERSION:
        raise Unreadable("unknown-version")
    event_class = EVENT_TYPES.get(texts["ce_type"])
    if event_class is None:
        family = texts["ce_type"].rpartition(".")[0]
        raise Unreadable("unknown-version" if family in _FAMILIES else "unknown-type")
    if texts.get("content-type", CONTENT_TYPE).partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise Unreadable("bad-data")
    return event_class


# The helpers below answer with nothing in place of raising from an except clause: a chained error would carry the content.


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _data(value: bytes) -> dict[str, Any]:
    data = _parsed(value)
    if data is _NO_JSON:
        raise Unreadable("bad-json")
    if not isinstance(data, dict):
        raise Unreadable("bad-data")
    return data


def _parsed(value: bytes) -> Any:
    try:
        return from_json(value, allow_inf_nan=False)
    except ValueError:
        return _NO_JSON


def _validated(event_class: type[Event], fields: Mapping[str, Any]) -> Event | None:
    try:
        return event_class.model_validate(fields)
    except ValidationError:
        return None
