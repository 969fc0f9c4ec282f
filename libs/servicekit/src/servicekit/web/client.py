"""Calls from one service to another: signed, with a deadline, compressed answers, over the bounded pool of connections.

ServiceError
├── ServiceUnreachable   no answer began: no connection, no room for one, or cut off before the first byte
├── ServiceTimedOut      no whole answer by the deadline
├── ServiceRefused       an answer other than 2xx, with its status and, in a problem, its fault code and refused elements
└── ServiceGarbled       an answer that cannot be read
"""

import asyncio
import time
import zlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson

from cv_contracts.faults import FieldError
from servicekit.caller import Caller
from servicekit.observe import metrics
from servicekit.observe.telemetry import current_traceparent
from servicekit.web.connection import Answer, Garbled, Late, UpstreamError
from servicekit.web.http import remaining_seconds
from servicekit.web.identity import ServiceSigner
from servicekit.web.upstream import Forward, Owner, OwnerLimits

__all__ = [
    "ServiceClient",
    "ServiceError",
    "ServiceGarbled",
    "ServiceRefused",
    "ServiceTimedOut",
    "ServiceUnreachable",
]

DEADLINE = timedelta(seconds=5)
LARGEST_ANSWER = 64 * 1024 * 1024
LIMITS = OwnerLimits(connections=16, answer_bytes=LARGEST_ANSWER)


class ServiceError(Exception):
    """Another service gave no good answer. The text names the service, never what was asked."""


class ServiceUnreachable(ServiceError):  # noqa: N818 - says what happened
    """No answer began: the service is away, or too many wait for it."""


class ServiceTimedOut(ServiceError):  # noqa: N818 - says what happened
    """No whole answer by the deadline; the service may have done the work."""


class ServiceGarbled(ServiceError):  # noqa: N818 - says what happened
    """The answer cannot be read; the service may have done the work."""


class ServiceRefused(ServiceError):  # noqa: N818 - says what happened
    """The service answered no; `code` is the fault's, if its answer was a problem with one, and `errors` which elements and why."""

    def __init__(
        self, service: str, status: int, code: int | None, errors: tuple[FieldError, ...] = ()
    ) -> None:
        super().__init__(f"{service} answered {status}" + ("" if code is None else f" with fault {code}"))
        self.status = status
        self.code = code
        self.errors = errors


class ServiceClient:
    """One other service's internal routes, called as the service that `signer` signs for. Close it in the end."""

    def __init__(
        self,
        base_url: str,
        audience: str,
        signer: ServiceSigner,
        *,
        deadline: timedelta = DEADLINE,
        limits: OwnerLimits = LIMITS,
    ) -> None:
        self._audience = audience
        self._signer = signer
        self._deadline = deadline
        self._pool = Owner(base_url, limits)

    async def post_json(
        self,
        path: str,
        payload: Mapping[str, Any],
        *,
        caller: Caller | None = None,
    ) -> Any:
        """Post JSON and give the JSON answered, in the deadline and in the time that the present request has left.

        Doing it twice must do no harm: it is sent again where a kept connection was cut off.
        """
        seconds = self._deadline.total_seconds()
        left = remaining_seconds()
        seconds = seconds if left is None else min(seconds, left)
        body = orjson.dumps(payload)
        request = Forward("POST", path.encode("ascii"), self._head(caller), body, repeatable=True)
        begun, outcome = time.perf_counter(), "lost"
        try:
            answer = await self._pool.send(request, asyncio.get_running_loop().time() + seconds)
            outcome = str(answer.status)
        except Late as error:
            raise ServiceTimedOut(self._audience) from error
        except Garbled as error:
            raise ServiceGarbled(self._audience) from error
        except UpstreamError as error:
            raise ServiceUnreachable(self._audience) from error
        finally:
            lasted = time.perf_counter() - begun
            metrics.record(
                "http.client.request.duration", lasted, {"peer.service": self._audience, "outcome": outcome}
            )
        return self._read(answer)

    def close(self) -> None:
        """Close the idle connections; those in use close when they are given back."""
        self._pool.close()

    def _head(self, caller: Caller | None) -> bytes:
        lines = [
            f"authorization: Bearer {self._signer.token(self._audience, caller)}",
            "content-type: application/json",
            "accept: application/json",
            "accept-encoding: gzip",
        ]
        if (traceparent := current_traceparent()) is not None:
            lines.append(f"traceparent: {traceparent}")
        return "".join(f"{line}\r\n" for line in lines).encode("latin-1")

    def _read(self, answer: Answer) -> Any:
        try:
            parsed = orjson.loads(_unzipped(answer) or b"null")
        except (zlib.error, ValueError):
            parsed = None
            if 200 <= answer.status < 300:
                raise ServiceGarbled(self._audience) from None
        if not 200 <= answer.status < 300:
            raise ServiceRefused(self._audience, answer.status, _code(parsed), _errors(parsed))
        return parsed


def _unzipped(answer: Answer) -> bytes:
    if (b"content-encoding", b"gzip") not in answer.headers:
        return answer.body
    unzip = zlib.decompressobj(wbits=31)
    body = unzip.decompress(answer.body, LARGEST_ANSWER)
    if not unzip.eof:
        raise ValueError("cut short, or too large")
    return body


def _code(problem: Any) -> int | None:
    code = problem.get("code") if isinstance(problem, dict) else None
    return code if isinstance(code, int) else None


def _errors(problem: Any) -> tuple[FieldError, ...]:
    try:
        return tuple(FieldError(str(one["element"]), str(one["reason"])) for one in problem["errors"])
    except (KeyError, TypeError):
        return ()
