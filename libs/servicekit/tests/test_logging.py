"""What may stand in a log line, from our own code and from libraries."""

import ast
import asyncio
import io
import json
import logging
import re
import string
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from cv_contracts.faults import Fault
from servicekit.observe import logging as logging_module
from servicekit.observe.logging import ALLOWED_KEYS, setup
from servicekit.observe.redaction import MASK, mask
from servicekit.observe.telemetry import with_traceparent
from servicekit.settings import TelemetrySettings

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
PERSON_NUMBER, CV_NUMBER = "0101011234", "12345678"

around = st.text(st.sampled_from(string.ascii_letters + " .,:;/\"'{}[]()<>=\näøå"), max_size=20)
digits = st.characters(min_codepoint=48, max_codepoint=57)
person_numbers = st.text(digits, min_size=10, max_size=10)
dashed = st.builds(
    lambda n, gap: n[:6] + gap + n[6:], person_numbers, st.sampled_from("- \u2010\u2011\u2013")
)
cv_numbers = st.text(digits, min_size=8, max_size=8)
phones = st.builds(
    lambda prefix, gap, n: f"{prefix}{gap}{gap.join(n[i : i + 2] for i in range(0, 8, 2))}",
    st.sampled_from(["+45", "0045", "%2B45"]),
    st.sampled_from(["", " ", "-", "."]),
    cv_numbers,
)
mails = st.emails()
tokens = st.builds(
    lambda scheme, text: f"{scheme} {text}",
    st.sampled_from(["Bearer", "bearer", "BEARER", "Basic"]),
    st.text(string.ascii_letters + string.digits + "-_.=", min_size=8, max_size=60),
)


class Log:
    """The lines that a process has written."""

    def __init__(self) -> None:
        self.stream = io.BytesIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue().decode()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.split("\n") if line]

    @property
    def last(self) -> dict[str, Any]:
        return self.lines[-1]


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    setup("cv-registry", TelemetrySettings(log_level="info"), stream=made.stream)
    yield made
    root.handlers, root.level = handlers, level
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


our = structlog.get_logger("ours")


@given(around, st.one_of(person_numbers, dashed), around)
def test_person_numbers_are_masked_wherever_they_stand(before: str, number: str, after: str) -> None:
    assert number not in mask(before + number + after)


@given(around, cv_numbers, around)
def test_cv_numbers_are_masked_wherever_they_stand(before: str, number: str, after: str) -> None:
    assert number not in mask(before + number + after)


@given(around, phones, around)
def test_danish_phone_numbers_are_masked_however_they_are_spaced(before: str, phone: str, after: str) -> None:
    masked = mask(before + phone + after)
    assert phone not in masked
    assert sum(c.isdigit() for c in masked) < 8


@given(mails)
def test_mail_addresses_are_masked(mail: str) -> None:
    masked = mask(f"could not send to {mail} today")
    assert mail not in masked
    assert mail.rpartition("@")[2] not in masked or len(mail.rpartition("@")[2]) < 4


@given(tokens)
def test_bearer_tokens_are_masked(token: str) -> None:
    assert token.split(" ")[1] not in mask(f"authorization: {token}") or MASK in mask(token)
    assert mask(token) == MASK


@given(around, st.uuids(), around)
def test_random_ids_survive(before: str, identifier: UUID, after: str) -> None:
    assert str(identifier) in mask(f"{before} {identifier} {after}")


@given(st.uuids(), person_numbers)
def test_a_number_beside_an_id_is_still_masked(identifier: UUID, number: str) -> None:
    masked = mask(f"{identifier} {number}")
    assert str(identifier) in masked
    assert number not in masked.replace(str(identifier), "")


@pytest.mark.timeout(5)
def test_masking_a_long_text_takes_no_long_time() -> None:
    for text in ("a" * 1_000_000, "@" * 1_000_000, "1-" * 500_000, "eyJ" + "a" * 1_000_000):
        mask(text)


def test_an_entry_is_one_json_line_with_event_service_level_and_time(log: Log) -> None:
    our.info("event_handled", outcome="applied", count=3)
    entry = log.last
    assert (entry["event"], entry["service"], entry["level"]) == ("event_handled", "cv-registry", "info")
    assert (entry["outcome"], entry["count"]) == ("applied", 3)
    assert entry["timestamp"].endswith("+00:00")
    assert log.text.count("\n") == 1


