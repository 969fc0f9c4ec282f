# ruff: noqa: INP001
"""Writes docs/settings.md from the settings classes; `--check` tells whether it is current."""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from servicekit import settings as parts

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "settings.md"
PARTS: dict[str, type[BaseModel]] = {
    "HTTP": parts.HttpSettings,
    "POSTGRES": parts.PostgresSettings,
    "KAFKA": parts.KafkaSettings,
    "IDENTITY": parts.IdentitySettings,
    "TELEMETRY": parts.TelemetrySettings,
}
HEAD = """# Settings

Made by `make generate` from the settings classes. Every setting is an environment variable; `__` stands between a part and a
name in it. Times are ISO 8601 durations (`PT10S`) or seconds. An invalid or missing one ends the start with its name, never its value.
"""
TABLE = "| Variable | Meaning | Default |\n| --- | --- | --- |\n"


def page() -> str:
    """Give the whole page: the parts that services share, then each service."""
    shared = [_section(f"{name}__", part) for name, part in PARTS.items()]
    services = [_service(path) for path in sorted(ROOT.glob("services/*/src/*/settings.py"))]
    return "\n".join([HEAD, "## Parts that services share\n", *shared, *services]).rstrip() + "\n"


def _section(prefix: str, part: type[BaseModel]) -> str:
    rows = "".join(_row(prefix, part, name) for name in part.model_fields)
    return f"### {prefix.rstrip('_')}\n\n{_first_line(part)}\n\n{TABLE}{rows}"


def _service(path: Path) -> str:
    settings: type[BaseModel] = import_module(f"{path.parent.name}.settings").Settings
    used = [name for name in PARTS if name.lower() in settings.model_fields]
    rows = "".join(_rows("", settings))
    return f"## {path.parents[2].name}\n\nParts: {', '.join(used)}.\n\n{TABLE}{rows}"


def _rows(prefix: str, part: type[BaseModel], given: BaseModel | None = None) -> Iterator[str]:
    for name, field in part.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            value = field.get_default(call_default_factory=True)
            default = value if isinstance(value, BaseModel) else None
            if inner in PARTS.values():
                yield from _changed(f"{prefix}{name}__".upper(), inner, default)
            else:
                yield from _rows(f"{prefix}{name}__", inner, default)
        else:
            yield _row(prefix.upper(), part, name, given)


def _changed(prefix: str, part: type[BaseModel], given: BaseModel | None) -> Iterator[str]:
    """Give the rows of a shared part whose default is another one in this service."""
    for name, field in part.model_fields.items():
        if given is not None and getattr(given, name) != field.default:
            yield _row(prefix, part, name, given)


def _row(prefix: str, part: type[BaseModel], name: str, given: BaseModel | None = None) -> str:
    field = part.model_fields[name]
    default = _default(field) if given is None else _shown(getattr(given, name))
    meaning = _docstrings(part).get(name, "").replace("|", "\\|")
    return f"| `{prefix}{name.upper()}` | {meaning} | {default} |\n"


def _default(field: FieldInfo) -> str:
    return "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))


def _shown(value: Any) -> str:
    match value:
        case _ if value in (None, {}, (), [], ""):  # the pattern {} would be any mapping
            return "-"
        case SecretStr():
            return "a secret"
        case timedelta():
            return _duration(value)
        case dict():
            return ", ".join(f"{name}: {_shown(inner)}" for name, inner in value.items())
        case _:
            return f"`{value}`"


def _duration(value: timedelta) -> str:
    seconds = value.total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _docstrings(part: type[BaseModel]) -> dict[str, str]:
    """Give the text below each field of the class."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
    assert isinstance(node, ast.ClassDef)  # noqa: S101 - it is the source of a class
    texts = {}
    for field, text in zip(node.body, node.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                texts[name] = " ".join(said.split())
    return texts


def _first_line(part: type[BaseModel]) -> str:
    return inspect.cleandoc(part.__doc__ or "").splitlines()[0]


def main() -> int:
    """Write the page, or with `--check` give 1 and say so if it is not current."""
    text = page()
    current = PAGE.is_file() and PAGE.read_text("utf-8") == text
    if current:
        return 0
    if sys.argv[1:] == ["--check"]:
        print("docs/settings.md is not current: run `make generate`.")
        return 1
    PAGE.write_text(text, "utf-8")
    print("wrote docs/settings.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
