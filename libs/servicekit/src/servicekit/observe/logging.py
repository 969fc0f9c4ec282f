"""One JSON object per line on stdout, from our own code and from libraries alike, with nothing about a person in it.

A value passes only under a key of the allow-list, and every text is masked by pattern as well. Of an exception its type
and the places it went through are written, never its message, unless it is one of our own numbered problems, or says what
is wrong with the surroundings: `Misconfigured`, an error of the operating system, the code of one of the database.
What ends the process uncaught is such an entry too; nothing goes to stderr beside it.
"""

import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

import asyncpg
import orjson
import structlog

from cv_contracts.errors import Misconfigured
from cv_contracts.faults import Problem
from servicekit.observe.redaction import MASK, mask
from servicekit.observe.telemetry import trace_id
from servicekit.settings import TelemetrySettings

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["ALLOWED_KEYS", "setup"]

log = structlog.get_logger(__name__)

EventDict = MutableMapping[str, Any]

ALLOWED_KEYS = frozenset(
    {
        # written by this module
        "logger", "library_message",
        # ids of things, never of persons
        "channel", "event_id", "method", "migration", "owner", "package", "partition", "stream", "task", "topic", "version",
        # what became of it
        "attempt", "attempts", "code", "error_type", "lost", "outcome", "reason", "status",
        # how much, how long
        "connections", "count", "month", "position", "rows", "seconds", "total",
    }
)  # fmt: skip
_TRACE_KEYS = {"trace_id": 32, "span_id": 16, "traceparent": 55}
_HEX = re.compile(r"[0-9a-f-]+")
_EVENT_NAME = re.compile(r"[a-z][a-z0-9_.]*")
# Libraries whose log texts were read and hold no content; of any other only the text before formatting is written.
_READ_LIBRARIES = (
    "uvicorn",
    "aiokafka",
    "asyncpg",
    "asyncio",
    "faststream",
    "opentelemetry",
    "servicekit",
    "cv_",
    "cvhub",
)
# What they write of each request says nothing without the address, which stays out; whoever calls tells of what fails.
_TALKATIVE = ("httpx", "httpcore")
_LARGEST_NUMBER = 2**63  # JSON writers take no more
_LONGEST_CHAIN = 5
_MOST_FRAMES = 30
_SYSTEM = ("builtins", "socket", "ssl")
"""Where the errors of the operating system are defined; a library's own kind of them may say anything."""
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def setup(
    service: str,
    settings: TelemetrySettings,
    *,
    stream: BinaryIO | None = None,
) -> None:
    """Send every log entry of this process, structlog's and the standard library's, through the same processors."""
    stream = stream or sys.stdout.buffer
    level = _LEVELS[settings.log_level]
    redactor = Redactor(service)
    structlog.configure(
        processors=[structlog.processors.add_log_level, redactor, _render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Library(redactor, stream)]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name in ("uvicorn", "uvicorn.error", "aiokafka", "asyncpg", "faststream"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate, access.disabled = [], False, True
    sys.excepthook, threading.excepthook, sys.unraisablehook = _ended, _thread_ended, _not_raised


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.error("uncaught_error", exc_info=error)


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    if not issubclass(args.exc_type, SystemExit):
        log.error("uncaught_error", exc_info=args.exc_value)


def _not_raised(args: "UnraisableHookArgs") -> None:
    log.error("unraisable_error", exc_info=args.exc_value)


class Redactor:
    """The processor that decides what may be written; runs last, on entries of every origin."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _logger: object, _method: str, entry: EventDict) -> EventDict:
        clean: EventDict = {
            "timestamp": datetime.now(UTC).isoformat(timespec="microseconds"),
            "level": entry.pop("level", "info"),
            "service": self._service,
            "event": _event_name(entry.pop("event", None)),
        }
        trace = trace_id()
        if trace is not None:
            clean["trace_id"] = trace
        error = _exception_of(entry.pop("exc_info", None))
        if error is not None:
            clean["exception"] = _describe(error)
        for key, value in entry.items():
            clean[mask(key)] = self._value(key, value)
        return clean

    def _value(self, key: str, value: object) -> object:
        length = _TRACE_KEYS.get(key)
        if length is not None:
            text = str(value)
            return text if len(text) == length and _HEX.fullmatch(text) else MASK
        if key.endswith("_id") and isinstance(value, UUID):
            return str(value)
        return _clean(value) if key in ALLOWED_KEYS else _unknown(value)


class _Library(logging.Handler):
    """Writes what libraries log, as entries named `library_log`."""

    def __init__(self, redactor: Redactor, stream: BinaryIO) -> None:
        super().__init__()
        self._redactor = redactor
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        try:
            entry: EventDict = {
                "level": record.levelname.lower(),
                "event": "library_log",
                "logger": record.name,
                "library_message": _message(record),
                "exc_info": record.exc_info,
            }
            self._stream.write(_render(None, "", self._redactor(None, "", entry)) + b"\n")
            self._stream.flush()
        except Exception:  # noqa: BLE001 - as logging does: a log line that cannot be written stops nobody's work
            self.handleError(record)


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage() if record.name.startswith(_READ_LIBRARIES) else str(record.msg)
    return text.partition("\n")[0]


def _render(_logger: object, _method: str, entry: EventDict) -> bytes:
    return orjson.dumps(entry, default=lambda value: type(value).__name__, option=orjson.OPT_NON_STR_KEYS)


def _event_name(event: object) -> str:
    return event if isinstance(event, str) and _EVENT_NAME.fullmatch(event) else "unnamed_event"


def _clean(value: object) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < _LARGEST_NUMBER else MASK
    if isinstance(value, dict):
        return {mask(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    if isinstance(value, str | UUID | datetime):
        return mask(str(value))
    return type(value).__name__


def _unknown(value: object) -> object:
    return value if value is None or isinstance(value, bool) else MASK


def _exception_of(exc_info: object) -> BaseException | None:
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as error, _):
            return error
        case True:
            return sys.exc_info()[1]
        case _:
            return None


def _describe(error: BaseException) -> list[dict[str, Any]]:
    return [_describe_one(link) for link in _chain(error)]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Give the exception and what it came from, the members of a group in their place, five at most."""
    waiting, seen = [error], 0
    while waiting and seen < _LONGEST_CHAIN:
        link = waiting.pop(0)
        if link is None:
            continue
        seen += 1
        yield link
        if isinstance(link, BaseExceptionGroup):
            waiting.extend(link.exceptions)
        waiting.append(link.__cause__ or (None if link.__suppress_context__ else link.__context__))


def _describe_one(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__, limit=-_MOST_FRAMES)
    described: dict[str, Any] = {
        "type": type(error).__qualname__,
        "frames": [f"{_short(frame.filename)}:{frame.lineno}:{frame.name}" for frame in frames],
    }
    if isinstance(error, Problem):
        described["code"] = error.code
        described["status"] = error.status
    reason = _reason_of(error)
    if reason is not None:
        described["reason"] = mask(reason)
    return described


def _reason_of(error: BaseException) -> str | None:
    """Give what an error says of the surroundings. A database's own text may quote rows, and the names it gives do not."""
    if isinstance(error, Misconfigured):
        return str(error)
    if isinstance(error, OSError) and type(error).__module__ in _SYSTEM and error.strerror:
        return f"{error.strerror}: {error.filename}" if isinstance(error.filename, str) else error.strerror
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate:
        names = (error.table_name, error.constraint_name)
        return " ".join((error.sqlstate, *(name for name in names if name)))
    return None


def _short(filename: str) -> str:
    for marker in ("/site-packages/", "/src/"):
        _, found, rest = filename.rpartition(marker)
        if found:
            return rest
    return "/".join(filename.split("/")[-2:])