def test_less_severe_entries_than_the_setting_are_not_written(log: Log) -> None:
    our.debug("too_small")
    logging.getLogger("aiokafka").debug("too small")
    assert log.text == ""


def test_the_trace_is_in_every_entry(log: Log) -> None:
    with with_traceparent(TRACEPARENT):
        our.info("event_handled")
        logging.getLogger("aiokafka").warning("lost")
    assert [entry["trace_id"] for entry in log.lines] == [TRACEPARENT[3:35]] * 2


def test_a_value_under_an_unknown_key_is_masked_whole(log: Log) -> None:
    our.info(
        "saved",
        family_name="Hansen",
        address={"line": "Vejen 1"},
        number=PERSON_NUMBER,
        age=1,
        ok=True,
        no=None,
    )
    entry = log.last
    assert [entry[key] for key in ("family_name", "address", "number", "age", "ok", "no")] == [MASK] * 4 + [
        True,
        None,
    ]
    assert "Hansen" not in log.text


def test_allowed_keys_are_masked_by_pattern_all_the_same(log: Log) -> None:
    our.info(
        "refused",
        reason=f"no {PERSON_NUMBER}",
        owner="a@b.dk",
        total=[CV_NUMBER, {"x": CV_NUMBER}],
        stream=b"x",
    )
    assert PERSON_NUMBER not in log.text
    assert CV_NUMBER not in log.text
    assert "b.dk" not in log.text


def test_an_object_is_written_by_its_type_alone(log: Log) -> None:
    class Person:
        def __repr__(self) -> str:
            return "Hansen"

    our.info("saved", stream=Person(), other=Person())
    assert log.last["stream"] == "Person"
    assert "Hansen" not in log.text


def test_a_trace_id_must_look_like_one(log: Log) -> None:
    our.info("seen", span_id="b7ad6b7169203331", traceparent=f"x {PERSON_NUMBER}")
    assert log.last["span_id"] == "b7ad6b7169203331"
    assert log.last["traceparent"] == MASK


def test_an_event_name_that_is_not_a_constant_is_not_written(log: Log) -> None:
    our.info("Saved Jens Hansen")
    assert log.last["event"] == "unnamed_event"
    assert "Hansen" not in log.text


def failing() -> None:
    name = "Hansen"
    raise ValueError(f"{name} {PERSON_NUMBER}")


def test_an_exception_is_written_by_type_and_places_without_its_message(log: Log) -> None:
    try:
        failing()
    except ValueError:
        our.exception("request_failed")
    described = log.last["exception"][0]
    assert described["type"] == "ValueError"
    assert described["frames"][-1].endswith(":failing")
    assert "test_logging.py:" in described["frames"][-1]
    assert "Hansen" not in log.text
    assert PERSON_NUMBER not in log.text


def test_the_causes_of_an_exception_are_written_the_same_way(log: Log) -> None:
    try:
        try:
            failing()
        except ValueError as error:
            raise RuntimeError("Hansen") from error
    except RuntimeError:
        logging.getLogger("asyncpg").exception("lost")
    assert [link["type"] for link in log.last["exception"]] == ["RuntimeError", "ValueError"]
    assert "Hansen" not in log.text


def test_the_members_of_an_exception_group_are_written(log: Log) -> None:
    our.error("failed", exc_info=ExceptionGroup("Hansen", [ValueError("Hansen"), KeyError("Hansen")]))
    assert [link["type"] for link in log.last["exception"]] == ["ExceptionGroup", "ValueError", "KeyError"]
    assert "Hansen" not in log.text


def test_one_of_our_own_problems_is_written_with_its_code(log: Log) -> None:
    our.warning("refused", exc_info=Fault(1010))
    assert (log.last["exception"][0]["code"], log.last["exception"][0]["status"]) == (1010, 404)


