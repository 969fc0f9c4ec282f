"""What our code says in a log can be read there: a key that is not allowed is written as ***, an entry is the one that a document names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from servicekit.observe.logging import ALLOWED_KEYS

ROOT = Path(__file__).parents[1]
OURS = [path for part in ("libs", "services") for path in (ROOT / part).glob("*/src/**/*.py")]
OF_LIBRARIES = {"logger", "library_message"}
"""Keys of the entries that are made of what libraries log."""
TAKEN_APART = {"exc_info", "traceparent", "trace_id"}
"""Keys that are written in a form of their own."""
LOGGING = {"_taken", "level"}
"""What modules log by besides `log` itself: a function that is told the entry's name, a method of `log` that was chosen before."""


def entries(path: Path) -> Iterator[ast.Call]:
    """Give the calls that a module logs by."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("log"))):
                yield node
            case ast.Call(func=ast.Name(name)) if name in LOGGING:
                yield node


def logged(path: Path) -> Iterator[tuple[str, str]]:
    """Give place and key of whatever a module logs."""
    for entry in entries(path):
        for keyword in entry.keywords:
            yield f"{path.relative_to(ROOT)}:{keyword.lineno}", keyword.arg or "**"


def test_every_key_that_is_logged_is_allowed() -> None:
    found = [one for path in OURS for one in logged(path)]
    assert len(found) > 100
    assert [one for one in found if one[1] not in ALLOWED_KEYS | TAKEN_APART] == []


def test_every_key_that_is_allowed_is_logged() -> None:
    found = {key for path in OURS for _, key in logged(path)}
    assert ALLOWED_KEYS - found == OF_LIBRARIES


DOCUMENTS = [ROOT / "docs" / name for name in ("runbook.md", "production.md")]
NO_ENTRIES = {"max_connections", "peer_service", "pg_terminate_backend"}
"""Names of the same form that documents speak of: a label, a function and a setting of PostgreSQL."""


def names(path: Path) -> Iterator[str]:
    """Give the names of the entries that a module logs."""
    for entry in entries(path):
        for argument in entry.args:
            match argument:
                case ast.Constant(str(name)):
                    yield name


def test_every_entry_that_operators_are_told_to_look_for_is_logged_somewhere() -> None:
    named = {name for page in DOCUMENTS for name in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", page.read_text())}
    assert len(named) > 10
    assert named - {name for path in OURS for name in names(path)} == NO_ENTRIES
