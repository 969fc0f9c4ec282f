"""Every way a call can be refused, with the seeds' own codes and texts, as RFC 9457 problems.

Problem
├── Fault          a numbered fault of the seeds (or 1011, internal error)
├── Precondition   412, a request id reused with another body, or an If-Match that does not hold
├── TooMany        429, too many or too early
├── Unavailable    503, cannot be answered now; a passing state
└── Unexpected     500, a mistake of ours, told to the caller as 1011 and nothing more
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any

INTERNAL_ERROR = 1011
RETRY_SECONDS = 5
"""What a caller is asked to wait when nothing better is known."""


@dataclass(frozen=True, slots=True)
class FaultText:
    """One numbered fault: the seed's fault text (title) and description (detail), and the HTTP status it gets."""

    code: int
    title: str
    detail: str
    status: int


@dataclass(frozen=True, slots=True)
class FieldError:
    """An element as it is spelled on the wire and why it was refused; never the value that was sent."""

    element: str
    reason: str


def _load() -> Mapping[int, FaultText]:
    text = files(__package__).joinpath("faults.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    texts = (FaultText(int(row["code"]), row["title"], row["detail"], int(row["status"])) for row in rows)
    return MappingProxyType({text.code: text for text in texts})


FAULTS: Mapping[int, FaultText] = _load()


class Problem(Exception):  # noqa: N818 - a refusal is an answer, not an error of the program
    """A refused call. `body` and `headers` are what the caller gets; neither may hold anything about a person."""

    def __init__(
        self,
        *,
        status: int,
        kind: str,
        title: str,
        detail: str,
        code: int | None = None,
        errors: tuple[FieldError, ...] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"{status} {kind}")
        self.status = status
        self.type = f"urn:cvhub:{kind}"
        self.title = title
        self.detail = detail
        self.code = code
        self.errors = errors
        self.retry_after = RETRY_SECONDS if retry_after is None and status in (429, 503) else retry_after

    def body(self, trace_id: str | None = None) -> dict[str, Any]:
        """Give the members of the problem document; those that say nothing are left out."""
        members = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "errors": [{"element": e.element, "reason": e.reason} for e in self.errors] or None,
            "traceId": trace_id,
        }
        return {name: value for name, value in members.items() if value is not None}

    def headers(self) -> dict[str, str]:
        """Give the response headers, content type included."""
        headers = {"content-type": "application/problem+json"}
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        return headers


class Fault(Problem):
    """A fault by its number. 1011 here means that an owner did not answer (503); see Unexpected for our own mistakes."""

    code: int

    def __init__(
        self, code: int, errors: tuple[FieldError, ...] = (), retry_after: int | None = None
    ) -> None:
        text = FAULTS[code]
        super().__init__(
            status=text.status,
            kind=f"fault:{code}",
            title=text.title,
            detail=text.detail,
            code=code,
            errors=errors,
            retry_after=retry_after,
        )


class Precondition(Problem):
    """The caller's own condition does not hold: a request id reused with another body, or If-Match."""

    def __init__(self, detail: str = "A condition that the request states does not hold") -> None:
        super().__init__(status=412, kind="problem:precondition", title="Precondition failed", detail=detail)


class TooMany(Problem):
    """Too many requests, or too early; `retry_after` in seconds."""

    def __init__(
        self,
        retry_after: int = RETRY_SECONDS,
        detail: str = "Too many requests, or too early. Try again later",
    ) -> None:
        super().__init__(
            status=429,
            kind="problem:too-many",
            title="Too many requests",
            detail=detail,
            retry_after=retry_after,
        )


class Unavailable(Problem):
    """Not now: a read that waits for a write not yet applied, a stale replica, overload; `retry_after` in seconds."""

    def __init__(
        self, retry_after: int = RETRY_SECONDS, detail: str = "The service cannot answer now. Try again later"
    ) -> None:
        super().__init__(
            status=503,
            kind="problem:unavailable",
            title="Temporarily unavailable",
            detail=detail,
            code=INTERNAL_ERROR,
            retry_after=retry_after,
        )


class Unexpected(Problem):
    """A mistake of ours. The caller learns the number 1011 and the trace id, nothing else."""

    def __init__(self) -> None:
        super().__init__(
            status=500,
            kind=f"fault:{INTERNAL_ERROR}",
            title=FAULTS[INTERNAL_ERROR].title,
            detail="The operation failed. The trace id helps to find out why",
            code=INTERNAL_ERROR,
        )