def test_libraries_go_through_the_same_processors(log: Log) -> None:
    # A server that ran earlier in this process may have set a level of its own.
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)
    logging.getLogger("aiokafka.client").warning("Unable to reach %s at %s", "node", f"x {PERSON_NUMBER}")
    logging.getLogger("uvicorn.error").info("Uvicorn running on %s", "http://127.0.0.1:8081")
    warning, running = log.lines
    assert (warning["event"], warning["logger"], warning["level"]) == (
        "library_log",
        "aiokafka.client",
        "warning",
    )
    assert warning["library_message"] == f"Unable to reach node at x {MASK}"
    assert "8081" in running["library_message"]


def test_of_an_unknown_library_only_the_fixed_text_is_written(log: Log) -> None:
    logging.getLogger("somelib").error("cannot parse %s", "Hansen")
    assert log.last["library_message"] == "cannot parse %s"


class Gone:
    def __del__(self) -> None:
        raise ValueError("Hansen")


def test_what_nobody_could_raise_is_an_entry_without_its_message(log: Log) -> None:
    gone = Gone()
    del gone
    assert (log.last["event"], log.last["exception"][0]["type"]) == ("unraisable_error", "ValueError")
    assert "Hansen" not in log.text


def test_of_an_error_of_the_database_its_code_and_names_are_told_and_no_row(log: Log) -> None:
    error = asyncpg.UniqueViolationError.new(
        {
            "C": "23505",
            "M": "duplicate key value",
            "D": f"Key (person_number)=({PERSON_NUMBER}) already exists.",
            "t": "citizens",
            "n": "citizens_person_number",
        }
    )
    our.error("failed", exc_info=error)
    assert log.last["exception"][0]["reason"] == "23505 citizens citizens_person_number"
    assert PERSON_NUMBER not in log.text


async def test_a_task_whose_exception_nobody_took_tells_no_message(log: Log) -> None:
    loop = asyncio.get_running_loop()
    error = ValueError("Hansen")
    loop.call_exception_handler(
        {"message": "Task exception was never retrieved", "exception": error, "task": "Hansen"}
    )
    assert log.last["library_message"] == "Task exception was never retrieved"
    assert log.last["exception"][0]["type"] == "ValueError"
    assert "Hansen" not in log.text


def test_the_access_log_of_uvicorn_is_off(log: Log) -> None:
    logging.getLogger("uvicorn.access").info('%s - "%s"', "127.0.0.1", "GET /v6/Cv?x=Hansen")
    assert log.text == ""


def test_a_call_of_another_http_server_is_no_entry(log: Log) -> None:
    answering = httpx.MockTransport(lambda _: httpx.Response(200))
    with httpx.Client(transport=answering) as client:
        client.get("http://sms.example/send")
    assert log.text == ""
    logging.getLogger("httpx").warning("trouble with %s", "http://sms.example/send")
    assert log.last["library_message"] == "trouble with %s"


def test_warnings_are_entries_too(log: Log) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(f"old {PERSON_NUMBER}", stacklevel=1)
        logging.captureWarnings(capture=False)
    assert log.last["logger"] == "py.warnings"
    assert PERSON_NUMBER not in log.text


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.just("\ud800"),
        st.floats(),
        st.text(),
        st.binary(),
        st.uuids(),
        st.datetimes(),
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)


@given(
    st.text(), st.dictionaries(st.text().filter(lambda key: key not in {"event", "self"}), values, max_size=4)
)
@pytest.mark.slow
def test_whatever_is_logged_makes_one_line_and_no_error(event: str, fields: dict[str, Any]) -> None:
    made = Log()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    setup("cv-registry", TelemetrySettings(), stream=made.stream)
    try:
        our.info(event, **fields, outcome=fields)
        assert len(made.lines) == 1
    finally:
        logging.getLogger().handlers = []
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()


def log_calls(source: Path) -> Iterator[ast.Call]:
    levels = {"debug", "info", "warning", "error", "exception", "critical"}
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level)) if level in levels:
                yield node


SOURCES = sorted(Path(logging_module.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_entry_of_ours_has_a_constant_name_and_keys_that_may_pass(source: Path) -> None:
    for call in log_calls(source):
        (name,) = call.args
        assert isinstance(name, ast.Constant), ast.unparse(call)
        assert re.fullmatch(r"[a-z][a-z0-9_]*", str(name.value)), ast.unparse(call)
        keys = {keyword.arg for keyword in call.keywords} - {"exc_info", "trace_id", "span_id"}
        assert keys <= ALLOWED_KEYS, ast.unparse(call)
