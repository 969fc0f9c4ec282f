"""Code lists that are swapped while they are in use: whole or not at all, and only for lists that fit what is stored."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cv_contracts.codelists.elements import ROLES
from cv_contracts.codelists.loading import DATA, CodeLists, load
from cv_contracts.codelists.reading import BadCodeList

__all__ = ["LiveCodeLists", "NewLists"]

Signature = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class NewLists:
    """Lists that were read and checked, and the version of their files."""

    lists: CodeLists
    version: str


class LiveCodeLists:
    """Holds `lists`, one object for the whole life of the process: a swap changes all of its lists at once, in place.

    Reading and checking (`read`) may be done in another thread; `swap` belongs to the thread that uses the lists, so whoever
    does not pause between two looks sees one version.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._seen = self._signature()
        new = self.read()
        self.lists, self.version = new.lists, new.version

    def is_changed(self) -> bool:
        """Tell whether the files look otherwise than when they were last read, well or not."""
        return self._signature() != self._seen

    def read(self) -> NewLists:
        """Read and check the files; raises BadCodeList, also where they changed meanwhile, and the old ones stay."""
        self._seen = before = self._signature()
        new = NewLists(load(self._directory), self._version())
        if self._signature() != before:
            raise BadCodeList(self._directory or DATA, 0, "changes while it is read")
        if hasattr(self, "lists"):
            self._check_roles(new.lists)
        return new

    def swap(self, new: NewLists) -> None:
        """Put the new lists in the place of the old ones."""
        object.__setattr__(self.lists, "__dict__", dict(vars(new.lists)))
        self.version = new.version

    def _check_roles(self, new: CodeLists) -> None:
        for name in ROLES:
            was, now = (_roles(getattr(lists, name)) for lists in (self.lists, new))
            if was != now:
                path = (self._directory or DATA) / f"{name}.csv"
                raise BadCodeList(path, 0, "gives a role another number, which stored rows hold")

    def _files(self) -> list[Path]:
        names = sorted(field.name for field in fields(CodeLists))
        own = (self._directory / f"{name}.csv" if self._directory else None for name in names)
        return [
            path if path and path.is_file() else DATA / f"{name}.csv"
            for name, path in zip(names, own, strict=True)
        ]

    def _signature(self) -> Signature:
        found = ((path, path.stat()) for path in self._files())
        return tuple((str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size) for path, stat in found)

    def _version(self) -> str:
        digest = hashlib.sha256()
        for path in self._files():
            digest.update(path.stem.encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()[:16]


def _roles(entries: Mapping[int, Any]) -> dict[str, int]:
    return {entry.role: number for number, entry in entries.items()}
