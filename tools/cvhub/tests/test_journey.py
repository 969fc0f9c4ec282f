"""The commands that the walk shows can be pasted into a shell as they stand."""

import shlex
from typing import Any, cast

from cvhub.state import Run
from cvhub.walk.journey import JOBNET, Journey

HEADERS = {"accept": "application/json"}


class _Here:
    def url(self, _: str) -> str:
        return "http://127.0.0.1:8080"


def test_a_shell_reads_the_address_that_was_called_also_with_a_query() -> None:
    nothing = cast(Any, None)
    journey = Journey(nothing, cast(Run, cast(Any, _Here())), nothing, nothing, nothing, "", "")
    for path in ("/v6/Cv", "/v6/Cv/versions/onstatus?CVStatusIdentifier=3", "/v1/feed/cv?limit=1&after=x"):
        words = shlex.split(journey.curl("GET", path, JOBNET, "cv.read", HEADERS))
        assert [word for word in words if word != "\n"][:4] == ["curl", "-X", "GET", journey.gateway + path]
        assert "accept: application/json" in words
