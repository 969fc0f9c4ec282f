"""The templates by version, and which one a document is set with.

A version that was in use never changes: documents may be asked for again after ten years. A new look is a new folder. A
frozen version is set with the template that was in use when it was frozen, whatever is the newest today.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import orjson

__all__ = ["FOLDER", "NEWEST", "TEMPLATES", "Template", "digest_of", "template_at"]

FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True)
class Template:
    """One version of the look. `since` is when it came into use; the first has always been in use."""

    name: str
    since: datetime | None = None
    folder: Path = FOLDER

    @property
    def path(self) -> Path:
        return self.folder / self.name

    @cached_property
    def words(self) -> Mapping[str, Any]:
        words: dict[str, Any] = orjson.loads((self.path / "words.json").read_bytes())
        return words

    @cached_property
    def digest(self) -> str:
        return digest_of(self.path)


TEMPLATES: Final = (Template("v1"),)
"""In the order of their coming into use."""
NEWEST: Final = TEMPLATES[-1]


def template_at(time: datetime, templates: tuple[Template, ...] = TEMPLATES) -> Template:
    """Give the template that was in use at a time."""
    in_use = [t for t in templates if t.since is None or t.since <= time]
    return in_use[-1]


@cache
def digest_of(folder: Path) -> str:
    """Give the hash of all files of a folder, names included."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file() and path.suffix != ".pyc"):
        content = file.read_bytes()
        digest.update(b"%b\0%d\0%b" % (file.name.encode(), len(content), content))
    return digest.hexdigest()
