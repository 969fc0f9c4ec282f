"""One index open for writing, and the one thread that writes it."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import structlog
from pydantic import ValidationError

from cv_search.indexes import Place
from cv_search.port import Document, Engine, EngineError
from cv_search.store import Changed, read_document

__all__ = ["OpenIndex", "Serving", "aside"]

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Serving:
    """What is to be searched: an index, and the position that its newest commit holds."""

    place: Place
    position: int


@dataclass(slots=True)
class OpenIndex:
    """An index open for writing, with its thread."""

    place: Place
    engine: Engine
    position: int = 0
    named: bool = False
    """Whether a pointer may name it as the live one; it is not removed then, whatever goes wrong."""
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "index"))

    @property
    def serving(self) -> Serving:
        return Serving(self.place, self.position)

    async def do(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self.thread, lambda: _on_disk(call, *args, **kwargs)
        )

    async def take(self, changes: Sequence[Changed]) -> None:
        """Apply changes, the oldest first."""
        await self.do(self._take, changes)
        self.position = changes[-1].change

    async def add(self, changes: Sequence[Changed]) -> int:
        """Add the documents of CVs that it has none of; gives how many."""
        added = await self.do(self._add, changes)
        self.position = changes[-1].change
        return added

    async def commit(self) -> None:
        await self.do(self.engine.commit, self.position)

    async def close(self) -> None:
        try:
            await self.do(self.engine.close)
        except Exception as error:  # noqa: BLE001 - it is given up, whatever is the matter with it
            log.warning("index_not_closed", error_type=type(error).__name__)
        self.thread.shutdown(wait=False)

    def _take(self, changes: Sequence[Changed]) -> None:
        self.engine.apply(_documents(changes), [one.cv_id for one in changes if one.document is None])

    def _add(self, changes: Sequence[Changed]) -> int:
        documents = _documents(changes)
        self.engine.append(documents)
        return len(documents)


def _on_disk(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what works on files: what the disk refuses is the engine's trouble, not the database's."""
    try:
        return call(*args, **kwargs)
    except OSError as error:
        raise EngineError(type(error).__name__) from error


async def aside(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.to_thread(lambda: _on_disk(call, *args, **kwargs))


def _documents(changes: Sequence[Changed]) -> list[Document]:
    """Read the documents; one that an older program made is made anew soon, and comes again with a later number."""
    documents = []
    for one in changes:
        if one.document is not None:
            try:
                documents.append(read_document(one.document))
            except ValidationError:
                log.warning("document_of_older_form")
    return documents
