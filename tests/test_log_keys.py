"""What our code says in a log can be read there: a key that is not allowed is written as ***."""

import ast
from collections.abc import Iterator
from pathlib import Path

from servicekit.observe.logging import ALLOWED_KEYS

ROOT = Path(__file__).parents[1]
OURS = [path for part in ("libs", "services") for path in (ROOT / part).glob("*/src/**/*.py")]
TAKEN_APART = {"exc_info", "traceparent", "trace_id"}
"""Keys that are written in a form of their own."""


def logged(path: Path) -> Iterator[tuple[str, str]]:
    """Give place and key of whatever a module logs."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("log")), keywords=keywords):
                for keyword in keywords:
                    yield f"{path.relative_to(ROOT)}:{keyword.lineno}", keyword.arg or "**"


def test_every_key_that_is_logged_is_allowed() -> None:
    found = [one for path in OURS for one in logged(path)]
    assert len(found) > 100
    assert [one for one in found if one[1] not in ALLOWED_KEYS | TAKEN_APART] == []
