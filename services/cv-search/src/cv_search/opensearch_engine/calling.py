"""Calls of OpenSearch's HTTP interface; whatever goes wrong is told as the port's errors, without the request's text."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import orjson

from cv_search.port import EngineError, TooCostly
from servicekit.web.tls import trusting

Json = dict[str, Any]
TIMEOUT: Final = timedelta(seconds=60)
_CANCELLED = ("cancelled", "task_cancelled_exception", "time_exceeded")


class Cluster:
    """One cluster. Its calls may come from several threads."""

    def __init__(self, url: str, ca_file: Path | None = None) -> None:
        self._http = httpx.Client(
            base_url=url, timeout=TIMEOUT.total_seconds(), trust_env=False, verify=trusting(ca_file)
        )

    def call(self, method: str, path: str, body: Json | None = None, **params: str) -> Json:
        """Make a call that must succeed."""
        found = self.ask(method, path, body, **params)
        if found is None:
            raise EngineError("not found")
        return found

    def ask(self, method: str, path: str, body: Json | None = None, **params: str) -> Json | None:
        """Make a call that may find nothing."""
        content = None if body is None else orjson.dumps(body)
        return self._answer(method, path, content, "application/json", params)

    def bulk(self, index: str, lines: list[Json]) -> int:
        """Write many documents; gives how many are there in a newer version, raises EngineError if another is refused."""
        content = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        answer = self._answer("POST", f"/{index}/_bulk", content, "application/x-ndjson", {})
        newer = 0
        for item in (answer or {}).get("items", ()):
            (done,) = item.values()
            if done.get("status") == httpx.codes.CONFLICT:
                newer += 1
            # A delete of what is not there is no error.
            elif "error" in done:
                raise EngineError(str(done["error"].get("type")))
        return newer

    def close(self) -> None:
        self._http.close()

    def _answer(
        self, method: str, path: str, content: bytes | None, kind: str, params: dict[str, str]
    ) -> Json | None:
        try:
            answer = self._http.request(
                method, path, content=content, params=params, headers={"content-type": kind}
            )
            if answer.status_code == httpx.codes.NOT_FOUND:
                return None
            if answer.is_error:
                raise _refusal(answer.content)
            found: Json = orjson.loads(answer.content) if answer.content else {}
        except (httpx.HTTPError, ValueError) as error:
            raise EngineError(type(error).__name__) from error
        if found.get("timed_out"):
            raise TooCostly
        return found


def _refusal(content: bytes) -> EngineError:
    try:
        kind = str(orjson.loads(content)["error"]["root_cause"][0]["type"])
    except (ValueError, KeyError, TypeError, IndexError):
        kind = "refused"
    return (
        TooCostly()
        if any(word in kind or word.encode() in content for word in _CANCELLED)
        else EngineError(kind)
    )
