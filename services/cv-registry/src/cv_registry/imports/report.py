"""The report of refused lines: beside the file, whole at any moment, also when a run was killed and another one goes on."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import orjson

from cv_registry.imports.lines import Refused

__all__ = ["Report"]

SUFFIX: Final = ".refused"


class Report:
    """Writes each refused line before the chunk that it is in counts as done; without a file, to standard error."""

    def __init__(self, imported: Path | None) -> None:
        self._path = None if imported is None else imported.with_name(imported.name + SUFFIX)

    def go_on_after(self, line: int) -> int:
        """Keep what an earlier run reported about the lines up to this one, and count it; later ones are dealt with again."""
        if self._path is None or not self._path.exists():
            return 0
        whole = self._path.read_bytes().splitlines(keepends=True)
        kept = [text for text in whole if text.endswith(b"\n") and orjson.loads(text)["line"] <= line]
        if kept:
            self._path.write_bytes(b"".join(kept))
        else:
            self._path.unlink()
        return len(kept)

    def add(self, refused: Iterable[Refused]) -> None:
        lines = [orjson.dumps(one.to_json(), option=orjson.OPT_APPEND_NEWLINE) for one in refused]
        if not lines:
            return
        if self._path is None:
            sys.stderr.buffer.writelines(lines)
            return
        with self._path.open("ab") as file:
            file.writelines(lines)
