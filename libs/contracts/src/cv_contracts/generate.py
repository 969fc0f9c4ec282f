"""The files that are made from the contracts and committed beside them, and what keeps them true."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cv_contracts import asyncapi, flow, kafka_rights
from cv_contracts.compatibility import breaking_changes
from cv_contracts.event import Event
from cv_contracts.schemas import name_of, schema_of, shape_of
from cv_contracts.topics import EVENT_TYPES

CONTRACTS = Path("libs/contracts")


class Breaking(Exception):  # noqa: N818 - says what the change is
    """An event changed so that an earlier version's reader or writer would not survive it."""


def files(root: Path, events: Iterable[type[Event]] = tuple(EVENT_TYPES.values())) -> Mapping[Path, str]:
    """Give every generated file under the workspace root with its text; raise Breaking for a change that may not be."""
    schemas = root / CONTRACTS / "schemas"
    texts = {
        root / "docs" / "flow.md": flow.page(),
        root / "docs" / "asyncapi.json": _json(asyncapi.document()),
        root / "deploy" / "chart" / "files" / "kafka.json": _json(kafka_rights.deployment()),
    }
    for event in events:
        texts[schemas / f"{name_of(event)}.json"] = _json(schema_of(event))
        texts |= _history(schemas / "history" / name_of(event), event)
    return texts


def stale(root: Path) -> Iterator[Path]:
    """Give the generated files that are missing, differ, or should not be there."""
    texts = files(root)
    yield from (path for path, text in texts.items() if not path.is_file() or path.read_text("utf-8") != text)
    yield from sorted(set((root / CONTRACTS / "schemas").rglob("*.json")) - texts.keys())


def write(root: Path) -> Iterator[Path]:
    """Write what is stale and give its paths. A schema without its event is left for a person to decide about."""
    texts = files(root)
    for path in list(stale(root)):
        if path in texts:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[path], "utf-8")
        yield path


def _history(folder: Path, event: type[Event]) -> dict[Path, str]:
    """Give the snapshots of all versions: those that are there, and the present one when it differs from the newest."""
    paths = sorted(folder.glob("*.json"), key=lambda path: int(path.stem))
    texts = {path: path.read_text("utf-8") for path in paths}
    present = _json(shape_of(schema_of(event)))
    changes = breaking_changes((json.loads(text) for text in texts.values()), schema_of(event))
    if changes:
        raise Breaking(f"{event.TYPE}: {'; '.join(changes)}")
    if not paths or texts[paths[-1]] != present:
        texts[folder / f"{len(paths) + 1}.json"] = present
    return texts


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
