"""Where indexes lie, and which of them is searched: each was made of one database's documents."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID, uuid4

from cv_search.port import Engine, IndexBroken, Reader
from cv_search.reference import Reference

__all__ = ["FolderIndexes", "Indexes", "OpenEngine", "Place", "ReferenceNow", "open_live"]

POINTER: Final = "live.json"
PREFIX: Final = "index-"

OpenEngine = Callable[[Path, Reference], Engine]
"""Opens the index in a folder for writing, or begins one in an empty one; raises IndexBroken where it is not whole."""
ReferenceNow = Callable[[], Reference]
"""Gives the reference data that are in force."""

OpenReader = Callable[[Path], Reader]
"""Opens the index in a folder for reading; raises EngineError where there is none."""


@dataclass(frozen=True, slots=True)
class Place:
    """One index: where it is, and the database whose documents it was made of."""

    path: Path
    database: UUID


class Indexes(Protocol):
    """The indexes of one service. All calls touch a disk or a network: make them off the event loop."""

    @property
    def digest(self) -> str:
        """Of the reference data that an index is made with from now on."""
        ...

    def live(self, database: UUID) -> Place | None:
        """Give the live index, if there is one and it was made of this database's documents."""
        ...

    def is_there(self, place: Place) -> bool:
        """Tell whether anything is left of an index: somebody may have deleted it."""
        ...

    def position(self, place: Place) -> int | None:
        """Give the newest position that a search can see, where others write too."""
        ...

    def begin(self, database: UUID) -> Place:
        """Make room for a new index; unfinished ones of others are removed."""
        ...

    def open(self, place: Place) -> Engine:
        """Open an index for writing, or begin it; raises IndexBroken where it is not whole."""
        ...

    def make_live(self, place: Place) -> None:
        """Move the pointer: before it the old index is the live one, whatever happens, and after it the new one."""
        ...

    def remove(self, place: Place) -> None:
        """Remove an index."""
        ...

    def close(self) -> None:
        """Let go of what the calls were made over."""
        ...


def open_live(indexes: Indexes, place: Place) -> Engine:
    """Open an index that was committed to; raises IndexBroken where it is not one."""
    engine = indexes.open(place)
    if engine.position() is None:
        engine.close()
        raise IndexBroken
    return engine


class FolderIndexes:
    """Indexes in one folder, which one process writes: a folder each, beside a pointer that names the live one."""

    def __init__(
        self, folder: Path, open_engine: OpenEngine, open_reader: OpenReader, reference: ReferenceNow
    ) -> None:
        self._folder = folder
        self._open = open_engine
        self._open_reader = open_reader
        self._reference = reference
        self._watched: tuple[Path, Reader] | None = None

    @property
    def digest(self) -> str:
        return self._reference().digest

    def open(self, place: Place) -> Engine:
        return self._open(place.path, self._reference())

    def live(self, database: UUID) -> Place | None:
        try:
            said = json.loads((self._folder / POINTER).read_text())
            place = Place(self._folder / Path(said["index"]).name, UUID(said["database"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return place if place.database == database and self.is_there(place) else None

    def is_there(self, place: Place) -> bool:
        try:
            return any(place.path.iterdir())
        except OSError:
            return False

    def position(self, place: Place) -> int | None:
        if self._watched is None or self._watched[0] != place.path:
            self._watched = place.path, self._open_reader(place.path)
        return self._watched[1].snapshot().position

    def begin(self, database: UUID) -> Place:
        self._folder.mkdir(parents=True, exist_ok=True)
        live = self.live(database)
        self._remove_but(live)
        # A name that none ever had: who has an index open sees by its path that it is another one.
        place = Place(self._folder / f"{PREFIX}{uuid4().hex}", database)
        place.path.mkdir()
        return place

    def make_live(self, place: Place) -> None:
        partial = self._folder / f"{POINTER}.partial"
        with partial.open("w") as file:
            json.dump({"index": place.path.name, "database": str(place.database)}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._folder / POINTER)
        _sync(self._folder)

    def remove(self, place: Place) -> None:
        """Remove an index; who still reads it keeps what is open."""
        shutil.rmtree(place.path, ignore_errors=True)

    def close(self) -> None:
        """Let go of the index whose position was read."""
        self._watched = None

    def _remove_but(self, live: Place | None) -> None:
        for path in self._folder.glob(f"{PREFIX}*"):
            if live is None or path != live.path:
                shutil.rmtree(path, ignore_errors=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
